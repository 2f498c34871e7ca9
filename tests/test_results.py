import json
import re

import pytest

from colorize_lib import evaluate, results
from colorize_lib.errors import InputError


def test_readme_agrees_with_results():
    readme = (results.ROOT / "README.md").read_text(encoding="utf-8")
    assert results.table() in readme, "README's table is out of date: run `make results`"


def test_every_result_has_its_manifest_and_history():
    for folder in (results.ROOT / "results").glob("*/"):
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        assert manifest["finished"]
        assert re.fullmatch("[0-9a-f]{40}[+]?", manifest["git_commit"])
        assert any(name.startswith("gray") for name in metrics["systems"]), "every table carries the constant baselines"
        for system, epochs in metrics["epochs"].items():
            lines = (folder / system / "history.csv").read_text(encoding="utf-8").splitlines()
            assert len(lines) == 1 + epochs
        assert (folder / "photos.png").stat().st_size > 10_000


def test_collect_takes_finished_runs_only(tmp_path):
    run = tmp_path / "run"
    (run / "cnn").mkdir(parents=True)
    (run / "cnn" / "history.csv").write_text("epoch,loss\n1,0.5\n")
    (run / "cnn" / "state.npz").write_text("large")
    manifest = {"format": 1, "notebook": "polychromify", "finished": None, "command": "make reproduce-polychromify"}
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "metrics.json").write_text('{"format": 1}')
    with pytest.raises(InputError, match="is not finished: run `make reproduce-polychromify` again"):
        results.collect(run, tmp_path / "results")
    (run / "manifest.json").write_text(json.dumps(manifest | {"finished": "2026-01-01"}))
    target = results.collect(run, tmp_path / "results")
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert found == {"manifest.json", "metrics.json", "cnn/history.csv"}


def test_readme_without_a_place_is_an_error(tmp_path):
    (tmp_path / "README.md").write_text("no table here")
    with pytest.raises(InputError, match="has no place for the table"):
        results.write_readme(tmp_path / "README.md")


def test_published_numbers_are_numbers():
    def leaves(value):
        return [leaf for item in value.values() for leaf in leaves(item)] if isinstance(value, dict) else [value]

    for paper in ("autoencoders", "polychromify", "unet", "resnet-mrf", "vacgan"):
        assert evaluate.published(paper, "title")
        assert all(isinstance(leaf, int | float | str) for leaf in leaves(evaluate.published(paper)))
