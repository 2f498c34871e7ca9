import errno
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import toy_project

from colorize_lib import files
from colorize_lib.errors import InputError


def test_atomic_writes_the_whole_file_or_nothing(tmp_path):
    path = tmp_path / "new" / "numbers.npz"
    with files.atomic(path) as temporary:
        np.savez(temporary, a=np.arange(3))
    assert np.load(path)["a"].tolist() == [0, 1, 2]
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), files.atomic(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["numbers.npz"]


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "no space is left"), (errno.EROFS, "read-only"), (errno.EACCES, "permission is denied")],
)
def test_errors_of_the_disk_are_one_sentence(tmp_path, code, message):
    with pytest.raises(InputError, match=rf"Cannot write .*file: .*{message}"), files.disk_errors(tmp_path / "file"):
        raise OSError(code, os.strerror(code))


def test_a_full_disk_keeps_what_was_there(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can be mounted by root alone")
    try:
        files.write_text(disk / "file", "old")
        with pytest.raises(InputError, match=r"Cannot write .*no space is left"):
            files.write_text(disk / "file", "x" * 1_000_000)
        assert (disk / "file").read_text() == "old"
        assert [path.name for path in disk.iterdir()] == ["file"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_json(tmp_path):
    files.write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert files.read_json(tmp_path / "a.json", "settings") == {"ä": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", float("nan"))
    assert files.read_json(tmp_path / "a.json", "settings") == {"ä": [1, None]}
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match=r"Cannot read the settings .*b\.json"):
        files.read_json(tmp_path / "b.json", "settings")


def test_data_home(monkeypatch):
    monkeypatch.setenv("COLORIZE_DATA", "elsewhere")
    assert files.data_home() == Path("elsewhere")
    assert files.data_home("here") == Path("here")
    monkeypatch.delenv("COLORIZE_DATA")
    assert files.data_home().name == "colorize"


def test_a_file_where_a_folder_is_needed_is_a_sentence(tmp_path):
    (tmp_path / "taken").touch()
    message = "Cannot write .*taken: it is a file where a folder is needed; move it"
    with pytest.raises(InputError, match=message), files.disk_errors(tmp_path):
        (tmp_path / "taken").mkdir(exist_ok=True)


def test_the_project_is_the_checkout_of_the_current_folder(tmp_path, monkeypatch):
    checkout = tmp_path / "mine"
    toy_project.make(checkout)
    (checkout / "notebooks" / "below").mkdir()
    for place in (checkout, checkout / "notebooks" / "below"):
        monkeypatch.chdir(place)
        assert files.project_root() == checkout
    assert files.shown(checkout / "runs" / "a") == Path("runs/a")
    monkeypatch.chdir(tmp_path)  # no checkout: that of the library
    assert files.project_root() == Path(files.__file__).parents[1]
    assert files.shown(tmp_path / "runs") == tmp_path / "runs"
    monkeypatch.setattr(files, "__file__", str(tmp_path / "site-packages" / "colorize_lib" / "files.py"))  # installed
    assert files.project_root() == tmp_path


def test_a_file_is_whole_and_on_the_disk_before_it_takes_its_name(tmp_path, monkeypatch):
    """A reader sees the old file or the new one, and a machine that loses its power keeps one of them."""
    path, events = tmp_path / "file", []
    path.write_text("old")
    sync, replace = os.fsync, os.replace

    def noting_sync(handle):
        sync(handle)
        events.append(("synced", os.fstat(handle).st_ino, os.fstat(handle).st_size))

    def noting_replace(source, target):
        events.append(("renamed", os.stat(source).st_ino, path.read_text()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noting_sync)
    monkeypatch.setattr(os, "replace", noting_replace)
    with files.atomic(path) as temporary:
        temporary.write_text("new and longer")
        written = temporary.stat().st_ino
        assert path.read_text() == "old"
    assert path.read_text() == "new and longer"
    assert path.stat().st_ino == written  # renamed, not copied
    assert events == [("synced", written, 14), ("renamed", written, "old")]


def test_a_rename_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")

    def fails(source, target):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(InputError, match="no space is left"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_new_file_has_the_rights_of_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_there_is_left_alone_where_it_must_be_new(tmp_path):
    with files.atomic(tmp_path / "file", replace=False) as temporary:
        temporary.write_text("first")
    with pytest.raises(InputError, match="is there already"), files.atomic(tmp_path / "file", replace=False) as again:
        again.write_text("second")
    assert (tmp_path / "file").read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
