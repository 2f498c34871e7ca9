"""Every number that the papers print, from `papers.toml`. Imports nothing heavy."""

import tomllib
from pathlib import Path


def published(*keys):
    """A part of `papers.toml`: `published("polychromify", "table2", "cnn")` → dictionary or number."""
    with open(Path(__file__).parent / "papers.toml", "rb") as file:
        value = tomllib.load(file)
    for key in keys:
        value = value[key]
    return value
