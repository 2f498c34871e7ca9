"""A bundle is written in parts, and unpacks to a project that knows its data and wheels."""

import hashlib
import io
import re
import tarfile

import pytest

from colorize_lib import __main__, files
from colorize_lib.errors import InputError
from colorize_lib.reproduction import bundle


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "abacus-1.0-py3-none-any.whl").write_bytes(bytes(range(256)) * 400)
    return folder


def prepare(name):
    folder = files.data_home() / "prepared" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    (folder / ".lock").write_text("")


def test_parts_and_hashes(tmp_path, wheels, capsys, monkeypatch):
    monkeypatch.setattr(bundle, "missing", lambda requirements, wheels: [])
    prepare("photos-64")
    prepare("photosynthesis-64")
    output = tmp_path / "out"
    command = ["bundle", "photos", "-o", str(output), "--wheels", str(wheels), "--part", "1M"]
    assert __main__.main(command) == 0
    parts = sorted(output.glob("colorize.tar.*"))
    assert len(parts) > 3
    assert {part.stat().st_size for part in parts[:-1]} == {10**6}
    for line in (output / "SHA256SUMS").read_text().splitlines():
        found, name = line.split("  ")
        assert hashlib.sha256((output / name).read_bytes()).hexdigest() == found
    joined = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    with tarfile.open(fileobj=joined) as archive:
        names = archive.getnames()
        run = archive.extractfile("colorize/run.py").read()
        assert re.fullmatch(rb"[0-9a-f]{40}\+?\n", archive.extractfile("colorize/COMMIT").read())
        assert archive.extractfile("colorize/wheelhouse/abacus-1.0-py3-none-any.whl").read() == bytes(range(256)) * 400
    compile(run, "run.py", "exec")
    assert {"colorize/requirements.txt", "colorize/Makefile", "colorize/data/prepared/photos-64/manifest.json"} <= set(
        names
    )
    assert not [name for name in names if "photosynthesis" in name or ".lock" in name or "/.venv" in name]
    capsys.readouterr()
    assert __main__.main([*command[:-2]]) == 0  # without parts: the earlier ones are gone
    assert sorted(path.name for path in output.iterdir()) == ["SHA256SUMS", "colorize.tar"]


def test_what_is_missing_is_one_sentence(tmp_path, wheels, monkeypatch):
    with pytest.raises(InputError, match="`make wheelhouse`"):
        bundle.bundle(["photos"], tmp_path / "out", tmp_path)
    missing = bundle.missing
    monkeypatch.setattr(bundle, "missing", lambda requirements, wheels: [])
    with pytest.raises(InputError, match=r"Nothing is prepared of 'cifar10'.*python -m data_prep cifar10"):
        bundle.bundle(["cifar10"], tmp_path / "out", wheels)
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(
        "abacus==1.0\nhost.of_wind[all]==2.0 ; python_version >= '3'\nother==1 ; python_version < '3'\n"
    )
    assert missing(requirements, wheels) == ["host.of_wind==2.0"]
    (wheels / "host_of_wind-2.0-cp311-cp311-linux.whl").touch()
    assert missing(requirements, wheels) == []
    for text in ("5T", "0M", "many"):
        with pytest.raises(InputError, match="is not a size of a part"):
            bundle.size(text)
    assert bundle.size("1500k") == 1_500_000
