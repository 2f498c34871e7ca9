"""Unpack archives of datasets that are not trusted: nothing grows without bound, and an interrupted call resumes.

That nothing leaves the folder is the work of tarfile's filter "data" and of zipfile.

An archive is unpacked into `.unpacking-NAME` next to its destination, and renamed when the last file is there, so that a folder of
the right name is whole. A file that an interrupted run left short is written again; one of full size is kept.
"""

import errno
import os
import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from colorize_lib import files
from colorize_lib.errors import InputError, reason

GROWTH = 10  # photographs hardly compress; an archive that grows more than this is a bomb
SLACK_BYTES = 64 << 20  # for archives of a few small files
MOST_FILES = 5_000_000

# Errors of the disk that is unpacked to; all others come from damaged bytes, which fail in any part of the readers.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


def unpack(archive, folder):
    """Unpack a .zip or .tar(.gz, .xz, .bz2) archive; a single folder at its top becomes `folder` itself.

    Args:
        archive: path of the file.
        folder: destination; must not exist.

    Raises:
        InputError: damaged archive, a path or link that leads out of the folder, a device, absurd size, no space.
    """
    archive, folder = Path(archive), Path(folder)
    staging = folder.with_name(f".unpacking-{folder.name}")
    with files.disk_errors(staging, "unpack into"):
        staging.mkdir(parents=True, exist_ok=True)
        try:
            if zipfile.is_zipfile(archive):
                _unpack_zip(archive, staging)
            else:
                _unpack_tar(archive, staging)
        except InputError:
            raise
        except tarfile.FilterError as error:  # paths and links that lead out of the folder, and devices
            raise _refused(archive, reason(error)) from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise
            said = reason(str(error).partition(":\n")[0] or type(error).__name__)  # tarfile lists all that it has tried
            raise InputError(
                f"The archive {archive} is damaged or incomplete ({said}): delete it and run the same command again."
            ) from error
        entries = list(staging.iterdir())
        single = len(entries) == 1 and entries[0].is_dir()
        os.replace(entries[0] if single else staging, folder)
        if single:
            staging.rmdir()


def _unpack_zip(archive, staging):
    with zipfile.ZipFile(archive) as opened:
        budget, missing = _Budget(archive), []
        for member in opened.infolist():
            path = PurePosixPath(member.filename.replace("\\", "/"))
            if path.is_absolute() or ".." in path.parts:  # which zipfile would rename without a word
                raise _refused(archive, f"{member.filename!r} in it leads out of the folder")
            budget.spend(member.filename, member.file_size)
            if not _is_there(staging / member.filename, member.file_size):
                missing.append(member)
        needed, free = sum(member.file_size for member in missing), shutil.disk_usage(staging).free
        if needed > free:
            raise InputError(
                f"Unpacking {archive} needs {needed / 1e9:.1f} GB and {staging.parent} has {free / 1e9:.1f} GB left: "
                "free some space, or choose another --home."
            )
        for member in missing:
            try:
                opened.extract(member, staging)
            except BaseException:  # a wrong checksum shows after the last byte, when the size is right
                if not member.is_dir():
                    (staging / member.filename).unlink(missing_ok=True)
                raise


def _unpack_tar(archive, staging):
    with tarfile.open(archive) as opened:
        budget = _Budget(archive)
        for member in opened:
            budget.spend(member.name, member.size)
            if not (member.isfile() and _is_there(staging / member.name, member.size)):
                opened.extract(member, staging, filter="data")


class _Budget:
    """What is left of the files and bytes that an archive of this size may hold."""

    def __init__(self, archive):
        self._archive = archive
        self._files, self._bytes = MOST_FILES, GROWTH * archive.stat().st_size + SLACK_BYTES

    def spend(self, name, size):
        self._files, self._bytes = self._files - 1, self._bytes - size
        if self._files < 0 or self._bytes < 0:
            raise _refused(self._archive, f"{name!r} in it makes it absurdly large for a set of photographs")


def _refused(archive, why):
    return InputError(f"The archive {archive} is refused, because {why}: get it from its publisher.")


def _is_there(path, size):
    return path.is_file() and path.stat().st_size == size
