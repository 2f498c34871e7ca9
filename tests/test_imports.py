"""Imports run in one direction, within functions too, from the command line down to the errors, and load nothing heavy."""

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BACKENDS = {"keras", "tensorflow", "jax"}
# Each room may import those above it in this list; the names of one line may not import each other.
ROOMS = [
    ("errors", "quiet"),
    ("colorize_lib", "driver", "files", "papers"),
    ("dataset", "images", "preprocess"),
    ("acceleration",),
    ("color",),
    ("models",),
    ("training",),
    ("evaluation",),
    ("reproduction", "apps"),
    ("__main__",),
]
DATA_PREP = {"driver", "files", "errors", "dataset", "images", "preprocess"}


def modules(package):
    """{name of a module: its path}."""
    found = {}
    for path in (ROOT / package).rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules("colorize_lib") | modules("data_prep")


def imported(path):
    """Names of this project's modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"a relative import in {path}"
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else node.module for name in full]
        else:
            continue
        yield from (name for name in names if name in MODULES)


def room(name):
    """The module or sub-package of `colorize_lib` that a module belongs to, or data_prep."""
    package, _, rest = name.partition(".")
    return rest.partition(".")[0] if package == "colorize_lib" and rest else package


EDGES = [(name, other) for name, path in sorted(MODULES.items()) for other in imported(path) if other != name]
LEVELS = {name: level for level, names in enumerate(ROOMS) for name in names}


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("colorize_lib", {*BACKENDS, "numpy"}),
        ("colorize_lib.models, colorize_lib.reproduction.parameters", {*BACKENDS, "matplotlib", "skimage", "pandas"}),
        ("colorize_lib.color", {"skimage"}),  # needs Keras, which itself looks for matplotlib
        # The process that opens visitors' files.
        (
            ", ".join(
                f"colorize_lib.apps.{name}" for name in ("photographs", "web.decoding", "web.photos", "web.turing")
            ),
            {*BACKENDS, "data_prep"},
        ),
        (
            "data_prep.arrays, data_prep.download, data_prep.registry, data_prep.__main__",
            {*BACKENDS, "skimage", "matplotlib", "pandas", "requests"},
        ),
    ],
)
def test_nothing_heavy_is_imported(modules, heavy):
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_every_module_has_a_room():
    assert {room(name) for name in MODULES} == {*LEVELS, "data_prep"}


@pytest.mark.parametrize("start", sorted(LEVELS))
def test_colorize_lib_imports_downwards(start):
    inside = [(name, other) for name, other in EDGES if room(name) == start != room(other)]
    upwards = [edge for edge in inside if LEVELS.get(room(edge[1]), -1) >= LEVELS[start]]
    assert not upwards
    assert start == "__main__" or not [edge for edge in inside if room(edge[1]) == "data_prep"]


def test_data_prep_stands_on_the_ground():
    others = {room(other) for name, other in EDGES if room(name) == "data_prep"} - {"data_prep"}
    assert others <= DATA_PREP


def test_there_is_no_circle():
    graph = {}
    for name, other in EDGES:
        graph.setdefault(name, set()).add(other)
    order = list(graphlib.TopologicalSorter(graph).static_order())  # a circle is a CycleError that names it
    assert order.index("colorize_lib.errors") < order.index("colorize_lib.__main__")
