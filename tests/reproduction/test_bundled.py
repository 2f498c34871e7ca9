"""`run.py` of a bundle: for which Python it is, what it installs, and what it starts."""

import shutil
import subprocess
import sys

import pytest

from colorize_lib.reproduction import bundled

TAG = "cp{}{}".format(*sys.version_info)


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """Function (tag, *names) that makes an unpacked bundle with wheels of numpy for Python `tag` and of others; its folder."""
    for name in ("COLORIZE_DATA", "COLORIZE_RUNS"):
        monkeypatch.delenv(name)

    def make(tag, *names):
        shutil.copy(bundled.__file__, tmp_path / "run.py")
        (tmp_path / "wheelhouse").mkdir()
        for name in (f"numpy-1-{tag}-{tag}-linux.whl", *names):
            (tmp_path / "wheelhouse" / name).touch()
        return tmp_path

    return make


def stub(folder, **_):
    """A Python in the bundle's environment that notes its arguments and folders, and reproduces nothing."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text(
        f'#!/bin/sh\necho "$@" >> {folder.parent}/called\n'
        f'echo "$COLORIZE_DATA $COLORIZE_RUNS" > {folder.parent}/places\n[ "$2" != colorize_lib ] || exit 7\n'
    )
    (folder / "bin" / "python").chmod(0o755)


def run(folder, *arguments):
    return subprocess.run([sys.executable, folder / "run.py", *arguments], capture_output=True, text=True)


def test_without_a_paper_it_says_how_it_is_used(unpacked):
    done = run(unpacked(TAG))
    assert done.returncode == 1
    assert done.stderr.startswith(f"usage: python{sys.version_info[0]}") or done.stderr.startswith("usage: python ")
    assert "run.py PAPER [NAME=VALUE …], or all for every paper" in done.stderr


def test_wheels_of_another_python_are_one_sentence(unpacked):
    done = run(unpacked("cp39"), "vacgan")
    assert done.returncode == 1
    version = sys.version.split()[0]
    assert done.stderr == f"error: the wheels are for Python 3.9, this is {version}: use python3.9.\n"


def test_it_reproduces_with_the_data_and_runs_of_its_folder(unpacked, monkeypatch):
    folder = unpacked(TAG)
    stub(folder / ".venv")
    (folder / ".venv" / ".ready").touch()
    assert run(folder, "vacgan", "PROFILE=paper", "EPOCHS=3").returncode == 7
    assert (folder / "called").read_text() == "-m colorize_lib reproduce vacgan PROFILE=paper EPOCHS=3\n"
    assert (folder / "places").read_text() == f"{folder}/data {folder}/runs\n"
    monkeypatch.setenv("COLORIZE_RUNS", "/elsewhere")
    run(folder, "vacgan")
    assert (folder / "places").read_text() == f"{folder}/data /elsewhere\n"


@pytest.mark.parametrize(
    ("wheel", "requirements"), [("tensorflow-2-x.whl", "requirements.txt"), ("jax-1-x.whl", "requirements-jax.txt")]
)
def test_it_installs_what_the_wheels_are_for_once_and_without_network(unpacked, monkeypatch, wheel, requirements):
    folder = unpacked(TAG, wheel)
    (folder / "requirements.txt").write_text("tensorflow==2\n")
    (folder / "requirements-jax.txt").write_text("jax==1\n")
    monkeypatch.setattr(bundled, "HERE", folder)
    monkeypatch.setattr(bundled.venv, "create", stub)
    monkeypatch.setattr(sys, "argv", ["run.py", "unet"])
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            bundled.main()
        assert ended.value.code == 7
    pip, reproduce = "-m pip --quiet --disable-pip-version-check install --no-index", "-m colorize_lib reproduce unet"
    assert (folder / "called").read_text().splitlines() == [
        f"{pip} --find-links {folder}/wheelhouse -r {folder}/{requirements}",
        f"{pip} --no-deps --no-build-isolation -e {folder}",
        reproduce,
        reproduce,
    ]
