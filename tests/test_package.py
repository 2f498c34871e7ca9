"""What pip installs, without a checkout: the quick profile of every notebook needs nothing else."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder that holds the contents of the wheel."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    for name in ("colorize_lib", "data_prep"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        source,
    ]
    subprocess.run(command, check=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def run(code, installed, folder):
    """What Python code prints that runs in `folder`, with the library from the wheel."""
    environment = os.environ | {"PYTHONPATH": str(installed), "COLORIZE_DATA": str(folder / "data")}
    del environment["COLORIZE_RUNS"]
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_what_every_part_needs_is_installed_without_an_extra():
    """The pages have an extra of their own; `evaluation` imports pandas only when it makes a table."""
    core = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    installed = {re.match(r"[\w-]+", line)[0].replace("-", "_") for line in core}
    needed = {"pandas"}
    for path in [*(ROOT / "colorize_lib").rglob("*.py"), *(ROOT / "data_prep").rglob("*.py")]:
        for node in ast.parse(path.read_text(encoding="utf-8")).body if "web" not in path.parts else ():
            if isinstance(node, ast.Import):
                needed |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                needed.add(node.module.partition(".")[0])
    others = needed - sys.stdlib_module_names - {"colorize_lib", "data_prep"}
    assert {{"PIL": "pillow"}.get(name, name) for name in others} <= installed


def test_photographs_come_along_and_recorded_runs_do_not(installed, tmp_path):
    code = "import data_prep\nfrom colorize_lib.evaluation import recorded\nprint(data_prep.__file__)\n"
    code += 'print(data_prep.load("photos", size=256))\nrecorded.show("polychromify")\n'
    where, *photographs, sentence = run(code, installed, tmp_path).splitlines()
    assert Path(where).is_relative_to(installed)
    assert photographs[0] == "photos"
    assert [line.split()[0] for line in photographs[1:4]] == ["train", "validation", "test"]
    assert sentence.startswith("There is no recorded run of polychromify here: ")


def test_your_own_runs_without_a_checkout(installed, tmp_path):
    cells = nbformat.read(ROOT / "notebooks" / "your_own.ipynb", as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    place = next(number for number, source in enumerate(code) if source.startswith("PHOTOS"))
    code.insert(place + 1, "EPOCHS, SIZE = 1, 16")
    output = run("\n".join(code), installed, tmp_path)
    assert "the network that was loaded again gives the same picture: True" in output
    assert (tmp_path / "runs" / "your_own" / "network.keras").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_cell_names_a_path_of_the_checkout(path):
    cells = nbformat.read(path, as_version=4).cells
    trees = [ast.parse(cell.source) for cell in cells if cell.cell_type == "code"]
    texts = [node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    places = ("../", "results/", "notebooks/", "data_prep/", "colorize_lib/")
    assert not [text for text in texts if isinstance(text, str) and text.startswith(places)]
