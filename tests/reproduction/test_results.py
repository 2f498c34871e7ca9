import base64
import io
import json
import re
import shlex
import types
from html.parser import HTMLParser
from xml.etree import ElementTree

import nbformat
import numpy as np
import pytest
from PIL import Image

from colorize_lib import __main__, papers
from colorize_lib.errors import InputError
from colorize_lib.evaluation import plots
from colorize_lib.reproduction import gallery, parameters, rescore, results, standalone

ROW = {"psnr_rgb": {"mean": 23.0, "low": 22.9, "high": 23.1}, "images": 100}


def write_run(folder, systems, *, epochs=3, images=1000, label="budgeted", paper="polychromify", colour="red", **more):
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
    Image.new("RGB", (40, 30), colour).save(folder / "figures" / "photos.png")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def places(target):
    return {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}


def colour_of(picture):
    """The name of the one colour of a picture that `write_run` made."""
    red, green, blue = Image.open(picture).convert("RGB").getpixel((20, 15))
    return "red" if red > 200 else "blue" if blue > 200 else "lime" if green > 200 else "?"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A project without results, whose README has a place for the table of papers."""
    monkeypatch.setattr(results, "ROOT", tmp_path)
    (tmp_path / "README.md").write_text(f"before\n{gallery.BEGIN}\nold\n{gallery.END}\nafter\n")
    (tmp_path / "results").mkdir()
    return tmp_path


def test_the_committed_documents_are_what_the_generator_makes():
    root = results.ROOT / "results"
    assert all((root / paper / "strip.jpg").exists() for paper in papers.KEYS), "run `make results`"
    assert (root / "README.md").read_text(encoding="utf-8") == gallery.readme(), "run `make results`"
    assert (root / "index.html").read_text(encoding="utf-8") == gallery.page(), "run `make results`"
    assert gallery.papers_table() in (results.ROOT / "README.md").read_text(encoding="utf-8"), "run `make results`"
    for paper in papers.KEYS:
        for run in results.collected(paper):
            path = run.folder / "curves.svg"
            assert (path.read_text(encoding="utf-8") if path.exists() else None) == gallery.run_curves(run), (
                "run `make results`"
            )
    numbers = json.loads((root / "natural" / "metrics.json").read_text())["test"]
    assert (root / "natural" / "hues.svg").read_text(encoding="utf-8") == gallery.hue_shares(numbers), (
        "run `make results`"
    )


@pytest.mark.parametrize("paper", papers.KEYS)
def test_the_figures_that_are_shown_are_the_notebooks(paper):
    text = (results.ROOT / "notebooks" / f"{papers.published(paper, 'notebook')}.ipynb").read_text(encoding="utf-8")
    made = set(re.findall(r'\\"(\w+)\\"', text))
    assert set(results.figures(paper)) <= made


def test_readme_is_short():
    assert (results.ROOT / "README.md").stat().st_size <= 9_000


def test_links_lead_somewhere():
    """In all documents: to files that are there, and to headings that are there."""
    for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG", *(f"{f}/README" for f in FOLDERS)):
        path = results.ROOT / f"{name}.md"
        text = path.read_text(encoding="utf-8")
        headings = {
            re.sub("[^a-z0-9-]+", "-", line.lstrip("# ").lower()) for line in text.splitlines() if line[:1] == "#"
        }
        found = re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text)
        for link in found:
            if link.startswith("#"):
                assert link[1:] in headings, link
            elif "://" not in link:
                assert (path.parent / link).exists(), f"{name}: {link}"


FOLDERS = ("notebooks", "data_prep", "benchmarks", "results")


def test_every_result_has_its_manifest_and_history():
    folders = [path.parent for path in (results.ROOT / "results").rglob("metrics.json")]
    assert folders
    for folder in folders:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        assert manifest["finished"]
        assert re.fullmatch("[0-9a-f]{40}[+]?", manifest["git_commit"])
        if manifest["notebook"] in papers.published():
            assert any(name.startswith("gray") for name in metrics["systems"]), "every table has the constant baselines"
        assert list(folder.glob("*/history.csv"))
        for system, epochs in metrics.get("epochs", {}).items():
            # The comparison decodes one network in two ways.
            decoded = system.removesuffix("_time") in ("colornet_annealed_mean", "colornet_random_field")
            if (folder / system).exists() and not decoded:
                lines = (folder / system / "history.csv").read_text(encoding="utf-8").splitlines()
                assert len(lines) == 1 + epochs
        for name in ("side_by_side", "hues") if manifest["notebook"] == "comparison" else ("photos",):
            assert (folder / "figures" / f"{name}.jpg").stat().st_size > 10_000
        for path in (path for path in folder.rglob("*") if path.is_file()):
            assert path.stat().st_size <= (rescore.LARGEST if path.name.endswith(".weights.h5") else results.LARGEST)


class _Page(HTMLParser):
    """Links, pictures without a description, and tags that are not closed."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.silent, self.open, self.ids = [], [], [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.links += [attributes["href"]] if "href" in attributes else []
        self.loaded += [attributes["src"]] if "src" in attributes else []
        self.ids |= {attributes[name] for name in ("id",) if name in attributes}
        if (tag == "img" and not attributes.get("alt")) or (tag == "svg" and not attributes.get("aria-label")):
            self.silent.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_gallery_opens_from_disk():
    """It loads nothing from another host, what it links to is there, pictures are described, tags are closed."""
    text = gallery.page()
    found = _Page(text)
    assert not found.silent
    assert not found.open
    assert not re.search(r"<script|url\(|@import", text)
    for link in (link for link in found.links if "://" not in link):
        assert link[1:] in found.ids if link.startswith("#") else (results.ROOT / "results" / link).exists(), link
    for picture in found.loaded:
        assert (results.ROOT / "results" / picture).exists(), picture


