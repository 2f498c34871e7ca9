"""The command lines: every help is printed, and every command that a message, a help or a docstring names is one."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import data_prep
from colorize_lib import __main__, images, models, papers
from data_prep import __main__ as preparation

ROOT = Path(__file__).parents[1]
PARSERS = {"colorize_lib": __main__._parser, "data_prep": preparation._parser}


def commands(parser):
    (choices,) = [
        action.choices for action in parser._actions if action.dest in ("name", "==SUPPRESS==") and action.choices
    ]
    return list(choices)


@pytest.mark.parametrize("package", PARSERS)
def test_every_help(package, capsys):
    parser = PARSERS[package]()
    for arguments in ([], *([command] for command in commands(parser))):
        with pytest.raises(SystemExit) as stopped:
            parser.parse_args([*arguments, "--help"])
        assert stopped.value.code == 0
        assert "usage:" in capsys.readouterr().out


def test_the_formats_of_the_help_are_those_that_are_written():
    assert __main__._WRITABLE == images.WRITABLE


@pytest.mark.parametrize(
    ("missing", "command", "extra"),
    [
        ("uvicorn", ["app"], "web"),
        ("starlette", ["turing-test"], "web"),
        ("papermill", ["reproduce", "unet"], "notebooks"),
    ],
)
def test_a_library_that_is_not_installed_is_one_sentence_with_its_extra(missing, command, extra, monkeypatch, capsys):
    loaded = ("colorize_lib.apps.web", "colorize_lib.reproduction", f"{missing}.")
    for name in [name for name in sys.modules if name.startswith(loaded)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert __main__.main(command) == 2
    error = f"error: {missing} is not installed: run `pip install {missing}`, or install colorize-lib[{extra}].\n"
    assert capsys.readouterr().err == error


def test_a_module_of_our_own_that_is_missing_is_a_fault_of_ours(monkeypatch):
    monkeypatch.setitem(sys.modules, "colorize_lib.apps.web", None)
    with pytest.raises(ModuleNotFoundError):
        __main__.main(["app"])


def texts():
    """All text of both packages, with a placeholder for what is filled in."""
    for package in PARSERS:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
                    yield path.name, "".join(parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield path.name, node.value


# What stands in a message for a value that is filled in.
FILLED = {
    "PATH": "folder",
    "FILE": "file.pth",
    "NAME": "photos",
    "{}": "photos",
    "COMMAND": "models",
    "FOLDER": "folder",
}


def test_every_python_command_in_a_text_is_one():
    found = 0
    for file, text in texts():
        for package, line in re.findall(r"`python -m (colorize_lib|data_prep)((?: [^`\s]+)+)`", text):
            words = [FILLED.get(word, word) for word in shlex.split(line)]
            if package == "colorize_lib" and words[0] == "convert":
                words = ["eccv16" if word == "photos" else word for word in words]
            try:
                PARSERS[package]().parse_args(words)
            except SystemExit as stopped:
                if stopped.code == 0:  # it asks for help
                    continue
                pytest.fail(f"{file}: python -m {package} {line}")
            found += 1
    assert found >= 8


def test_every_make_command_in_a_text_is_a_target():
    targets = set(re.findall(r"^([a-z%-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    found = set()
    for file, text in texts():
        for target in re.findall(r"`make ([a-z-]+)(\{\})?", text):
            found.add((file, "".join(target)))
    assert len(found) >= 3
    for file, target in found:
        assert target in targets or re.sub(r"-[^-]*(-mrf)?$", "-%", target).replace("{}", "%") in targets, (
            f"{file}: make {target}"
        )


def pythons(folder, **fits):
    """The environment of a `make` that finds these commands before all others: each is a Python that fits, or does not run."""
    for name, runs in fits.items():
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n' if runs else "#!/bin/sh\nexit 127\n")
        (folder / name).chmod(0o755)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}


def setup(folder, environment, *options):
    command = ["make", *options, "setup", f"VENV={folder / 'made'}"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_setup_takes_the_first_python_that_runs(tmp_path):
    """pyenv has a command for each of its versions, of which only the chosen ones run."""
    names = {"python3.11": False, "python3.12": True, "python3.13": True}
    done = setup(tmp_path, pythons(tmp_path, **names), "-n")
    assert f"python3.12 -m venv {tmp_path}" in done.stdout


def test_setup_without_a_python_that_fits_is_one_sentence_before_anything_is_made(tmp_path):
    names = dict.fromkeys(("python3.11", "python3.12", "python3.13", "python3"), False)
    for python in ([], ["PYTHON=python3"]):
        done = setup(tmp_path, pythons(tmp_path, **names), *python)
        assert done.returncode == 2
        assert done.stderr.startswith("python3 is no Python from 3.11 to 3.13: install one of them, or name it")
    assert not (tmp_path / "made").exists()


def dry(*arguments):
    """What `make` would do."""
    return subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["app", "RUNS=a b"], "-m colorize_lib app --run a --run b"),
        (["app", "PORT=9000", "OPEN=1"], "-m colorize_lib app --port 9000 --open-to-others"),
        (["app", "PUBLIC=colors.example.org"], "-m colorize_lib app --public-name colors.example.org"),
        (["turing-test", "RUNS=a", "DATASET=cifar10"], "-m colorize_lib turing-test --run a --dataset cifar10"),
        (["reproduce-unet", "GPU=1", "EPOCHS=3"], "-m colorize_lib reproduce unet EPOCHS=3"),
        (["collect", "RUNS=a b"], "-m colorize_lib results a b"),
        (["bundle", "DATA=cifar10 photos"], "-m colorize_lib bundle cifar10 photos"),
        (["bundle", "DATA=photos", "PART=500M"], "-m colorize_lib bundle photos --part 500M"),
        (["setup"], "-m pip install --quiet --disable-pip-version-check -r requirements.txt"),
        (["setup", "BACKEND=jax"], "-m pip install --quiet --disable-pip-version-check -r requirements-jax.txt"),
        (["setup", "GPU=1"], '-m pip install --quiet --disable-pip-version-check "tensorflow[and-cuda]==$('),
        (["setup", "GPU=1", "BACKEND=jax"], '-m pip install --quiet --disable-pip-version-check "jax[cuda12]==$('),
        (["setup", "OFFLINE=wheels"], "--no-index --find-links wheels -r requirements.txt"),
        (["wheelhouse", "BACKEND=jax", "GPU=1"], '-d wheelhouse -r requirements-jax.txt "jax[cuda12]==$('),
    ],
)
def test_make_hands_its_variables_on(arguments, command, tmp_path):
    done = dry(*arguments, f"VENV={tmp_path / 'made'}", f"PYTHON={sys.executable}")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    if command.endswith("$("):
        assert any(command in line for line in lines), done.stdout
        return
    assert any(line.endswith(command) for line in lines), done.stdout
    package, *words = command.removeprefix("-m ").split()
    if package in PARSERS:
        PARSERS[package]().parse_args(words)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("collect", "RUNS= names the run folders to collect"),
        ("bundle", "DATA= names the prepared datasets to include"),
    ],
)
def test_make_says_which_variable_is_missing(target, message):
    done = dry(target)
    assert done.returncode == 2
    assert message in done.stderr


def test_the_turing_test_of_a_dataset_shows_its_test_images(monkeypatch, tmp_path):
    from colorize_lib.apps.web import turing

    drawn, served, pictures = [], [], []
    monkeypatch.setattr(data_prep, "drawn_photographs", lambda *given: drawn.append(given) or pictures)
    monkeypatch.setattr(turing, "serve", lambda *given: served.append(given))
    options = ["--dataset", "cifar10", "--images", "7", "--store", str(tmp_path / "answers.sqlite")]
    assert __main__.main(["turing-test", *options]) == 0
    assert drawn == [("cifar10", 7)]
    assert served[0][0] is pictures


def test_advice_on_weights_names_a_paper_that_make_reproduces(capsys):
    """`make reproduce-PAPER` exists for every network without bundled or public weights."""
    from colorize_lib.apps import trained

    for name in models.names():
        advice = trained.place(name)
        if advice.startswith("train it: make reproduce-"):
            key = advice.removeprefix("train it: make reproduce-")
            assert key in (*papers.KEYS, "natural")
            done = dry(f"reproduce-{key}")
            assert done.returncode == 0, done.stderr
        elif advice.startswith("get them: "):
            words = shlex.split(advice.removeprefix("get them: python -m colorize_lib "))
            assert __main__._parser().parse_args(words).source == name
        else:
            assert advice.startswith(("bundled: ", "public: "))


def test_a_network_without_weights_here_says_how_to_get_them(capsys, tmp_path):
    (tmp_path / "a.jpg").touch()
    assert __main__.main(["colorize", str(tmp_path / "a.jpg"), "-m", "eccv16"]) == 2
    assert "python -m colorize_lib convert eccv16" in capsys.readouterr().err
    assert __main__.main(["colorize", str(tmp_path / "a.jpg"), "-m", "kth_unet"]) == 2
    assert "make reproduce-vacgan" in capsys.readouterr().err
