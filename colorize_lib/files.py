"""Files that are whole or absent: atomic writing, locks, the data home, and errors of the disk as sentences."""

import contextlib
import errno
import hashlib
import json
import os
import re
import tempfile
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
    errno.EIO: "the disk reports an input/output error; check it, or choose another disk",
}


def data_home(home=None):
    """Folder of the datasets: `home`, else the environment's `COLORIZE_DATA`, else the user's cache folder."""
    chosen = home or os.environ.get("COLORIZE_DATA")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("colorize"))


def run_root():
    """Folder of all runs: the environment's `COLORIZE_RUNS`, else `runs/` beside the library."""
    chosen = os.environ.get("COLORIZE_RUNS")
    return Path(chosen).expanduser().resolve() if chosen else Path(__file__).parent.parent / "runs"


@contextlib.contextmanager
def disk_errors(path, doing="write"):
    """Turn an error of the disk under the block into an `InputError` that names `path` and what to do."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = _code(error)
        if code not in _ADVICE:
            raise
        raise InputError(f"Cannot {doing} {getattr(error, 'filename', None) or path}: {_ADVICE[code]}.") from error


def _code(error):
    """The system's number of an error; HDF5 has it in the text of an error of its own."""
    found = re.search(r"errno = (\d+)", str(error))
    return getattr(error, "errno", None) or (int(found[1]) if found else None)


@contextlib.contextmanager
def atomic(path):
    """Yield a temporary path beside `path`; when the block ends well, it is synced and takes the name `path`.

    A process killed at any moment leaves either the old file or the new one. The temporary name keeps the suffix, because
    writers choose the format by it. Raises `InputError` where the disk refuses.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".partial-", suffix="".join(path.suffixes), dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def sweep(folder):
    """Remove the half-written files that killed processes left below `folder`; for the one that holds it, see `lock`."""
    for path in Path(folder).rglob(".partial-*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path, text):
    """Write `text` to `path` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, value):
    """Write `value` to `path` as indented JSON, atomically. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path, what):
    """Read JSON from `path`; an unreadable or foreign file is an `InputError` that calls it `what`."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"Cannot read the {what} {path}: {type(error).__name__}; delete it and run the command that made it again."
        ) from error


def sha256(path):
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def lock(folder, what, wait=0):
    """Hold `folder` for this process; another holder is an `InputError` after `wait` seconds.

    The system frees the lock when a process dies.
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