def test_the_first_table_has_a_row_for_every_paper():
    rows = [line for line in gallery.readme().splitlines() if line.startswith("| [")][: len(papers.KEYS)]
    for paper, row in zip(papers.KEYS, rows, strict=True):
        assert row.startswith(f'| [{paper}](#{paper})<br><img src="{paper}/strip.jpg" ')
        assert f" | {papers.published(paper, 'claim')} |" in row
    assert "| PSNR 21.96 dB | 23.78 [23.68, 23.87] | 25 of 25 epochs on Tiny ImageNet |" in rows[1]


def drawn(svg):
    """[(points, style)] of the curves and bars of an SVG document."""
    found = re.findall(r'<path d="([^"]+)" clip-path="[^"]+" style="([^"]+)"', svg)
    return [([tuple(map(float, xy)) for xy in re.findall(r"[ML] (\S+) (\S+)", path)], style) for path, style in found]


def test_curves_are_where_the_numbers_are():
    rows = [{"epoch": e, "loss": v, "val_loss": 2.5} for e, v in ((1, 4.0), (2, 2.0), (3, 1.0), (5, float("nan")))]
    svg = gallery.curves({"a <net>": rows, "b": [{"epoch": 1, "loss": 1.0}]})
    texts = {element.text for element in ElementTree.fromstring(svg).iter() if element.text}
    (training, _), (validation, style) = drawn(svg)[:2]
    assert len(training) == 3  # what is not finite is left out
    assert training[1][0] - training[0][0] == pytest.approx((training[2][0] - training[0][0]) / 2, abs=0.01)
    assert training[1][1] - training[0][1] == pytest.approx((training[2][1] - training[0][1]) * 2 / 3, abs=0.01)
    assert len({y for _, y in validation}) == 1
    assert "dasharray" in style
    assert {"a <net>", "b", "epoch", "loss"} <= texts
    assert gallery.curves({"none": [{"epoch": 1, "accuracy": 1.0}]}) is None


