"""The papers in `papers.toml`: their titles, notebooks, networks, and all numbers that they print.

`KEYS` are the papers with a notebook, in the order in which they are shown; `NOTEBOOKS` are their notebooks by key, and the
comparison's, which belongs to no paper; `MODULES` are the papers' modules in `colorize_lib.models`. Importing this module loads
nothing heavy.
"""

import tomllib
from pathlib import Path

_CONTENT = tomllib.loads((Path(__file__).parent / "papers.toml").read_text(encoding="utf-8"))
DATASETS = _CONTENT.pop("datasets")
NOTEBOOKS = {key: paper["notebook"] for key, paper in _CONTENT.items() if "notebook" in paper}
KEYS = tuple(key for key in NOTEBOOKS if "authors" in _CONTENT[key])
MODULES = tuple(paper["networks"] for paper in _CONTENT.values() if "networks" in paper)


def published(*keys):
    """An entry of `papers.toml`, such as `published("polychromify", "table2", "cnn")`."""
    value = _CONTENT
    for key in keys:
        value = value[key]
    return value


def citation(key):
    """A paper in one line: authors, year if it is known, and title."""
    paper = _CONTENT[key]
    return ", ".join(str(paper[part]) for part in ("authors", "year", "title") if part in paper)
