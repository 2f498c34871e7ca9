import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from colorize_lib import __main__
from colorize_lib.errors import InputError
from colorize_lib.reproduction import gallery, results

ROW = {"psnr_rgb": {"mean": 23.0, "low": 22.9, "high": 23.1}, "images": 100}


def write_run(folder, systems, *, epochs=3, images=1000, label="budgeted", paper="polychromify", **more):
    """A finished run of `paper` in `folder`, with these systems."""
    metrics = {"format": 1, "label": label, "systems": systems, "training_images": images, "test_images": 100} | more
    trained = {name: epochs for name in systems if "gray" not in name}
    metrics["epochs"] = epochs if isinstance(epochs, dict) else trained
    manifest = {"format": 1, "notebook": paper, "finished": "2026-01-01", "command": f"make reproduce-{paper}"}
    manifest |= {"parameters": {"profile": "paper", "seed": 0}, "datasets": {"d": {"name": "tiny-imagenet"}}}
    manifest["hardware"] = {"processor": "Abacus", "cores": 2, "accelerators": []}
    manifest |= {"label": label, "versions": {}, "git_commit": 40 * "0", "started": "2026-01-01", "earlier": []}
    for system in metrics["epochs"]:
        (folder / system).mkdir(parents=True)
        (folder / system / "history.csv").write_text("epoch,loss,val_loss\n1,0.5,0.4\n2,0.25,0.3\n")
        (folder / system / "state.npz").write_text("large")
    (folder / "figures").mkdir()
    (folder / "figures" / "photos.png").write_bytes(b"picture of " + folder.name.encode())
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def places(target):
    return {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}


def test_readme_agrees_with_results():
    readme = (results.ROOT / "README.md").read_text(encoding="utf-8")
    assert results.table() in readme, "README's tables are out of date: run `make results`"


def test_the_gallery_agrees_with_results():
    page = (results.ROOT / "results" / "index.html").read_text(encoding="utf-8")
    assert page == gallery.page(), "results/index.html is out of date: run `make results`"


def test_every_result_has_its_manifest_and_history():
    folders = [path.parent for path in (results.ROOT / "results").rglob("metrics.json")]
    assert folders
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        assert manifest["finished"]
        assert re.fullmatch("[0-9a-f]{40}[+]?", manifest["git_commit"])
        assert any(name.startswith("gray") for name in metrics["systems"]), "every table carries the constant baselines"
        assert list(folder.glob("*/history.csv"))
        for system, epochs in metrics["epochs"].items():
            if (folder / system).exists():
                lines = (folder / system / "history.csv").read_text(encoding="utf-8").splitlines()
                assert len(lines) == 1 + epochs
        assert (folder / "photos.png").stat().st_size > 10_000