def test_bars_of_hues_are_as_long_as_their_shares():
    way = {"yellow_brown": 0.5, "green": 0.25, "blue": 0.1, "red": 0.05}
    truth = {f"true_{hue}": share / 2 for hue, share in way.items()}
    svg = gallery.hue_shares({"default": way | truth, "vivid": way})
    bars = [(points[0][0], points[1][0]) for points, style in drawn(svg) if "fill: #" in style]
    width = [right - left for left, right in bars]
    true, default, vivid = (bars[number::3] for number in range(3))  # hue after hue
    assert default == vivid
    assert len(true) == 4
    assert width[0] == pytest.approx(width[1] / 2, abs=0.01)
    assert width[1] == pytest.approx(2 * width[4], abs=0.01)
    assert default[1][0] == pytest.approx(default[0][1], abs=0.01)  # one begins where the other ends


@pytest.mark.parametrize("across", [True, False])
def test_a_strip_shows_the_last_photograph_by_some_systems(across):
    tile = np.zeros((60, 60, 3), np.uint8)
    systems = {name: [tile + 30, tile + shade] for name, shade in (("gray", 60), ("a system", 120), ("truth", 200))}
    grid = plots.image_grid(systems, across=across).image
    found = gallery.strip(grid, [0, -1], side=20)
    assert found.size == (44, 20)
    assert [found.getpixel((x, 10))[0] for x in (10, 22, 34)] == [60, 255, 200]
    assert gallery.strip(grid, [0, 1, 2, -1]) is None


def test_narrow_pictures_stand_next_to_each_other(elsewhere):
    run = write_run(elsewhere / "run", {"polychromify": ROW})
    for name, width in (("fig5_side_by_side", 490), ("best_and_worst", 900), ("fig4_code", 480)):
        Image.new("RGB", (width, 50)).save(run / "figures" / f"{name}.png")
    results.collect(run)
    (collected,) = results.collected("polychromify")
    names = [[name for name, _ in group] for group in gallery.pictures(collected)]
    assert names == [["photos", "fig5_side_by_side"], ["best_and_worst"], ["fig4_code"]]
    assert gallery.missing(collected) == [results.figures("polychromify")["chroma"]]
    assert gallery.run_curves(collected) is None  # its Fig. 4 shows them
    assert "This run kept no other figures. Its command also draws *Mean chroma" in gallery.readme()


def test_many_networks_share_a_panel_and_are_coloured_by_what_they_have_in_common():
    rows = [{"epoch": e, "loss": 1 / e, "val_loss": 2 / e} for e in (1, 2)]
    names = [f"net_lr{rate}_seed{seed}" for rate in ("0.1", "0.01") for seed in range(6)]
    text = gallery.curves(dict.fromkeys(names, rows), {"pattern": "_lr([0-9.]+)_", "name": "rate"})
    colours = [re.search(r"stroke: (#\w+)", style)[1] for _, style in drawn(text) if "stroke-width: 0.8" in style]
    assert len(colours) == 12
    assert len(set(colours[:6])) == len(set(colours[6:])) == 1
    assert len(set(colours)) == 2
    assert "rate 0.01" in text


def test_collect_takes_finished_runs_only(tmp_path):
    run = write_run(tmp_path / "run", {"cnn": ROW})
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"finished": None}))
    with pytest.raises(InputError, match=r"is not finished: run `make reproduce-polychromify RUN=\S+` again"):
        results.collect(run, tmp_path / "results")
    (run / "manifest.json").write_text(json.dumps(manifest | {"parameters": {"profile": "quick"}}))
    with pytest.raises(InputError, match=r"quick profile.*takes runs of PROFILE=paper"):
        results.collect(run, tmp_path / "results")
    (run / "manifest.json").write_text(json.dumps(manifest | {"notebook": "letter"}))
    with pytest.raises(InputError, match="is of 'letter', which is not a notebook here"):
        results.collect(run, tmp_path / "results")
    (run / "manifest.json").write_text(json.dumps(manifest))
    target = results.collect(run, tmp_path / "results")
    assert places(target) == {"manifest.json", "metrics.json", "figures/photos.jpg", "cnn/history.csv"}
    assert places(results.collect(run, tmp_path / "results")) == places(target)  # again: nothing is doubled


