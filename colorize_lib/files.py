"""Atomic writing, locks, the data home, and errors of the disk as sentences."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import secrets
import stat
from pathlib import Path

from colorize_lib.errors import InputError

_ADVICE = {
    errno.ENOSPC: "no space is left there; free some, or choose another disk, and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, or choose another disk, and run the same command again",
    errno.EROFS: "the file system is read-only; choose a folder that can be written",
    errno.EACCES: "permission is denied; choose a folder that you may write",
    errno.EPERM: "permission is denied; choose a folder that you may write",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another folder",
    errno.EEXIST: "it is a file where a folder is needed; move it, or choose another name",
    errno.ENOENT: "it does not exist; check the name",
    errno.EISDIR: "it is a folder; name a file",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one, or another folder",
    errno.EFBIG: "the file would be larger than is allowed here (see `ulimit -f`); raise the limit, or choose another disk",
    errno.EIO: "the disk reports an input/output error; check it, or choose another disk",
}


def data_home(home=None):
    """Folder of the datasets: `home`, else the environment's `COLORIZE_DATA`, else the user's cache folder."""
    chosen = home or os.environ.get("COLORIZE_DATA")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("colorize"))


def project_root():
    """The checkout of this project whose `notebooks/`, `results/` and `runs/` are used.

    This is the checkout that holds the current folder, else the one that holds this library, else the current folder itself. Two
    checkouts can share an environment, and the library is that of only one of them.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[1]):
        if (folder / "notebooks").is_dir() and (folder / "colorize_lib" / "files.py").is_file():
            return folder
    return here


def require_checkout(what):
    """Raise `InputError` unless `project_root` is a checkout: `what` needs the notebooks, which are not in the package."""
    if not (project_root() / "notebooks").is_dir():
        raise InputError(
            f"{what} needs the project's notebooks: run it in a clone of the repository, not from a package."
        )


def run_root():
    """Folder of all runs: the environment's `COLORIZE_RUNS`, else `runs/` in `project_root`."""
    chosen = os.environ.get("COLORIZE_RUNS")
    return Path(chosen).expanduser().resolve() if chosen else project_root() / "runs"


def shown(path):
    """`path` for a message: relative to `project_root` if it lies there."""
    path, root = Path(path), project_root()
    return path.relative_to(root) if path.is_relative_to(root) else path


@contextlib.contextmanager
def disk_errors(path, doing="write"):
    """Turn an error of the disk within the block into an `InputError` that names `path` and what to do."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = _code(error)
        if code not in _ADVICE:
            raise
        named = str(getattr(error, "filename", None) or path)
        named = path if Path(named).name.startswith(".partial-") else named
        raise InputError(f"Cannot {doing} {named}: {_ADVICE[code]}.") from error


def _code(error):
    """The system's number of an error; HDF5 only writes it into the text of its own error."""
    found = re.search(r"errno = (\d+)", str(error))
    return getattr(error, "errno", None) or (int(found[1]) if found else None)


@contextlib.contextmanager
def atomic(path, replace=True, size=0):
    """Yield a temporary path next to `path`; when the block ends without an error, the file is synced and renamed to `path`.

    A process that is killed leaves either the old file or the new one. The temporary name keeps the suffix, by which writers
    choose the format.

    Args:
        path: the file to write; its folder is made if necessary.
        replace: replace an existing file.
        size: bytes that must be free on the disk before the block begins, for writers that crash when the disk is full.

    Raises:
        InputError: the disk cannot be written; or, without `replace`, the file exists, and stays as it is.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = "".join(path.suffixes[-2:])[-40:]
        temporary = path.parent / f".partial-{secrets.token_hex(8)}{suffix}"
        try:
            with open(temporary, "xb") as file:
                if size:
                    allocate(file, size)
                    file.truncate(0)
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            if replace:
                os.replace(temporary, path)
            else:
                _rename_to_new(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _rename_to_new(temporary, path):
    """Rename the file to `path`, which must not exist: making a hard link fails if it does, and renaming does not."""
    try:
        os.link(temporary, path)
    except FileExistsError as error:
        raise InputError(f"{path} already exists; it is left unchanged.") from error
    except OSError:  # a file system without hard links, such as that of a memory card
        if path.exists() or path.is_symlink():
            raise InputError(f"{path} already exists; it is left unchanged.") from None
        os.replace(temporary, path)


def allocate(file, size):
    """Make an open file `size` bytes long, which are then sure to be free where the file system can allocate them."""
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except (AttributeError, OSError) as error:  # macOS has no such call, some file systems do not know it
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise OSError(error.errno, error.strerror, str(file.name)) from error
        file.truncate(size)


@contextlib.contextmanager
def open_regular(path):
    """Open a regular file to read bytes; pipes and devices, which may never end, are refused.

    Raises `InputError` with the reason but without the file's name for any other kind of file, and OSError.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InputError("it is not a regular file; use - for standard input")
        yield file


def walk(folder):
    """As `os.walk`; raises `InputError` if a folder cannot be listed."""
    return os.walk(folder, onerror=_cannot_list)


def _cannot_list(error):
    raise InputError(
        f"Cannot list the folder {error.filename}: {error.strerror}; choose one that you may read."
    ) from error


def sweep(folder):
    """Remove the half-written files that killed processes left below `folder`; only for the process that holds it, see `lock`."""
    for path in Path(folder).rglob(".partial-*"):
        with contextlib.suppress(OSError):
            path.unlink()


def write_text(path, text):
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write `value` to `path` as indented JSON, atomically. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path, what):
    """Read JSON from `path`. Raises `InputError`, which calls the file `what`, if it is missing or not JSON."""
    with disk_errors(path, f"read the {what}"):
        content = Path(path).read_bytes()
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"Cannot read the {what} {path}: {type(error).__name__}; delete it and run the command that made it again."
        ) from error


def write_csv(path, rows, columns=None):
    """Write `rows`, dictionaries with the same keys, as CSV, atomically. `columns`: the keys, if there may be no rows."""
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path):
    """The rows of a CSV file, dictionaries of text."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_table(path, table):
    """Write a pandas table of systems as CSV, atomically; headings of two lines become one."""
    headings = [column if isinstance(column, str) else " ".join(column).strip() for column in table.columns]
    with atomic(path) as temporary:
        table.set_axis(headings, axis="columns").to_csv(temporary, index_label="system")


def sha256(path):
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(folder, what, wait=0):
    """Hold `folder` for this process; raise `InputError` if another process still holds it after `wait` seconds.

    The system releases the lock when a process dies.
    """
    import filelock

    with disk_errors(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        holder = filelock.FileLock(Path(folder) / ".lock")
    try:
        with disk_errors(folder):
            holder.acquire(timeout=wait)
    except filelock.Timeout as error:
        raise InputError(
            f"Another process is working on the {what} {folder}; wait until it ends, or choose another folder."
        ) from error
    try:
        yield
    finally:
        holder.release()
