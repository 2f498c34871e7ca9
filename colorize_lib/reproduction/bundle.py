"""One archive with code, wheels and prepared data, for a machine without network.

    python -m colorize_lib bundle cifar10 photos --part 500M

writes `bundle/colorize.tar`, or parts of it, and their hashes. The other machine needs only Python 3.11:

    sha256sum -c SHA256SUMS && cat colorize.tar* | tar xf - && python3.11 colorize/run.py vacgan PROFILE=paper

`run.py` is `bundled.py` of this package.
"""

import hashlib
import io
import re
import subprocess
import tarfile
from pathlib import Path

from colorize_lib import files
from colorize_lib.errors import InputError

FOLDER = "colorize"  # in the archive


def size(text):
    """Bytes of "500M" or "2G", in powers of 1000. Raises InputError for another form."""
    found = re.fullmatch(r"(\d+)([kMG]?)B?", text)
    if not found or not int(found[1]):
        raise InputError(f"{text!r} is not a size of a part: write a number and k, M or G, such as 500M.")
    return int(found[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[found[2]]


class _Parts(io.RawIOBase):
    """A file that is written in hashed parts of at most `limit` bytes; None: in one piece."""

    def __init__(self, path, limit):
        self.path, self.limit, self.hashes = path, limit, {}
        self._file = None

    def writable(self):
        return True

    def write(self, data):
        data = memoryview(data)
        written = len(data)
        while len(data):
            if self._file is None or self._room == 0:
                self._next()
            chunk = data[: self._room] if self.limit else data
            self._file.write(chunk)
            self._hash.update(chunk)
            if self.limit:
                self._room -= len(chunk)
            data = data[len(chunk) :]
        return written

    def _next(self):
        self._end()
        name = self.path.name + (f".{len(self.hashes):03d}" if self.limit else "")
        self._file, self._hash = self.path.with_name(name).open("wb"), hashlib.sha256()
        self._name, self._room = name, self.limit or 1

    def _end(self):
        if self._file is not None:
            self._file.close()
            self.hashes[self._name] = self._hash.hexdigest()

    def close(self):
        if not self.closed:
            self._end()
        super().close()


def bundle(datasets, output, wheels, part=None):
    """Write the archive.

    Args:
        datasets: names of datasets; all their prepared sizes and splits in the data home are included.
        output: folder of the archive; an earlier archive is deleted.
        wheels: folder of wheels, made by `make wheelhouse`.
        part: bytes of a part, or None.

    Returns:
        Paths of the archive's parts.

    Raises:
        InputError: wheels are missing, a dataset is not prepared, this is not a git checkout, or the disk is full.
    """
    output, wheels = Path(output), Path(wheels)
    lacking = [missing(files.project_root() / name, wheels) for name in ("requirements.txt", "requirements-jax.txt")]
    if all(lacking):
        some = ", ".join(min(lacking, key=len)[:3])
        raise InputError(f"The wheels in {wheels} are not complete ({some} …): collect them with `make wheelhouse`.")
    sources = [(path, path.relative_to(files.project_root()).as_posix()) for path in _code()]
    sources += [(path, f"wheelhouse/{path.name}") for path in sorted(wheels.iterdir()) if path.is_file()]
    home = files.data_home() / "prepared"
    for name in datasets:
        sources += [
            (path, f"data/prepared/{path.relative_to(home).as_posix()}")
            for folder in _prepared(home, name)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        ]
    sources.append((Path(__file__).with_name("bundled.py"), "run.py"))
    with files.disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
        for old in [*output.glob("colorize.tar*"), *output.glob("SHA256SUMS")]:
            old.unlink()
        with _Parts(output / "colorize.tar", part) as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
            for path, name in sources:
                archive.add(path, f"{FOLDER}/{name}", recursive=False, filter=_anonymous)
            commit = tarfile.TarInfo(f"{FOLDER}/COMMIT")  # for the manifests of the other machine, which has no git
            text = (
                f"{_git('rev-parse', 'HEAD').strip()}{'+' if _git('status', '--porcelain', '-uno') else ''}\n".encode()
            )
            commit.size = len(text)
            archive.addfile(commit, io.BytesIO(text))
    files.write_text(output / "SHA256SUMS", "".join(f"{found}  {name}\n" for name, found in stream.hashes.items()))
    return [output / name for name in stream.hashes]


def missing(requirements, wheels):
    """The packages, NAME==VERSION, that a requirements file needs on this machine and that have no wheel or source archive."""
    from packaging.requirements import Requirement

    there = set()
    for path in Path(wheels).iterdir() if Path(wheels).is_dir() else ():
        found = re.match(r"(.+?)-([0-9][^-]*?)(-.*\.whl|\.tar\.gz)$", path.name)
        if found:
            there.add((_canonical(found[1]), found[2]))
    lines = requirements.read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.split(" #")[0]) for line in lines if re.match("[A-Za-z0-9]", line)]
    asked = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    versions = {pin.name: str(pin.specifier).removeprefix("==") for pin in asked}
    return [f"{name}=={version}" for name, version in versions.items() if (_canonical(name), version) not in there]


def _canonical(name):
    return re.sub("[-_.]+", "-", name).lower()


def _anonymous(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _code():
    """The files that git tracks, as they are in the working tree."""
    return [
        path for name in _git("ls-files", "-z").split("\0") if name and (path := files.project_root() / name).is_file()
    ]


def _git(*arguments):
    try:
        return subprocess.run(
            ["git", "-C", files.project_root(), *arguments], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError("The code is bundled from a git checkout, and this is not one.") from error


def _prepared(home, name):
    found = [path for path in sorted(home.glob(f"{name}*")) if re.fullmatch(rf"{re.escape(name)}(-.*)?", path.name)]
    found = [path for path in found if (path / "manifest.json").exists()]
    if not found:
        raise InputError(f"Nothing is prepared of {name!r} in {home}: `python -m data_prep {name}` does it.")
    return found