def test_an_executed_notebook_becomes_a_page_that_asks_no_other_host(tmp_path, capsys):
    run = write_run(tmp_path / "run", {"cnn": ROW})
    data = io.BytesIO()
    Image.effect_noise((300, 200), 90).save(data, "PNG")
    output = nbformat.v4.new_output("display_data", {"image/png": base64.b64encode(data.getvalue()).decode()})
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("1 + 1", outputs=[output])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), run / "notebook.ipynb")
    standalone.write_notebook(run / "notebook.ipynb", run / "notebook.html")
    text = (results.collect(run, tmp_path / "results") / "notebook.html").read_text()
    assert "data:image/jpeg;base64," in text
    assert "image/png" not in text
    assert not re.search(r'(src|href)="https?://|<script|@import', text)
    (run / "notebook.html").write_text("x" * (results.LARGEST + 1))
    assert not (results.collect(run, tmp_path / "results") / "notebook.html").exists()
    assert "notebook.html is larger than 1.5 MB" in capsys.readouterr().out


@pytest.mark.parametrize("paper", papers.KEYS)
def test_the_executed_notebook_opens_from_disk(paper):
    source = results.ROOT / "notebooks" / f"{papers.published(paper, 'notebook')}.ipynb"
    page = results.ROOT / "results" / paper / "quick.html"
    assert standalone.is_of(source, page), "run `make results`"
    assert page.stat().st_size <= results.LARGEST
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'src="(?!data:)|<link|<script|@import|url\(', text)
    title = nbformat.read(source, as_version=4).cells[0].source.splitlines()[0].removeprefix("# ")
    assert f"<title>{title}</title>" in text


def test_a_page_is_of_a_notebook_until_that_changes(tmp_path):
    source, page = tmp_path / "a.ipynb", tmp_path / "a.html"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One & two")]), source)
    assert not standalone.is_of(source, page)
    standalone.write_notebook(source, page)
    assert "<title>One &amp; two</title>" in page.read_text()
    assert standalone.is_of(source, page)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Three")]), source)
    assert not standalone.is_of(source, page)


def test_every_system_is_shown_by_its_best_run(elsewhere):
    home = elsewhere / "results"
    gray = {"gray (ab = 0)": ROW}
    results.collect(write_run(elsewhere / "small", {"cnn": ROW, "polychromify": ROW} | gray, epochs=2, colour="blue"))
    results.collect(write_run(elsewhere / "large", {"polychromify": ROW} | gray, epochs=9, colour="lime"))
    assert colour_of(home / "polychromify" / "figures" / "photos.jpg") == "lime"
    assert colour_of(home / "polychromify" / "more" / "1" / "figures" / "photos.jpg") == "blue"
    shown = results.section("polychromify")
    rows = {row[0]: row for row in shown.tables[0].rows}
    assert [rows[f"`{name}`"][1:3] for name in ("polychromify", "cnn")] == [["a", "9 of 25"], ["b", "2 of 25"]]
    assert rows["`polychromify_ab`"][1:3] == ["–", "not run"]
    assert shown.tables[0].rows[-1][0] == "gray (ab = 0)"
    assert [sentence.split("**")[1] for sentence in shown.sentences] == ["Run a.", "Run b.", "Runs a and b."]
    text = gallery.readme()
    assert "### Pictures and curves of run a" in text
    assert "<details><summary>Pictures and curves of run b</summary>" in text
    with pytest.raises(InputError, match="smaller budget"):
        results.collect(write_run(elsewhere / "smaller", {"cnn": ROW}, epochs=1))
    whole = {"cnn": ROW, "polychromify": ROW} | gray
    results.collect(write_run(elsewhere / "whole", whole, epochs=1, label="paper"))
    assert not (home / "polychromify" / "more").exists()
    gallery.write()
    assert _Page(gallery.page()).silent == []


