import json

import pytest
from PIL import Image

from colorize_lib.evaluation import recorded, scores
from colorize_lib.evaluation.plots import Pictures
from tests.evaluation.test_scores import table, write_history


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "polychromify"
    write_history(place, "cnn", [0.5, 0.1, 0.9])
    manifest = {
        "notebook": "polychromify",
        "git_commit": "0123456789",
        "hardware": {"processor": "a processor"},
        "datasets": {"tiny-imagenet": {"name": "tiny-imagenet"}},
    }
    metrics = {
        "label": "budgeted",
        "training_images": 100_000,
        "test_images": 20,
        "epochs": {"cnn": 3},
        "systems": {"cnn": {"psnr_rgb": {"mean": 24.5}}},
    }
    (place / "manifest.json").write_text(json.dumps(manifest))
    (place / "metrics.json").write_text(json.dumps(metrics))
    return place


def test_an_older_run_says_that_its_means_are_over_all_images(folder):
    found = recorded.find("polychromify", folder.parent)
    assert "100,000 training and 20 test images, a processor, commit 0123456)" in found.sentence()
    assert found.table(["psnr_rgb"]).columns.tolist() == [("", "epochs trained"), ("PSNR, dB ↑", "all images")]
    found.metrics["psnr_rgb_of_coloured_images"] = {"cnn": 23.0}
    assert found.table(["psnr_rgb"]).loc["cnn"].tolist() == ["3", "23.00", "24.50"]
    assert found.claims() is None
    assert [row["epoch"] for row in found.histories["cnn"]] == [1, 2, 3]


def test_a_run_with_scores_shows_coloured_images(folder):
    scores.write(folder, "cnn", {"last": ("3", table(20))})
    found = recorded.find("polychromify", folder.parent)
    assert found.table(["psnr_rgb"]).loc["cnn"].tolist() == ["3", "20.00", "20.00", "27.97"]
    assert {said.verdict for said in found.claims()} == {"not run"}


def test_without_the_repository_there_is_no_recorded_run(tmp_path):
    assert recorded.find("polychromify", tmp_path) is None


@pytest.mark.parametrize("paper", ["autoencoders", "polychromify", "unet", "resnet-mrf", "vacgan"])
def test_the_recorded_runs_of_the_repository_are_read(paper):
    found = recorded.find(paper)
    assert found.paper == paper
    assert len(found.table())
    assert found.histories
    assert found.pictures().image.width > 300


@pytest.mark.parametrize(("only", "drawn"), [("", 2), ("_slow$", 1)])
def test_a_recorded_run_is_shown_with_the_curves_that_are_asked_for(folder, monkeypatch, capsys, only, drawn):
    other = folder / "cnn_slow"
    other.mkdir()
    (folder / "cnn").mkdir(exist_ok=True)
    for place in (folder / "cnn", other):
        (place / "history.csv").write_text("epoch,loss,val_loss,seconds\n1,0.5,0.6,2\n2,0.4,0.5,2\n")
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setattr(recorded, "find", lambda paper: recorded.Recorded(folder))
    recorded.show("polychromify", "loss", only=only)
    assert "scored" in capsys.readouterr().out
    figures = [item for item in shown if hasattr(item, "axes") and hasattr(item, "savefig")]
    assert [len(figure.axes[0].lines) for figure in figures] == [2 * drawn]  # training and validation
    assert not [item for item in shown if item is None or isinstance(item, Pictures)]
    (folder / "figures").mkdir()
    Image.new("RGB", (30, 20)).save(folder / "figures" / "photos.jpg")
    recorded.show("polychromify", "loss", only="none of these")
    assert [item.image.size for item in shown if isinstance(item, Pictures)] == [(30, 20)]


@pytest.mark.parametrize(("systems", "figures"), [(12, 1), (13, 0)])
def test_a_picture_has_up_to_twelve_curves(folder, monkeypatch, systems, figures):
    for number in range(1, systems):
        write_history(folder, f"cnn{number}", [0.5, 0.1])
    shown, drawn = [], []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setattr(recorded, "find", lambda paper: recorded.Recorded(folder))
    monkeypatch.setattr(recorded, "learning_curves", lambda histories, *labels: drawn.append(len(histories)))
    recorded.show("polychromify")
    assert drawn == [systems] * figures
