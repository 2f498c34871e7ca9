"""`import colorize_lib as cl`: the names it offers, and how fast it is."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import colorize_lib as cl

# Where each name is also to be found; these places stay.
PLACES = {
    "build": "colorize_lib.models",
    "names": "colorize_lib.models",
    "CONVENTIONS": "colorize_lib.color",
    "rgb_to_lab": "colorize_lib.color",
    "lab_to_rgb": "colorize_lib.color",
    "resize_and_crop": "colorize_lib.preprocess",
    "Colorizer": "colorize_lib.training.colorizer",
    "InputError": "colorize_lib.errors",
}


def in_a_new_process(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_every_name_is_there_and_listed():
    asked = {"accelerate", "build", "load", "Colorizer", "rgb_to_lab", "lab_to_rgb", "evaluate"}
    assert asked <= set(dir(cl))
    for name in dir(cl):
        assert getattr(cl, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = cl.no_such_name


@pytest.mark.parametrize("name", PLACES)
def test_names_are_the_same_where_they_have_always_been(name):
    assert getattr(cl, name) is getattr(importlib.import_module(PLACES[name]), name)


def test_evaluate_is_the_module_of_scores():
    assert cl.evaluate is importlib.import_module("colorize_lib.evaluation.evaluate")


def test_the_import_is_quick():
    code = "import time; begun = time.process_time(); import colorize_lib; print(time.process_time() - begun)"
    assert min(float(in_a_new_process(code)) for _ in range(3)) < 0.5


def test_the_first_use_of_a_name_loads_it():
    out = in_a_new_process("import colorize_lib as cl; print(cl.InputError.__name__, cl.build.__name__, dir(cl)[0])")
    assert out.startswith("InputError build")


def test_the_citation_is_of_this_version():
    import yaml

    citation = yaml.safe_load((Path(cl.__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == cl.__version__
    assert {"cff-version", "title", "authors", "message", "license"} <= set(citation)


def test_the_lines_of_readme_run(tmp_path, monkeypatch):
    root = Path(__file__).parents[1]
    (code,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    shutil.copyfile(root / "data_prep" / "photos" / "animals" / "cat.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    code = code.replace('["test"])', '["test"].limit(4, 0))')
    found = {}
    exec(code, found)
    assert found["rgb"].dtype == "uint8"
    assert found["network"].name == found["faster"].name
    assert len(found["scores"]) == 4