def test_missing_runs_have_commands_that_exist():
    for row in results.explained()["missing"]:
        make, target, *assignments = shlex.split(row["command"])
        assert make == "make"
        assert target.removeprefix("reproduce-") in papers.NOTEBOOKS
        assert parameters.parse(assignments).keys() <= {name.upper() for name in parameters.KNOWN}
        assert row["what"] in gallery.readme()


def test_numbers_outside_the_interval_ask_for_a_reason(elsewhere):
    near = {"psnr_rgb": {"mean": 21.57, "low": 21.5, "high": 21.6}}
    results.collect(write_run(elsewhere / "run", {"cnn": near, "polychromify": ROW}))
    assert results.section("polychromify").differences == ["`polychromify`, PSNR: not explained yet."]
    words = '[polychromify]\nrun = "{}"\ndiffers.polychromify = "because | of this"\nverdict = "differs, alas"\n'
    explanations = elsewhere / "results" / "explanations.toml"
    explanations.write_text(words.format("2026-01-01"))
    assert results.section("polychromify").differences == ["`polychromify`, PSNR: because | of this."]
    assert results.section("polychromify").headline["verdict"] == "differs, alas"
    explanations.write_text(words.format("2025-12-31"))  # words on another run
    assert results.section("polychromify").differences == ["`polychromify`, PSNR: not explained yet."]
    assert results.section("polychromify").headline["verdict"] == "not testable at this budget"


def test_the_verdict_of_a_number_within_the_interval(elsewhere):
    inside = {"psnr_rgb": {"mean": 21.9, "low": 21.8, "high": 22.0}}
    results.collect(write_run(elsewhere / "run", {"polychromify": inside}, label="paper", epochs=25))
    line = results.section("polychromify").headline
    assert line["verdict"] == "reproduced within the interval"
    assert line["budget"] == "25 of 25 epochs on Tiny ImageNet"


def test_the_best_trained_system_is_bold_and_constants_never_are(elsewhere):
    systems = {"cnn": 22.0, "polychromify": 23.0, "gray (ab = 0)": 25.0}
    systems = {
        name: {"psnr_rgb": {"mean": value, "low": value - 1, "high": value + 1}} for name, value in systems.items()
    }
    results.collect(write_run(elsewhere / "run", systems))
    table = results.section("polychromify").tables[0]
    rows = {row[0]: " ".join(row) for row in table.rows}
    assert "**23.00**" in rows["`polychromify`"]
    assert "**" not in rows["`cnn`"] + rows["gray (ab = 0)"]
    assert ["`polychromify`", "2", "22.00–24.00"] in table.details.rows


def test_the_main_column_is_about_coloured_images(elsewhere):
    """Runs with scores by image have the papers' average, the coloured images, and their median."""
    summary = {"psnr_rgb": {"mean": 21.0, "low": 20.9, "high": 21.1, "median": 20.5}, "epoch": "25", "images": 98}
    every = {"psnr_rgb": {"mean": 22.0, "low": 21.9, "high": 22.1, "median": 20.7}}
    best = {"psnr_rgb": {"mean": 22.5, "low": 22.4, "high": 22.6}}
    more = {"all_images": {"polychromify": every}, "other_epoch": {"all_images": {"polychromify": best}}}
    more |= {"keep": "last", "minutes": {"polychromify": 42.0}}
    results.collect(write_run(elsewhere / "run", {"polychromify": summary}, epochs=25, **more))
    table = results.section("polychromify").tables[0]
    row = dict(zip(table.header, next(row for row in table.rows if row[0] == "`polychromify`"), strict=True))
    assert [row["PSNR: here"], row["PSNR: coloured"]] == ["22.00", "21.00"]
    details = dict(zip(table.details.header, table.details.rows[0], strict=True))
    assert details == {
        "system": "`polychromify`",
        "epoch scored": "25",
        "PSNR: here, 95 %": "21.90–22.10",
        "PSNR: best epoch": "22.50",
        "PSNR: coloured, 95 %": "20.90–21.10",
        "median PSNR": "20.50",
        "minutes of training": "42",
    }
    assert results.section("polychromify").headline["here"] == "22.00 [21.90, 22.10]"  # as the paper averages
    assert "The last epoch is scored." in results.section("polychromify").sentences[0]


