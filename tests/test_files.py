import errno
import os
import subprocess
import sys
import time
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


def test_a_full_disk_keeps_what_was_there(small_disk):
    disk = small_disk("256k")
    files.write_text(disk / "file", "old")
    with pytest.raises(InputError, match=r"Cannot write .*no space is left"):
        files.write_text(disk / "file", "x" * 1_000_000)
    assert (disk / "file").read_text() == "old"
    assert [path.name for path in disk.iterdir()] == ["file"]


def test_json(tmp_path):
    files.write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert files.read_json(tmp_path / "a.json", "settings") == {"ä": [1, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", float("nan"))
    assert files.read_json(tmp_path / "a.json", "settings") == {"ä": [1, None]}
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match=r"Cannot read the settings .*b\.json: .*; delete it"):
        files.read_json(tmp_path / "b.json", "settings")
    with pytest.raises(InputError, match=r"Cannot read the settings .*c\.json: it does not exist; check the name\.$"):
        files.read_json(tmp_path / "c.json", "settings")


def test_data_home(monkeypatch):
    monkeypatch.setenv("COLORIZE_DATA", "elsewhere")
    assert files.data_home() == Path("elsewhere")
    assert files.data_home("here") == Path("here")
    assert files.data_home("~/here") == Path.home() / "here"
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


def test_a_new_file_has_the_rights_of_any_other(tmp_path, monkeypatch):
    """They come from the system: the mask is one for all threads, and reading it is to change it for a moment."""
    before = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.delattr(os, "umask")
            files.write_text(tmp_path / "file", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_file_that_is_there_is_left_alone_where_it_must_be_new(tmp_path):
    with files.atomic(tmp_path / "file", replace=False) as temporary:
        temporary.write_text("first")
    with pytest.raises(InputError, match="already exists"), files.atomic(tmp_path / "file", replace=False) as again:
        again.write_text("second")
    assert (tmp_path / "file").read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_runs_are_in_the_checkout_unless_the_environment_names_a_folder(tmp_path, monkeypatch):
    toy_project.make(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    monkeypatch.delenv("COLORIZE_RUNS")
    assert files.run_root() == tmp_path / "mine" / "runs"
    monkeypatch.setenv("COLORIZE_RUNS", "../elsewhere")
    assert files.run_root() == tmp_path / "elsewhere"


def test_what_needs_the_notebooks_says_so_where_there_are_none(tmp_path, monkeypatch):
    toy_project.make(tmp_path / "mine")
    monkeypatch.chdir(tmp_path / "mine")
    files.require_checkout("Reproducing")
    monkeypatch.setattr(files, "project_root", lambda: tmp_path)
    with pytest.raises(InputError, match="Reproducing needs the project's notebooks: run it in a clone"):
        files.require_checkout("Reproducing")


def test_errors_that_hdf5_words_itself_are_the_same_sentences(tmp_path):
    text = "Unable to synchronously write (errno = 28, error message = 'No space left on device')"
    with (
        pytest.raises(InputError, match=r"Cannot write .*file: no space is left"),
        files.disk_errors(tmp_path / "file"),
    ):
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match=r"^another$"), files.disk_errors(tmp_path / "file"):
        raise RuntimeError("another")


def test_only_half_written_files_are_swept(tmp_path):
    (tmp_path / "below").mkdir()
    for name in (".partial-x.json", "below/.partial-y.h5", "below/kept.h5"):
        (tmp_path / name).touch()
    files.sweep(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["kept.h5"]


def test_a_folder_has_one_holder_at_a_time(tmp_path):
    with files.lock(tmp_path, "run"):
        done = subprocess.run(
            [sys.executable, "-c", f"from colorize_lib import files\nwith files.lock({str(tmp_path)!r}, 'run'): pass"],
            capture_output=True,
            text=True,
        )
        assert "Another process is working on the run" in done.stderr
    with files.lock(tmp_path, "run"):
        pass


def test_room_is_made_sure_of_before_the_file_is_written(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "posix_fallocate", lambda handle, start, size: asked.append((start, size)))
    with files.atomic(tmp_path / "file", size=123) as temporary:
        temporary.write_text("short")
    assert asked == [(0, 123)]
    assert (tmp_path / "file").read_text() == "short"


def test_a_file_system_that_cannot_allocate_is_no_obstacle(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    with files.atomic(tmp_path / "file", size=123) as temporary:
        temporary.write_text("short")
    assert (tmp_path / "file").read_text() == "short"


def test_a_second_holder_is_refused_at_once_or_after_its_patience(tmp_path):
    folder = tmp_path / "not" / "there"
    with files.lock(folder, "run"):
        for wait, least, most in (({}, 0, 4), ({"wait": 5}, 4.9, 60)):
            begun = time.monotonic()
            with pytest.raises(InputError, match="Another process"), files.lock(folder, "run", **wait):
                pass
            assert least <= time.monotonic() - begun < most


def test_folders_are_made_and_a_new_file_needs_no_second_names(tmp_path, monkeypatch):
    """As on a memory card, whose file system knows no second name of a file."""

    def refuses(source, target):
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", refuses)
    path = tmp_path / "some" / "folders" / "file"
    for text in ("first", "second"):
        files.write_text(path, text)
    with pytest.raises(InputError, match="already exists"), files.atomic(path, replace=False) as temporary:
        temporary.write_text("third")
    assert path.read_text() == "second"
    (path.parent / "broken").symlink_to("nowhere")
    for name in ("broken", "new"):
        try:
            with files.atomic(path.parent / name, replace=False) as temporary:
                temporary.write_text("third")
        except InputError:
            assert name == "broken"
    assert (path.parent / "new").read_text() == "third"
    assert (path.parent / "broken").is_symlink()


def test_only_a_regular_file_is_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    with files.open_regular(tmp_path / "file") as file:
        assert file.read() == b"content"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="not a regular file"), files.open_regular(tmp_path / "pipe"):
        pass
