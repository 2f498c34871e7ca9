"""The rules that hold for every notebook, and those for the papers' alone."""

import ast
import base64
import io
import json
import os
import re
import tomllib
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from colorize_lib import papers
from colorize_lib.errors import InputError
from colorize_lib.evaluation import plots, scores
from colorize_lib.reproduction import notebook as headless
from colorize_lib.reproduction import parameters
from colorize_lib.reproduction.parameters import KNOWN

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
OTHERS = ("colorize_your_photos", "turing_test", "your_own")
REPRODUCED = [path for path in NOTEBOOKS if path.stem not in OTHERS]
PAPERS = [path for path in REPRODUCED if path.stem != "comparison"]
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SKELETON = [
    "Goal",
    "Setup",
    "Parameters",
    "Data",
    "Models",
    "Training",
    "Evaluation",
    "Paper vs. here",
    "Deviations",
    "From the recorded run",
    "What we learned",
]


SHORT_SKELETON = [*SKELETON[:4], "Model", "Training", "Evaluation", "What we learned"]  # of notebooks without a paper


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=PAPERS, ids=lambda path: path.stem)
def paper(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture(params=REPRODUCED, ids=lambda path: path.stem)
def reproduced(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_papers_are_those_of_the_command_line():
    assert {path.stem for path in PAPERS} == {papers.published(key, "notebook") for key in papers.KEYS}
    assert {headless.notebook_path(key) for key in papers.NOTEBOOKS} == set(REPRODUCED)
    for name in OTHERS:
        with pytest.raises(InputError, match=rf"no notebook for '{name}': the names are (?!.*{name})"):
            headless.notebook_path(name)


@pytest.fixture
def your_own():
    return nbformat.read(ROOT / "notebooks" / "your_own.ipynb", as_version=4)


def headings(notebook):
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return [line[3:] for line in text.splitlines() if line.startswith("## ")]


def test_skeleton(paper):
    assert headings(paper) == SKELETON


def test_the_comparison_has_the_short_skeleton_and_the_recorded_run():
    comparison = nbformat.read(ROOT / "notebooks" / "comparison.ipynb", as_version=4)
    assert headings(comparison) == [*SHORT_SKELETON[:-1], *SKELETON[-2:]]


def test_your_own_is_short_and_has_the_short_skeleton(your_own):
    assert headings(your_own) == SHORT_SKELETON
    lines = [line for cell in code_cells(your_own) for line in cell.source.splitlines()]
    assert len([line for line in lines if line.strip() and not line.lstrip().startswith("#")]) <= 60


def test_your_own_takes_an_array_and_a_folder(your_own, tmp_path):
    """Arrays of any height and width; of a folder, photographs of any size."""
    generator = np.random.default_rng(0)
    array = generator.integers(0, 256, (20, 16, 24, 3), "uint8")
    for number, image in enumerate(array):
        (tmp_path / "photos").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    for photos in (array, str(tmp_path / "photos")):
        names = {}
        for cell in code_cells(your_own):
            exec(cell.source, names)
            if "parameters" in cell.metadata.get("tags", []):
                names |= {"PHOTOS": photos, "SIZE": 16, "EPOCHS": 1}
        assert len(names["train"]) + len(names["validation"]) + len(names["test"]) == 20
        assert names["same"]
        assert names["again"].network.input_shape == (None, 16, 24 if photos is array else 16, 1)
        assert list(names["table"].index)[-1] == "your own"


def test_executed_in_order_without_error(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    assert not [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "error"]


def test_some_printed_output_is_compared(notebook):
    compared = [cell for cell in code_cells(notebook) if "nbval-ignore-output" not in cell.metadata.get("tags", [])]
    assert sum(bool(cell.outputs) for cell in compared) >= 5


def test_no_paths_of_a_machine(notebook):
    text = json.dumps(notebook)
    for place in ("home", "root", "Users", "tmp"):
        assert f"/{place}/" not in text
    assert str(ROOT) not in text


def test_cells_are_read_by_a_student(notebook):
    """At most 25 lines of at most 100 characters, no comprehension inside another, one statement a line."""
    for cell in code_cells(notebook):
        lines = cell.source.splitlines()
        assert len(lines) <= 25, cell.source
        assert not [line for line in lines if len(line) > 100]
        tree = ast.parse(cell.source)
        for outer in ast.walk(tree):
            if isinstance(outer, COMPREHENSIONS):
                inner = [node for node in ast.walk(outer) if isinstance(node, COMPREHENSIONS) and node is not outer]
                assert not inner, ast.unparse(outer)
        starts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.stmt)]
        assert len(starts) == len(set(starts)), "two statements in one line"


def test_no_red(notebook):
    """No notes of TensorFlow or CUDA, no warnings: whoever sees red looks for a fault."""
    streams = [output for cell in code_cells(notebook) for output in cell.outputs if output.output_type == "stream"]
    assert not [output.text for output in streams if output.name == "stderr"]


def test_links_at_the_top(paper, request):
    published = papers.published(request.node.callspec.params["paper"].stem.replace("_", "-"))
    for link in {published.get("link"), published.get("code")} - {None}:
        assert f"]({link})" in paper.cells[0].source


def test_the_first_cell_says_how_to_get_the_library(notebook):
    first = code_cells(notebook)[0].source
    extras = re.search(r"^# %pip install \.\[([\w,]+)\]$", first, re.M)[1].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(extras) <= set(project["optional-dependencies"])
    assert "import colorize_lib" in first  # before Keras: it keeps TensorFlow's notes away
    assert "keras" not in first.lower().replace("before keras", "")


def test_no_column_of_a_table_is_empty(notebook):
    pages = "".join(outputs_of_kind(notebook, "text/html"))
    for body in re.findall(r"<tbody>.*?</tbody>", pages, re.S):
        rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr.*?</tr>", body, re.S)]
        for column in zip(*rows, strict=True):
            assert set(column) - {"–", "NaN", ""}, body


def outputs_of_kind(notebook, kind):
    """The data of one media type in all outputs."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return [output.data[kind] for output in outputs if kind in output.get("data", {})]


def test_pictures_are_large_enough_to_see(notebook):
    """Every single picture of a figure has at least 160 pixels each way, on a page that shows smaller what is wider than it."""
    for data in outputs_of_kind(notebook, "image/jpeg"):
        image = Image.open(io.BytesIO(base64.b64decode(data)))
        smallest = re.fullmatch(rb"smallest picture: (\d+)x(\d+) pixels", image.info["comment"])
        assert min(1, plots.PAGE / image.width) * min(map(int, smallest.groups())) >= 160


def test_summaries_of_networks_cut_no_name(notebook):
    summaries = [text for text in outputs_of_kind(notebook, "text/html") if "Layer (type)" in text]
    assert not [text for text in summaries if "…" in text]


def test_tables_have_words_for_headings(notebook):
    """None of the names that columns have in files and in code."""
    headings = re.findall(r"<th[^>]*>(.*?)</th>", "".join(outputs_of_kind(notebook, "text/html")))
    assert not set(headings) & {"loss", "val_loss", "mae", "val_mae", "seconds", "ms an image", *scores.QUANTITIES} - {
        "chroma"
    }


def test_one_spelling_of_what_is_shown(notebook):
    """British "colour", and "recognize" with a z, as in the papers that are quoted; names in code keep theirs."""
    shown = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    shown += outputs_of_kind(notebook, "text/html") + outputs_of_kind(notebook, "text/plain")
    text = re.sub(r"`[^`]*`", "", "\n".join(shown))
    assert not re.findall(r"\w*(?:recognis|colorful|colourize)\w*", text)


def test_shown_sources_fit_the_page(paper):
    """JupyterLab shows 91 letters a line of a listing next to its sidebar at 1280 pixels, and breaks within words."""
    listings = outputs_of_kind(paper, "text/markdown")
    lines = [line for text in listings if text.startswith("```python") for line in text.splitlines()]
    assert lines
    assert not [line for line in lines if len(line) > 90]


def test_photographs_are_jpeg(notebook):
    """Photographs as PNG make a notebook several times larger; drawings are PNG."""
    drawn = outputs_of_kind(notebook, "image/png")
    assert not [data for data in drawn if len(data) > 200_000]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_size(path):
    assert path.stat().st_size <= 3_000_000


def test_parameters_cell(reproduced):
    tagged = [cell for cell in code_cells(reproduced) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    before = code_cells(reproduced)[: code_cells(reproduced).index(tagged[0])]
    names = {node.id for node in ast.walk(ast.parse(tagged[0].source)) if isinstance(node, ast.Name)}
    used_before = {
        node.id for cell in before for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Name)
    }
    assert not {name for name in names if name.isupper()} & used_before
    assert reproduced.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", REPRODUCED, ids=lambda path: path.stem)
def test_profiles(path):
    names = headless.declared(path)
    profiles = names["PROFILES"]
    assert set(profiles) == {"quick", "paper"}
    assert profiles["quick"].keys() == profiles["paper"].keys()
    assert {name.lower() for name in names if name != "PROFILES"} <= set(KNOWN)
    for profile in profiles:
        given = {name: value for name, value in names.items() if name not in ("PROFILE", "PROFILES")} | {
            "PROFILE": profile
        }
        assert parameters.resolve(profiles, given).label == ("paper" if profile == "paper" else "quick (budgeted)")
        for name, value in _others(profiles[profile]).items():
            assert parameters.resolve(profiles, given | {name.upper(): value}).label == "budgeted", name


def _others(values):
    """Another value of each parameter that decides what is learned, or on what it is scored."""
    found = {}
    for name, value in values.items():
        known = KNOWN[name]
        if name == "keep" or known.path:
            continue
        if known.choices:
            found[name] = next(choice for choice in known.choices if choice != value)
        elif known.type is bool:
            found[name] = not value
        elif known.type is str:
            found[name] = "another"
        else:
            found[name] = known.low if value != known.low else known.high or known.low + 1
    return found


def test_no_function_is_defined_in_two_notebooks():
    defined = [
        node.name
        for path in NOTEBOOKS
        for cell in code_cells(nbformat.read(path, as_version=4))
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.FunctionDef)
    ]
    assert len(defined) == len(set(defined))


def test_tags(notebook):
    """The parameters cell, and cells whose output is not compared."""
    tags = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    assert tags <= {"parameters", "nbval-ignore-output"}
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.parametrize("path", REPRODUCED, ids=lambda path: path.stem)
def test_every_parameter_is_used(path):
    names = headless.declared(path)
    cells = code_cells(nbformat.read(path, as_version=4))
    later = [cell for cell in cells if "parameters" not in cell.metadata.get("tags", [])]
    nodes = [node for cell in later for node in ast.walk(ast.parse(cell.source))]
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    used |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    used |= {"profile", "run", "seed", *["systems"] * ("chosen" in used)}  # of the library: `resolve`, `Run`, `chosen`
    parameters_ = {name.lower() for name in names if name != "PROFILES"} | set(names["PROFILES"]["quick"])
    assert parameters_ <= used


# One parameter of each paper's own, and a value that is not the quick profile's.
CHANGED = {
    "autoencoders": "DROPOUT=0.6",
    "polychromify": "WIDTH=0.5",
    "unet": "DECODER=transpose",
    "resnet-mrf": "LEARNING_RATE=0.01",
    "vacgan": "DISTANCE=l2",
}


@pytest.mark.skipif("COLORIZE_SOAK" not in os.environ, reason="minutes for each notebook: make soak")
@pytest.mark.parametrize("name", papers.KEYS)
def test_a_changed_parameter_has_an_effect(name, capfd):
    small = ["EPOCHS=1", "TRAIN_LIMIT=64", "TEST_LIMIT=16"]
    folders = [headless.reproduce(name, [*small, *more]) for more in ([], [CHANGED[name]])]
    assert folders[0] != folders[1]
    one, other = (json.loads((folder / "metrics.json").read_text())["systems"] for folder in folders)
    assert any(one[system] != other.get(system) for system in one)
    assert CHANGED[name] in capfd.readouterr().out
