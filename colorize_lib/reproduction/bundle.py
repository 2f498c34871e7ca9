"""One archive with code, wheels and prepared data, for a machine without network.

    python -m colorize_lib bundle cifar10 photos --part 500M

writes `bundle/colorize.tar`, or parts of it, and their hashes. The other machine needs only Python 3.11:

    sha256sum -c SHA256SUMS && cat colorize.tar* | tar xf - && python3.11 colorize/run.py vacgan PROFILE=paper

`run.py` is `bundled.py` of this package.
"""

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
        with tarfile.open(output / "colorize.tar", "w") as archive:
            for path, name in sources:
                archive.add(path, f"{FOLDER}/{name}", recursive=False, filter=_anonymous)
            commit = tarfile.TarInfo(f"{FOLDER}/COMMIT")  # for the manifests of the other machine, which has no git
            text = (
                f"{_git('rev-parse', 'HEAD').strip()}{'+' if _git('status', '--porcelain', '-uno') else ''}\n".encode()
            )
            commit.size = len(text)
            archive.addfile(commit, io.BytesIO(text))
    if part:
        command = ["split", "-b", str(part), "-d", "-a", "3", "colorize.tar", "colorize.tar."]
        _run(command, output, f"The archive in {output} cannot be split into parts: is there space for it twice?")
        (output / "colorize.tar").unlink()
    written = sorted(output.glob("colorize.tar*"))
    files.write_text(output / "SHA256SUMS", "".join(f"{files.sha256(path)}  {path.name}\n" for path in written))
    return written


def missing(requirements, wheels):
    """The packages, NAME==VERSION, that a requirements file needs on this machine and that have no wheel or source archive."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename

    there = {parse_wheel_filename(path.name)[:2] for path in Path(wheels).glob("*.whl")}
    there |= {parse_sdist_filename(path.name) for path in Path(wheels).glob("*.tar.gz")}
    there = {f"{name}=={version}" for name, version in there}
    lines = requirements.read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line.split(" #")[0]) for line in lines if re.match("[A-Za-z0-9]", line)]
    asked = [pin for pin in pins if pin.marker is None or pin.marker.evaluate()]
    return [
        f"{pin.name}{pin.specifier}" for pin in asked if f"{canonicalize_name(pin.name)}{pin.specifier}" not in there
    ]


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
    missing = "The code is bundled from a git checkout, and this is not one."
    return _run(["git", *arguments], files.project_root(), missing)


def _run(command, folder, sentence):
    """What a command prints that runs in `folder`. Raises InputError with the `sentence` if it fails."""
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(sentence) from error


def _prepared(home, name):
    found = [path for path in sorted(home.glob(f"{name}*")) if re.fullmatch(rf"{re.escape(name)}(-.*)?", path.name)]
    found = [path for path in found if (path / "manifest.json").exists()]
    if not found:
        raise InputError(f"Nothing is prepared of {name!r} in {home}: `python -m data_prep {name}` does it.")
    return found
