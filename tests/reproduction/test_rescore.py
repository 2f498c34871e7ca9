"""A run folder of which only the training is done, as an older version of the code left it, is scored without training."""

import csv
import json

import numpy as np
import pytest

from colorize_lib import files
from colorize_lib.apps.trained import build_trained
from colorize_lib.dataset import Dataset, Split
from colorize_lib.errors import InputError
from colorize_lib.evaluation import evaluate
from colorize_lib.reproduction import rescore, results
from colorize_lib.training.colorizer import Colorizer

OPTIONS = {"size": 16, "width": 0.1}
SYSTEMS = {"polychromify": None, "polychromify_a": [0], "polychromify_b": [1]}


@pytest.fixture(scope="module")
def dataset():
    images = np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3)).astype("uint8")
    parts = {"train": images[:10], "validation": images[10:20], "test": images[20:]}
    splits = {name: Split.from_arrays(part) for name, part in parts.items()}
    return Dataset(splits, [], {"name": "tiny-imagenet", "fingerprint": "0123456789abcdef"})


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "p25"
    for name, channels in SYSTEMS.items():
        place = folder / name
        place.mkdir(parents=True)
        description = {"model": name, "options": OPTIONS, "convention": "polychromify", "channels": channels}
        (place / "network.json").write_text(json.dumps(description))
        with open(place / "history.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["epoch", "loss", "psnr_ab", "val_loss", "val_psnr_ab", "seconds"])
            writer.writerows([[1, 0.2, 20, 0.1, 20.5, 30], [2, 0.1, 21, 0.3, 19.5, 30]])
        network = Colorizer.from_name(name, **OPTIONS).network
        for which, shift in (("best", 0.0), ("last", 0.5)):
            network.set_weights([weight + shift for weight in network.get_weights()])
            network.save_weights(place / f"{which}.weights.h5")
    manifest = {
        "format": 1,
        "notebook": "polychromify",
        "label": "paper",
        "parameters": {"profile": "paper", "dataset": "tiny-imagenet", "size": 16, "seed": 0},
        "command": "make reproduce-polychromify PROFILE=paper",
        "datasets": {"tiny-imagenet": {"name": "tiny-imagenet", "fingerprint": "0123456789abcdef"}},
        "versions": {},
        "hardware": {},
        "git_commit": "c6e806d",
        "started": "2026-11-27T23:02:52+00:00",
        "finished": None,
        "earlier": [],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(("keep", "epoch"), [("last", "2"), ("best", "1")])
def test_an_unscored_run_is_scored(run, dataset, keep, epoch):
    photos = Split.from_arrays(np.random.default_rng(1).integers(0, 256, (3, 40, 48, 3)).astype("uint8"))
    found, table = rescore.rescore(run, dataset, build_trained, photos=photos, keep=keep)
    assert set(found.tables) == {"gray (ab = 0)", "mean colour", "polychromify", "polychromify_ab"}
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["systems"]["polychromify"]["epoch"] == epoch
    assert metrics["keep"] == keep
    assert metrics["epochs"] == dict.fromkeys(SYSTEMS, 2)
    assert metrics["training_images"] == 10
    claim = "One network for each channel scores higher than one for both (Table 2)"
    assert metrics["claims"][claim]["verdict"] == "one run"  # equal epochs
    assert table.loc["polychromify", ("", "epoch")] == epoch
    figures = {"photos.jpg", "best_and_worst.jpg", "chroma.png", "fig4_code.png"}  # Fig. 5 needs the paper's test set
    assert {path.name for path in (run / "figures").iterdir()} == figures
    assert all(path.stat().st_size > 1000 for path in (run / "figures").iterdir())
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["finished"]
    assert manifest["scored"] == {"polychromify": {"keep": keep, "epoch": int(epoch), "epochs": 2}}
    assert manifest["git_commit"] == "c6e806d"  # of the training
    assert manifest["rescored"]["git_commit"] != "c6e806d"


def test_what_was_scored_is_summed_up_again_without_weights(run, dataset):
    rescore.rescore(run, dataset, build_trained)
    before = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").unlink()
    for path in run.glob("*/*.weights.h5"):
        path.unlink()
    rescore.rescore(run, dataset, build_trained)
    assert json.loads((run / "metrics.json").read_text()) == before


def test_weights_of_half_precision_are_scored_and_other_scores_stay(run, dataset):
    """What `results/` bundles: one epoch's weights, in float16."""
    before, _ = rescore.rescore(run, dataset, build_trained)
    for path in run.glob("*/best.weights.h5"):
        path.unlink()
    for path in run.glob("*/last.weights.h5"):
        large = path.stat().st_size
        rescore.halve_weights(path, path)
        assert path.stat().st_size < 0.8 * large
    after, _ = rescore.rescore(run, dataset, build_trained)
    error = np.abs(after.tables["polychromify"]["psnr_rgb"] - before.tables["polychromify"]["psnr_rgb"]).max()
    assert error < 0.05
    assert after.others["polychromify"].equals(before.others["polychromify"])


def test_other_data_are_refused(run, dataset):
    other = Dataset(dataset.splits, [], dataset.manifest | {"fingerprint": "fedcba9876543210"})
    with pytest.raises(InputError, match="trained on other data than the tiny-imagenet prepared here"):
        rescore.rescore(run, other, build_trained)


def test_a_run_without_weights_and_scores_says_how_to_make_them(run, dataset):
    for path in run.glob("*/*.weights.h5"):
        path.unlink()
    with pytest.raises(
        InputError, match=r"neither weights nor scores: run `make reproduce-polychromify PROFILE=paper`"
    ):
        rescore.rescore(run, dataset, build_trained)


def test_a_collected_run_is_scored_again_from_results(run, dataset, tmp_path):
    before, _ = rescore.rescore(run, dataset, build_trained)
    home = results.collect(run, tmp_path / "results")
    assert sorted(path.name for path in (home / "polychromify").iterdir()) == [
        "history.csv",
        "last.weights.h5",
        "network.json",
        "scores.csv.gz",
    ]
    for path in home.glob("*/scores.csv.gz"):
        path.unlink()
    after, _ = rescore.rescore(home, dataset, build_trained)
    assert set(after.tables) == set(before.tables)
    for name, table in before.tables.items():
        assert np.abs(after.tables[name]["psnr_rgb"] - table["psnr_rgb"]).max() < 0.05
    again = results.collect(run, tmp_path / "results")
    assert (again / "polychromify" / "last.weights.h5").exists()


def test_large_weights_are_named_in_the_manifest(run, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(rescore, "LARGEST", 1000)
    rescore.rescore(run, dataset, build_trained)
    home = results.collect(run, tmp_path / "results")
    assert not list(home.glob("*/*.weights.h5"))
    named = json.loads((home / "manifest.json").read_text())["weights"]
    path = run / "polychromify" / "last.weights.h5"
    assert named["polychromify"] == {"file": "polychromify/last.weights.h5", "sha256": files.sha256(path)}
    assert set(named) == set(SYSTEMS)


def test_baselines_are_of_the_training_images_and_scores_of_the_test_images(run, dataset):
    """And the joined system has its halves in the order of a and b."""
    colour = (0.3, -0.2)
    for name, bias in zip(("polychromify_a", "polychromify_b"), colour, strict=True):
        network = build_trained(run / name).network
        network.set_weights([np.zeros_like(weight) for weight in network.get_weights()])
        network.layers[-1].bias.assign([bias])
        network.save_weights(run / name / "last.weights.h5")
    found, _ = rescore.rescore(run, dataset, build_trained)
    by_training, by_test = (
        evaluate.score(evaluate.ConstantColor(evaluate.mean_ab(dataset[part])), dataset["test"])["mae_ab"]
        for part in ("train", "test")
    )
    assert np.allclose(found.tables["mean colour"]["mae_ab"], by_training, rtol=1e-4)
    assert not np.allclose(by_test, by_training, rtol=1e-4)
    joined = evaluate.score(evaluate.ConstantColor(128 * np.tanh(colour)), dataset["test"])
    assert np.allclose(found.tables["polychromify_ab"]["mae_ab"], joined["mae_ab"], rtol=1e-3)
