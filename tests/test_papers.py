"""`papers.toml`: every paper once, and everything that CONTRIBUTING asks for when one is added."""

import re
import subprocess
from pathlib import Path

import pytest

from colorize_lib import color, models, papers
from data_prep import registry

ROOT = Path(__file__).parent.parent


def test_the_papers_with_a_notebook():
    assert papers.KEYS == ("autoencoders", "polychromify", "unet", "resnet-mrf", "vacgan")
    assert papers.published("polychromify", "table2", "polychromify_ab", "psnr_rgb") == 22.444


@pytest.mark.parametrize("key", [*papers.KEYS, "zhang"])
def test_every_network_belongs_to_the_paper_whose_module_it_is_in(key):
    names = models.names(key)
    assert names
    for name in names:
        module = papers.published(key, "networks")
        assert models.entry(name).builder.__module__ == f"colorize_lib.models.{module}"
        assert models.entry(name).convention in color.CONVENTIONS


def test_no_network_is_of_an_unknown_paper():
    assert {models.entry(name).paper for name in models.names()} == {*papers.KEYS, "zhang", None}  # natural is of none


@pytest.mark.parametrize("key", papers.KEYS)
def test_what_a_paper_needs_is_there(key):
    paper = papers.published(key)
    assert paper["title"]
    assert paper["claim"].endswith(".")
    assert (ROOT / "notebooks" / f"{paper['notebook']}.ipynb").exists()
    assert paper["dataset"] in registry.DATASETS
    assert paper["dataset"] in papers.DATASETS
    assert paper["tables"]
    for link in (paper.get("link"), paper.get("code")):
        assert link is None or re.fullmatch(r"https://[\w./-]+", link)


def test_published_numbers_are_numbers():
    def leaves(value):
        if isinstance(value, dict):
            return [leaf for item in value.values() for leaf in leaves(item)]
        return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]

    for key in papers.KEYS:
        assert all(isinstance(leaf, int | float | str) for leaf in leaves(papers.published(key)))


def test_contributing_names_at_most_six_places_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\d+\. .*(?:\n   .*)*", text.partition("## How to add a paper")[2].partition("\n## ")[0], re.M)
    assert 1 <= len(steps) <= 6
    for step in steps:
        path = re.search(r"`([^`]+)`", step)[1]
        assert list(ROOT.glob(path.replace("PAPER", "*"))), path


def test_make_help_lists_the_papers():
    out = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"Papers: {' '.join(papers.KEYS)}" in out


_INTERNAL = re.compile(
    r"\bpapers? 00[0-9]\b|\bpaper=\"00|^#+ *00[0-4]\b|\bissue [0-9]+\b|\b(facts|pitfalls|design|style)\.md\b"
)


def test_no_internal_number_of_a_document_is_shown():
    """Papers are called by their keys or authors, everywhere."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    found = []
    for name in listed:
        path = ROOT / name
        if path.suffix in (".py", ".ipynb", ".md", ".toml", ".json", ".js", ".html", ".cfg") and path.is_file():
            text = path.read_text(encoding="utf-8")
            found += [f"{name}: {match[0]}" for match in _INTERNAL.finditer(text) if name != "tests/test_papers.py"]
    assert not found
