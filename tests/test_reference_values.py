"""The comparison of quick runs with their reference values: what it must notice, on a run that is made up."""

import copy
import json
import re
import tomllib

import numpy as np
import pytest
import reference_values
from PIL import Image

from colorize_lib import color, papers

SYSTEM = {"psnr_rgb": {"mean": 18.25, "low": 17.5, "high": 19.0}, "images": 384, "epoch": "5"}
RUN = {
    "metrics.json": {
        "format": 1,
        "label": "quick (budgeted)",
        "systems": {"mean colour": copy.deepcopy(SYSTEM), "cnn": copy.deepcopy(SYSTEM)},
        "minutes": {"cnn": 0.3},
        "best_epoch": {"cnn": 5},
        "claims": {"The network scores higher than gray": {"difference": 1.4}},
        "test_images": 384,
        "energy": [1.5, None],
    },
    "manifest.json": {
        "notebook": "polychromify",
        "datasets": {"photos": {"fingerprint": "cfc4ac9f", "counts": {"train": 3072}}},
        "networks": {"cnn": {"parameters": 6178, "first_loss": 0.439351}},
    },
    "cnn/training.json": {
        "training data": {"images": 1536, "fingerprint": "0ebb2b3e", "seed of the order": 0, "transform": None},
        "validation data": {"images": 384, "fingerprint": "c6d96129", "seed of the order": None},
        "optimizer": [{"class": "Adam", "learning_rate": 0.001}],
        "loss": "mse",
        "settings": {"convention": "polychromify"},
        "monitor": "val_loss",
    },
}
LIMITS = {r"first_loss": (0.0, 3e-4), r"^pictures/": (0.5, 0.0), r"psnr": (0.4, 0.0), r"": (0.0, 0.15)}
COLOUR = (55.0, 30.0, -10.0)


@pytest.fixture
def compared(tmp_path, monkeypatch):
    """Function of changes {path of names: value} → lines about what differs from the run without them."""
    monkeypatch.setattr(reference_values, "FOLDER", tmp_path / "reference")
    monkeypatch.setattr(reference_values, "TOLERANCES", LIMITS)

    def write(folder, changes, lab=COLOUR):
        run = copy.deepcopy(RUN)
        for (*path, last), value in changes.items():
            place = run
            for name in path:
                place = place[name]
            place[last] = value
        for name, content in run.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(json.dumps(content))
        (folder / "figures").mkdir()
        pixels = np.asarray(color.to_uint8(color.lab_to_rgb(np.full((16, 40, 3), lab, "float32"))))
        Image.fromarray(pixels).save(folder / "figures" / "side_by_side.jpg")
        return folder

    reference_values.write("toy", [write(tmp_path / "first", {})])

    def differences(changes, **options):
        return reference_values.differences("toy", write(tmp_path / "changed", changes, **options))

    return differences


def test_the_same_run_again_differs_in_nothing_and_times_do_not_count(compared):
    assert compared({("metrics.json", "minutes", "cnn"): 9.0, ("metrics.json", "best_epoch", "cnn"): 4}) == []


PSNR = ("psnr_rgb", "mean")


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("metrics.json", "systems", "mean colour", *PSNR), 18.2506, "systems/mean colour/psnr_rgb/mean"),
        (("metrics.json", "systems", "cnn", *PSNR), 19.2, "systems/cnn/psnr_rgb/mean"),
        (("metrics.json", "systems", "cnn", *PSNR), None, "systems/cnn/psnr_rgb/mean"),
        (("metrics.json", "systems", "cnn", "epoch"), "4", "systems/cnn/epoch"),
        (("metrics.json", "claims", "The network scores higher than gray", "difference"), -1.4, "claims/.*/difference"),
        (("metrics.json", "label"), "paper", "label"),
        (("metrics.json", "energy"), [1.5, None, 2.0], "energy/2: not expected"),
        (("metrics.json", "energy"), [1.5], "energy/1: missing"),
        (("manifest.json", "datasets", "photos", "fingerprint"), "cfc4ac90", "datasets/photos/fingerprint"),
        (("manifest.json", "networks", "cnn", "parameters"), 6177, "trained/cnn/parameters"),
        (("manifest.json", "networks", "cnn", "first_loss"), 0.4396, "trained/cnn/first_loss"),
        (("cnn/training.json", "validation data", "fingerprint"), "of the test", "trained/cnn/validation data/finger"),
        (("cnn/training.json", "training data", "seed of the order"), None, "trained/cnn/training data/seed of the"),
        (("cnn/training.json", "optimizer", 0, "learning_rate"), 0.0005, "trained/cnn/how"),
    ],
)
def test_what_is_wrong_is_named(compared, path, value, named):
    (line,) = compared({path: value})
    assert re.match(named, line)


def test_small_differences_of_what_is_trained_are_none(compared):
    changes = {
        ("metrics.json", "systems", "cnn", *PSNR): 18.6,
        ("metrics.json", "systems", "mean colour", *PSNR): 18.2504,
    }
    assert compared(changes | {("manifest.json", "networks", "cnn", "first_loss"): 0.43936}) == []


def test_a_and_b_swapped_in_a_picture_are_noticed(compared):
    lightness, a, b = COLOUR
    lines = compared({}, lab=(lightness, b, a))
    assert len(lines) == 8
    assert all(line.startswith("pictures/side_by_side/quarters/") for line in lines)


def test_every_paper_has_reference_values_with_baselines_and_first_losses_to_all_digits():
    for notebook in papers.NOTEBOOKS.values():
        path = reference_values.FOLDER / f"{notebook}.toml"
        expected = tomllib.loads(path.read_text(encoding="utf-8"))
        assert expected["label"] == "quick (budgeted)"
        assert notebook == "comparison" or len([name for name in expected if name.startswith("pictures/")]) >= 10
        held = {name: value for name, value in expected.items() if "/mean colour/psnr_rgb/mean" in name}
        assert len(held) == 2  # of the coloured images and of all
        assert all(limit <= 0.005 for _, limit in held.values())
        first = [value[1] / value[0] for name, value in expected.items() if name.endswith("first_loss")]
        if notebook == "comparison":  # its runs do not have them all
            continue
        assert sum(share < 3.1e-4 for share in first) >= 1  # where a training starts from another, they cannot be


def test_numbers_of_a_run_are_kept_as_numbers():
    """Tables are formatted where they are shown; what reads a run computes with its numbers."""
    for path in reference_values.FOLDER.glob("*.toml"):
        kept = tomllib.loads(path.read_text(encoding="utf-8"))
        assert not [name for name, value in kept.items() if re.fullmatch(r"-?[\d,]*\.\d+", str(value))]