def test_a_run_that_predates_a_fix_says_so(elsewhere):
    run = write_run(elsewhere / "run", {"cnn": ROW})
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(manifest | {"predates": ["this fix", "that one"]}))
    results.collect(run)
    sentence = results.section("polychromify").sentences[1]
    assert "This run did not keep the scores of each image: numbers are averages over all images" in sentence
    assert "Recorded before this fix and that one: repeating it would give different numbers." in sentence


def test_other_shapes_of_metrics(elsewhere):
    """Names that are not in `epochs`, numbers without interval, seeds, claims; and papers without a run."""
    spread = {"psnr_rgb": {"mean": 20.0, "low": 19.0, "high": 21.0, "spread": 0.4}, "ssim": 0.5}
    claims = {"64 is best": {"per_seed": [0.1, 0.2, 0.3], "verdict": "for"}}
    claims["on images"] = {"difference": -1.0, "low": -2.0, "high": -0.5, "verdict": "against"}
    claims["listed"] = [1.0, -1.0, 3.0, "undecided"]
    claims["not run"] = {"verdict": "not run"}
    run = write_run(elsewhere / "run", {"rgb | wide": spread}, paper="unet", epochs={"other": 2}, claims=claims)
    metrics = json.loads((run / "metrics.json").read_text()) | {"minutes": {"other": 90.0}, "seeds": [0, 1, 2]}
    (run / "metrics.json").write_text(json.dumps(metrics))
    results.collect(run)
    shown = results.section("unet")
    assert shown.tables[0].header == ["system", "PSNR, dB ↑", "SSIM ↑"]
    assert shown.tables[0].rows == [["rgb | wide", "20.00 ± 0.40", "0.500"]]
    assert "Training took 1.5 hours (Abacus, 2 cores, 3 seeds); numbers are the mean ± standard" in shown.sentences[0]
    tested, others = shown.claims
    assert tested.rows[0][:2] == ["64 is best", "for"]
    assert "0.20 [" in tested.rows[0][2]
    assert others.folded
    assert others.rows == [["not run"]]
    assert tested.rows[1:] == [
        ["on images", "one run: against", "-1.00 [-2.00, -0.50]"],
        ["listed", "one run: undecided", "1.0 [-1.0, 3.0]"],
    ]
    assert "rgb \\| wide" in gallery.readme()
    for paper in papers.KEYS:
        if paper != "unet":
            assert "Not run" in results.section(paper).sentences[0]
            assert results.section(paper).headline["verdict"] == "not run"
            assert all("not run" in row for table in results.section(paper).tables for row in table.rows)


def test_a_run_has_not_tested_the_claims_that_are_newer_than_it(elsewhere):
    first, second, *others = [row["sentence"] for row in papers.published("polychromify", "claims")]
    claims = {"as it was called": {"verdict": "for", "difference": 1.0}, second: {"verdict": "not run"}}
    run = write_run(elsewhere / "run", {"cnn": ROW}, claims=claims, keep="last", all_images={})
    results.collect(run)
    words = f'[polychromify]\nrun = "2026-01-01"\nclaims."as it was called" = [{json.dumps(first)}]\n'
    (elsewhere / "results" / "explanations.toml").write_text(words, encoding="utf-8")
    tested, untested = results.section("polychromify").claims
    assert tested.rows == [[first, "for", "1"]]
    assert untested.rows == [[second], *([sentence] for sentence in others)]
    metrics = json.loads((elsewhere / "results" / "polychromify" / "metrics.json").read_text())
    del metrics["all_images"]  # an older run stays as it is
    (elsewhere / "results" / "polychromify" / "metrics.json").write_text(json.dumps(metrics))
    assert results.section("polychromify").claims[1].rows == [[second]]


