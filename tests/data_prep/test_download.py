"""data_prep.download and data_prep.unpack: faulty servers, cut connections, wrong bytes, and archives that mean harm."""

import hashlib
import http.server
import io
import itertools
import os
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from colorize_lib.errors import InputError
from data_prep import download, registry
from data_prep.unpack import unpack


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` by path on this machine; `faults` are used up, one a request: a status, or a number of bytes after which
    the connection is cut."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.faults, self.ranges, self.knows_ranges = {}, [], [], True
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.ranges.append(self.headers.get("Range"))
        fault = self.server.faults.pop(0) if self.server.faults else None
        data = self.server.files.get(self.path)
        if data is None or fault in (404, 429, 503):
            self.send_error(404 if data is None else fault)
            return
        start = 0
        if self.headers.get("Range") and self.server.knows_ranges:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(data):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start : None if fault is None else start + fault])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def zipped(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


MEMBERS = [(f"set/train/{number}.bin", np.random.default_rng(number).bytes(60_000)) for number in range(30)]
DATA = zipped(MEMBERS)


@pytest.fixture
def archive(server):
    server.files["/set.zip"] = DATA
    return registry.Archive(server.url + "set.zip", len(DATA), f"sha256:{hashlib.sha256(DATA).hexdigest()}", "set")


def assert_whole(home):
    assert {path.name: path.read_bytes() for path in (home / "set" / "train").iterdir()} == {
        name.rsplit("/", 1)[1]: data for name, data in MEMBERS
    }
    assert not list(home.glob(".unpacking*"))
    assert not list(home.glob("*.part"))


def test_downloads_and_unpacks(archive, server, tmp_path):
    assert download.obtain(archive, tmp_path) == tmp_path / "set"
    assert_whole(tmp_path)
    download.obtain(archive, tmp_path)
    assert len(server.ranges) == 1


def test_a_cut_download_asks_for_the_rest(archive, server, tmp_path):
    server.faults = [700_000, 0, 503, 500_000]
    download.obtain(archive, tmp_path)
    assert_whole(tmp_path)
    first, second = 700_000 // 65_536 * 65_536, 1_150_000 // 65_536 * 65_536  # blocks of 64 kB are lost at most
    assert server.ranges == [None, *3 * [f"bytes={first}-"], f"bytes={second}-"]


def test_a_server_without_ranges_starts_over(archive, server, tmp_path):
    server.faults, server.knows_ranges = [700_000], False
    download.obtain(archive, tmp_path)
    assert_whole(tmp_path)


def test_what_has_arrived_is_kept_for_the_next_call(archive, server, tmp_path):
    server.faults = [700_000, *[0] * download.RETRIES]
    with pytest.raises(InputError, match=r"failed .*resumes where it stopped.*--url"):
        download.obtain(archive, tmp_path)
    assert not (tmp_path / "set").exists()
    download.obtain(archive, tmp_path)
    assert server.ranges[-1] == f"bytes={700_000 // download.BLOCK * download.BLOCK}-"
    assert_whole(tmp_path)


@pytest.mark.parametrize("status", [404, 429, 503])
def test_errors_of_the_server(archive, server, tmp_path, status):
    server.faults = [status] * 9
    with pytest.raises(InputError, match=rf"answers with status {status}.*set\.zip into .* by hand"):
        download.obtain(archive, tmp_path)
    assert len(server.ranges) == (1 if status == 404 else 1 + download.RETRIES)


@pytest.mark.parametrize("served", [DATA[:-1] + b"?", DATA + b"more", DATA[:-9]], ids=["changed", "longer", "shorter"])
def test_wrong_bytes_are_not_kept(archive, server, tmp_path, served):
    server.files["/set.zip"] = served
    with pytest.raises(InputError, match=r"not set\.zip as published"):
        download.obtain(archive, tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name != ".locks"]
    server.files["/set.zip"] = DATA
    download.obtain(archive, tmp_path)
    assert_whole(tmp_path)


def test_a_part_of_another_file_is_thrown_away(archive, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(bytes(len(DATA) + 5))
    download.obtain(archive, tmp_path)
    assert_whole(tmp_path)


def test_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE", 0)
    unreachable = registry.Archive("http://127.0.0.1:9/set.zip", 10_000_000, "md5:0", "set")
    with pytest.raises(
        InputError, match=r"10 MB\) failed \(no connection to 127\.0\.0\.1\): check the network.*by hand"
    ):
        download.obtain(unreachable, tmp_path)


def test_each_try_waits_a_second_longer(tmp_path, monkeypatch):
    waits = []
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", waits.append)
    with pytest.raises(InputError, match="no connection"):
        download.obtain(registry.Archive("http://127.0.0.1:9/set.zip", 10, "md5:0", "set"), tmp_path)
    assert waits == [1, 2, 3]


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_shown_where_it_is_asked_for(archive, server, tmp_path, capsys, progress):
    download.obtain(archive, tmp_path, progress=progress)
    shown = capsys.readouterr().err
    assert ("100%" in shown, "unpacking set.zip" in shown) == (progress, progress)
    assert progress or shown == ""


@pytest.mark.parametrize("whole_address", [True, False])
def test_a_mirror(archive, server, tmp_path, whole_address):
    server.files["/mirror/set.zip"] = server.files.pop("/set.zip")
    download.obtain(archive, tmp_path, url=server.url + ("mirror/set.zip" if whole_address else "mirror/"))
    assert_whole(tmp_path)


def test_a_file_without_published_hash_is_remembered(archive, server, tmp_path):
    archive = registry.Archive(archive.url, archive.bytes, None, "set")
    server.files["/set.zip"] = DATA[:-1]
    with pytest.raises(InputError, match="bytes instead of"):
        download.download(archive, tmp_path)
    server.files["/set.zip"] = DATA
    download.download(archive, tmp_path)
    (tmp_path / "set.zip").unlink()
    server.files["/set.zip"] = DATA[:-1] + b"?"
    with pytest.raises(InputError, match="as published"):
        download.download(archive, tmp_path)


def test_an_archive_in_the_data_home_is_taken(server, tmp_path):
    (tmp_path / "set.zip").write_bytes(DATA)
    download.obtain(registry.Archive(server.url + "set.zip", 1, "md5:0", "set"), tmp_path)
    assert_whole(tmp_path)
    assert not server.ranges


def test_a_disk_that_is_full_keeps_what_arrived(archive, server, small_disk):
    disk = small_disk("1m")
    with pytest.raises(InputError, match=r"Cannot write .*no space is left"):
        download.obtain(archive, disk)
    small_disk("3m")
    with pytest.raises(InputError, match=r"needs 0\.0 GB|no space is left"):
        download.obtain(archive, disk)
    small_disk("9m")
    download.obtain(archive, disk)
    assert_whole(disk)
    assert server.ranges[0] is None
    assert int(server.ranges[1].removeprefix("bytes=").removesuffix("-")) > 500_000
    small_disk("9m", "ro")
    with pytest.raises(InputError, match="read-only"):
        download.obtain(registry.Archive(server.url + "set.zip", 1, None, "other"), disk)


def tarred(*members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, link, 3 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"abc"))
    return stream.getvalue()


def linked_zip():
    info = zipfile.ZipInfo("set/link")
    info.external_attr = 0o120777 << 16
    return zipped([(info, "/etc/passwd")])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (zipped([("set/a", b"abc"), ("../escaped", b"x")]), "leads out of the folder"),
        (zipped([("/escaped", b"x")]), "leads out of the folder"),
        (zipped([("set\\..\\..\\escaped", b"x")]), "leads out of the folder"),
        (zipped([("set/zeros", bytes(100 << 20))]), "absurdly large"),
        (zipped([("set/" + "n" * 300, b"x")]), "too long"),
        (zipped([("set/a", b"x"), ("set/a/b", b"x")]), "damaged"),
        (tarred(("../escaped", tarfile.REGTYPE, "")), "refused, because .*outside the destination"),
        (
            tarred(("set/a", tarfile.SYMTYPE, "../../escaped"), ("set/a/b", tarfile.REGTYPE, "")),
            "refused, because .*outside",
        ),
        (tarred(("set/a", tarfile.LNKTYPE, "../../escaped")), "refused, because .*outside"),
        (tarred(("set/a", tarfile.CHRTYPE, "")), "refused, because .*special file"),
        (DATA[:500_000], "damaged or incomplete"),
        (tarred(*[(f"set/{n}", tarfile.REGTYPE, "") for n in range(999)])[:-200], "damaged or incomplete"),
        (b"not an archive", r"damaged or incomplete \(.*could not be opened"),
    ],
    # By number: pytest writes bytes into the name, and an archive holds the second it was made.
    ids=itertools.count(),
)
def test_archives_that_are_refused(data, reason, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "archive").write_bytes(data)
    with pytest.raises(InputError, match=reason):
        unpack(tmp_path / "home" / "archive", tmp_path / "home" / "set")
    assert not (tmp_path / "home" / "set").exists()
    assert not list(tmp_path.rglob("escaped"))


def test_what_is_no_file_or_would_be_elsewhere_is_unpacked_inside(tmp_path):
    for name, data in (("link.zip", linked_zip()), ("root.tar.gz", tarred(("/set/escaped", tarfile.REGTYPE, "")))):
        (tmp_path / name).write_bytes(data)
        unpack(tmp_path / name, tmp_path / "home" / name)
    assert not (tmp_path / "home" / "link.zip" / "link").is_symlink()
    assert (tmp_path / "home" / "root.tar.gz" / "escaped").read_bytes() == b"abc"


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_unpacking_resumes_where_it_stopped(kind, tmp_path, monkeypatch):
    archive = tmp_path / f"set.{kind}"
    if kind == "zip":
        archive.write_bytes(DATA)
    else:
        with tarfile.open(archive, "w:gz") as opened:
            for name, data in MEMBERS:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                opened.addfile(member, io.BytesIO(data))
    opened, written = io.open, []

    def interrupted(file, mode="r", *arguments, **keywords):
        if "w" in mode and str(file).endswith(".bin"):
            written.append(os.path.basename(file))
            if len(written) == 12:
                raise KeyboardInterrupt
        return opened(file, mode, *arguments, **keywords)

    monkeypatch.setattr("builtins.open", interrupted)
    monkeypatch.setattr("tarfile.bltn_open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "set")
    assert not (tmp_path / "set").exists()
    short = tmp_path / ".unpacking-set" / "set" / "train" / "3.bin"
    short.write_bytes(b"half")
    written.extend(["-"] * 100)  # no more interruptions
    unpack(archive, tmp_path / "set")
    assert_whole(tmp_path)
    assert written[112:] == ["3.bin", *[f"{number}.bin" for number in range(11, 30)]]


def test_what_lies_on_top_of_an_archive_stays_apart_unless_it_is_one_folder(tmp_path):
    tops = {"two": ["a/x", "b/y"], "folder and file": ["a/x", "y"], "file": ["x"], "folder": ["a/b/x", "a/y"]}
    for name, members in tops.items():
        (tmp_path / "archive.zip").write_bytes(zipped([(member, b"abc") for member in members]))
        unpack(tmp_path / "archive.zip", tmp_path / name)
        expected = ["b/x", "y"] if name == "folder" else members
        found = (path for path in (tmp_path / name).rglob("*") if path.is_file())
        assert sorted(str(path.relative_to(tmp_path / name)) for path in found) == expected


def test_a_file_with_a_wrong_checksum_is_not_taken_for_unpacked(tmp_path):
    """It has its full size when the checksum is compared."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("set/a.txt", b"right bytes")
        archive.writestr("set/b.txt", b"other bytes")
    (tmp_path / "set.zip").write_bytes(stream.getvalue().replace(b"right", b"wrong"))
    with pytest.raises(InputError, match="damaged or incomplete"):
        unpack(tmp_path / "set.zip", tmp_path / "set")
    assert not (tmp_path / ".unpacking-set" / "set" / "a.txt").exists()
    (tmp_path / "set.zip").write_bytes(stream.getvalue())
    unpack(tmp_path / "set.zip", tmp_path / "set")
    assert (tmp_path / "set" / "a.txt").read_bytes() == b"right bytes"


def test_an_archive_may_grow_to_ten_times_its_size_and_64_mb(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.unpack.SLACK_BYTES", 0)
    random, zeros = np.random.default_rng(0).bytes(10_000), bytes(1_000_000)
    for name, size, refused in (("little", 80_000, False), ("much", 120_000, True)):
        (tmp_path / f"{name}.zip").write_bytes(zipped([("set/a", random), ("set/b", zeros[:size])]))
        if refused:
            with pytest.raises(InputError, match="absurdly large"):
                unpack(tmp_path / f"{name}.zip", tmp_path / name)
        else:
            unpack(tmp_path / f"{name}.zip", tmp_path / name)
    monkeypatch.undo()
    unpack(tmp_path / "much.zip", tmp_path / "much")
