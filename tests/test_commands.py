"""The command lines: every help is printed, and every command that a message, a help or a docstring names is one."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from colorize_lib import __main__, models, papers
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


def test_advice_on_weights_names_a_paper_that_make_reproduces(capsys):
    """`make reproduce-PAPER` exists for every network without bundled or public weights."""
    from colorize_lib.apps import trained

    for name in models.names():
        advice = trained.place(name)
        if advice.startswith("train it: make reproduce-"):
            key = advice.removeprefix("train it: make reproduce-")
            assert key in (*papers.KEYS, "natural")
            done = subprocess.run(["make", "-n", f"reproduce-{key}"], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        elif advice.startswith("get them: "):
            words = shlex.split(advice.removeprefix("get them: python -m colorize_lib "))
            assert __main__._parser().parse_args(words).source == name


def test_a_network_without_weights_here_says_how_to_get_them(capsys, tmp_path):
    (tmp_path / "a.jpg").touch()
    assert __main__.main(["colorize", str(tmp_path / "a.jpg"), "-m", "eccv16"]) == 2
    assert "python -m colorize_lib convert eccv16" in capsys.readouterr().err
    assert __main__.main(["colorize", str(tmp_path / "a.jpg"), "-m", "kth_unet"]) == 2
    assert "make reproduce-vacgan" in capsys.readouterr().err