def test_the_command_of_a_run_that_is_older_than_keep_scores_the_same_epoch(elsewhere):
    results.collect(write_run(elsewhere / "run", {"cnn": ROW}))
    assert "`make reproduce-polychromify KEEP=best`" in gallery.readme()
    results.collect(write_run(elsewhere / "newer", {"cnn": ROW}, keep="last"))
    assert "`make reproduce-polychromify`" in gallery.readme()


def test_readme_without_a_place_is_an_error(elsewhere):
    (elsewhere / "README.md").write_text("no table here")
    with pytest.raises(InputError, match="has no place for the table"):
        gallery.write()


def test_the_command_collects_and_writes_all(elsewhere, capsys):
    run = write_run(elsewhere / "run", {"cnn": ROW})
    assert __main__.main(["results", str(run)]) == 0
    assert "collected" in capsys.readouterr().out
    readme = (elsewhere / "README.md").read_text()
    assert readme.startswith("before\n")
    assert readme.endswith("\nafter\n")
    assert "old" not in readme
    assert "| `cnn` | 3 of 25 |" in (elsewhere / "results" / "README.md").read_text()
    assert "22.90–23.10" in (elsewhere / "results" / "index.html").read_text()
    assert __main__.main(["results", str(elsewhere)]) == 2


def test_the_comparison_is_shown_and_is_no_paper(elsewhere):
    before = gallery.readme()
    assert "## comparison" not in before
    row = {"delta_e2000": {"mean": 12.0, "low": 11.0, "high": 13.0}, "hue_distance": {"mean": 41.6}}
    systems = {"gan": row, "gan_time": row | {"hue_distance": {"mean": 30.2}}, "gray (ab = 0)": row}
    minutes = {"gan": 8.0, "gan_time": 4.0}  # of which the shorter training is the beginning of the longer one
    run = write_run(elsewhere / "run", systems, paper="comparison", minutes=minutes, training_minutes=8.0)
    Image.new("RGB", (40, 30)).save(run / "figures" / "hues.png")
    results.collect(run)
    text = gallery.readme()
    section = text.partition("## comparison")[2].partition("\n## ")[0]
    equal_images, equal_time = results.section("comparison").tables
    assert [row[0] for row in equal_images.rows] == [row[0] for row in equal_time.rows] == ["`gan`", "gray (ab = 0)"]
    column = equal_time.header.index("hue distance ↓")
    assert [equal_images.rows[0][column], equal_time.rows[0][column]] == ["42", "30"]
    assert "Training took 8 minutes (" in section
    assert "comparison/figures/hues.jpg" in section
    assert "Verdict" not in section
    assert "[comparison]" not in gallery.papers_table()
    headings = [re.findall("^## .*", document, flags=re.M) for document in (text, before)]
    assert headings[0] == [*headings[1][:5], "## comparison", *headings[1][5:]]


def test_runs_that_know_only_averages_over_all_images_are_compared_by_these():
    def run(of_all, coloured):
        return types.SimpleNamespace(all_images=lambda *_: of_all, coloured=lambda *_: coloured)

    runs = [run(22.0, None), run(21.0, {"mean": 20.5, "low": 20.0, "high": 21.0, "median": 20.4})]
    shown, details = results._columns("psnr_rgb", ["cnn", "unet"], runs, {}, first=False)
    assert shown == [("PSNR, dB ↑: all images", ["**22.00**", "21.00"]), ("PSNR: coloured", ["–", "20.50"])]
    assert [heading for heading, _ in details] == ["PSNR: all images, 95 %", "PSNR: coloured, 95 %", "median PSNR"]
    (heading, cells), *rest = results._columns("psnr_rgb", ["cnn", "unet"], runs[1:] * 2, {}, first=False)[0]
    assert (heading, cells[0].strip("*"), rest) == ("PSNR, dB ↑", "20.50", [])