class _Page(HTMLParser):
    """Links, pictures without a description, and tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.links, self.silent, self.open, self.ids = [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        self.ids |= {attributes[name] for name in ("id",) if name in attributes}
        if (tag == "img" and not attributes.get("alt")) or (tag == "svg" and not attributes.get("aria-label")):
            self.silent.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_gallery_opens_from_disk():
    """It asks no other host, what it links to is there, pictures are described, tags are closed."""
    found = _Page(gallery.page())
    assert not found.silent
    assert not found.open
    assert len(found.links) > len(results.PAPERS)
    for link in found.links:
        assert "://" not in link
        if link.startswith("#"):
            assert link[1:] in found.ids
        else:
            assert (results.ROOT / "results" / link).exists(), link


def test_curves_are_where_the_numbers_are():
    points = [(1, 4.0), (2, 2.0), (3, float("nan")), (5, 1.0)]
    svg = ElementTree.fromstring(gallery.chart("a <net>", [("train", "training", points), ("val", "v", [(1, 1.0)])]))
    line, dot = svg.find("polyline"), svg.find("circle")
    xy = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    assert len(xy) == 3  # what is not finite is left out
    assert xy[1][0] - xy[0][0] == pytest.approx((xy[2][0] - xy[0][0]) / 4, abs=0.2)
    assert xy[1][1] - xy[0][1] == pytest.approx((xy[2][1] - xy[0][1]) * 2 / 3, abs=0.2)
    assert float(dot.get("cy")) == xy[2][1]
    assert "4 to 1" in svg.get("aria-label")


def test_collect_takes_finished_runs_only(tmp_path):
    run = write_run(tmp_path / "run", {"cnn": ROW})
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"finished": None}))
    with pytest.raises(InputError, match=r"is not finished: run `make reproduce-polychromify RUN=\S+` again"):
        results.collect(run, tmp_path / "results")
    (run / "manifest.json").write_text(json.dumps(manifest | {"parameters": {"profile": "quick"}}))
    with pytest.raises(InputError, match=r"quick profile.*takes runs of PROFILE=paper"):
        results.collect(run, tmp_path / "results")
    (run / "manifest.json").write_text(json.dumps(manifest))
    target = results.collect(run, tmp_path / "results")
    assert places(target) == {"manifest.json", "metrics.json", "photos.png", "cnn/history.csv"}
    assert places(results.collect(run, tmp_path / "results")) == places(target)  # again: nothing is doubled


def test_every_system_is_shown_by_its_best_run(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    home = tmp_path / "results"
    gray = {"gray (ab = 0)": ROW}
    results.collect(write_run(tmp_path / "small", {"cnn": ROW, "polychromify": ROW} | gray, epochs=2))
    results.collect(write_run(tmp_path / "large", {"polychromify": ROW} | gray, epochs=9))
    assert (home / "polychromify" / "photos.png").read_bytes() == b"picture of large"
    assert (home / "polychromify" / "more" / "1" / "photos.png").read_bytes() == b"picture of small"
    shown = results.section("polychromify")
    rows = {row[0]: row for row in shown.tables[0].rows}
    assert [rows[name][1:3] for name in ("polychromify", "cnn")] == [["a", "9"], ["b", "2"]]
    assert rows["polychromify_ab"][1:3] == ["–", "–"]
    assert "not run" in rows["polychromify_ab"]
    assert [sentence[:6] for sentence in shown.sentences] == ["Run a:", "Run b:"]
    with pytest.raises(InputError, match="smaller budget"):
        results.collect(write_run(tmp_path / "smaller", {"cnn": ROW}, epochs=1))
    results.collect(write_run(tmp_path / "whole", {"cnn": ROW, "polychromify": ROW} | gray, epochs=1, label="paper"))
    assert not (home / "polychromify" / "more").exists()
    assert _Page(gallery.page()).silent == []


def test_numbers_outside_the_interval_ask_for_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    near = {"psnr_rgb": {"mean": 21.57, "low": 21.5, "high": 21.6}}
    results.collect(write_run(tmp_path / "run", {"cnn": near, "polychromify": ROW}))
    assert results.section("polychromify").differences == ["polychromify, PSNR: not explained yet."]
    (tmp_path / "results" / "explanations.toml").write_text('[polychromify]\npolychromify = "because | of this."\n')
    assert results.section("polychromify").differences == ["polychromify, PSNR: because | of this."]


def test_other_shapes_of_metrics(tmp_path, monkeypatch):
    """Names that are not in `epochs`, numbers without interval, seeds, claims; and papers without a run."""
    monkeypatch.setattr(results, "ROOT", tmp_path)
    spread = {"psnr_rgb": {"mean": 20.0, "low": 19.0, "high": 21.0, "spread": 0.4}, "ssim": 0.5}
    claims = {"64 is best": {"per_seed": [0.1, 0.2, 0.3], "verdict": "for"}}
    claims["on images"] = {"difference": -1.0, "low": -2.0, "high": -0.5, "verdict": "against"}
    claims["listed"] = [1.0, -1.0, 3.0, "undecided"]
    run = write_run(tmp_path / "run", {"rgb | wide": spread}, paper="unet", epochs={"other": 2}, claims=claims)
    metrics = json.loads((run / "metrics.json").read_text()) | {"minutes": {"other": 90.0}, "seeds": [0, 1, 2]}
    (run / "metrics.json").write_text(json.dumps(metrics))
    results.collect(run)
    shown = results.section("unet")
    assert shown.tables[0].rows == [["rgb | wide", "–", "–", "20.00 ± 0.40", "0.5000", "–", "–", "–"]]
    assert "1.5 hours of training, 3 seeds, mean ± standard deviation over them" in shown.sentences[0]
    assert shown.tables[1].rows[0][:2] == ["64 is best", "for"]
    assert "0.2 [" in shown.tables[1].rows[0][2]
    assert shown.tables[1].rows[1:] == [["on images", "against", "-1 [-2, -0.5]"], ["listed", "undecided", "1 [-1, 3]"]]
    assert "rgb \\| wide" in results.table()
    for paper in results.PAPERS:
        if paper != "unet":
            assert "not run" in results.section(paper).sentences[0]
            assert all("not run" in row for table in results.section(paper).tables for row in table.rows)


def test_many_networks_share_a_chart(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    results.collect(write_run(tmp_path / "run", {f"cnn{i}": ROW for i in range(20)}))
    page = gallery.page()
    assert page.count("<svg") == 1
    assert page.count('class="many"') == 20


def test_readme_without_a_place_is_an_error(tmp_path):
    (tmp_path / "README.md").write_text("no table here")
    with pytest.raises(InputError, match="has no place for the table"):
        results.write_readme(tmp_path / "README.md")


def test_the_command_collects_and_writes_both(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    run = write_run(tmp_path / "run", {"cnn": ROW})
    assert __main__.main(["results", str(run)]) == 0
    assert "collected" in capsys.readouterr().out
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith("before\n")
    assert readme.endswith("\nafter\n")
    assert "| cnn | 3 |" in readme
    assert "23.00 [22.90, 23.10]" in (tmp_path / "results" / "index.html").read_text()
    assert __main__.main(["results", str(tmp_path)]) == 2
