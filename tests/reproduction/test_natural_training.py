"""The training of the bundled colorizer: from the bundled photographs, in seconds."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from colorize_lib import __main__, files
from colorize_lib.apps import trained
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.reproduction import natural
from colorize_lib.training.data import RandomResizedCrop


@pytest.mark.soak
def test_the_command_trains_a_network_that_colorizes():
    settings = ["EPOCH_IMAGES=64", "VALIDATION_IMAGES=16", "STAGES=32x1,64x1", "WIDTH=0.1"]
    assert __main__.main(["reproduce", "natural", *settings]) == 0
    (folder,) = (files.run_root() / "natural").iterdir()
    manifest = files.read_json(folder / "manifest.json", "manifest")
    assert manifest["finished"]
    assert manifest["parameters"]["stages"] == "32x1,64x1"
    table = pd.read_csv(folder / "validation.csv")
    assert len(table) == 2 * (len(natural.GRID) + 11)
    chosen = files.read_json(folder / "metrics.json", "metrics")["range"]
    assert tuple(chosen["careful"]) in natural.GRID
    assert tuple(chosen["vivid"]) in natural.GRID
    assert 0 <= chosen["default"] <= 1
    assert table["hue_distance"].between(0, 200).all()
    colorizer = trained.load(str(folder / "natural"))
    assert chosen["size"] in (32, 64)
    assert colorizer.input_size == (chosen["size"], chosen["size"])
    log_weights = np.asarray(colorizer.network.get_layer("rebalancing").moving_mean)
    assert log_weights.min() < 0 < log_weights.max()
    assert colorizer.colorize(np.zeros((30, 40), "uint8")).shape == (30, 40, 3)


def splits():
    """Two splits of different sizes: the first all red, its row 0 gray; the second all blue."""
    red = np.tile(np.array([200, 0, 0], "uint8"), (6, 16, 16, 1))
    red[0] = 90
    blue = np.tile(np.array([0, 0, 200], "uint8"), (5, 40, 40, 1))
    return [natural.coloured(Split.from_arrays(images)) for images in (red, blue)]


def test_batches_are_half_of_each_split_and_the_same_after_a_resume():
    batches = natural.Mixture(splits(), 20, 8, 3, RandomResizedCrop(32))
    assert len(batches) == 2
    (images,) = batches[1]
    assert images.shape == (8, 32, 32, 3)
    assert images[:4, 0, 0, 0].tolist() == [200] * 4  # never the gray one
    assert images[4:, 0, 0, 2].tolist() == [200] * 4
    again = natural.Mixture(splits(), 20, 8, 3, RandomResizedCrop(32))
    np.testing.assert_array_equal(again[1][0], images)
    assert batches.split.fingerprint() == again.split.fingerprint()
    assert batches.split.fingerprint() != natural.Mixture(splits()[:1], 20, 8, 3, None).split.fingerprint()


def test_batches_differ_between_epochs():
    draws = []
    batches = natural.Mixture(splits()[:1], 20, 8, 3, lambda images, random: draws.append(random.random()) or images)
    for epoch in (0, 1, 0):
        batches.set_epoch(epoch)
        batches[0]
    assert draws[0] == draws[2] != draws[1]


def test_the_size_is_the_one_whose_nearest_decoding_is_nearest(monkeypatch):
    found = {32: [13.0, 12.4], 64: [12.9, 12.5]}

    def decodings(network, photographs):
        assert photographs == {"bundled": "photographs"}
        return pd.DataFrame({"delta_e2000": found[network]})

    monkeypatch.setattr(natural, "decodings", decodings)
    assert natural.chosen_size({32: 32, 64: 64}, "photographs") == 32


def test_the_range_is_chosen_by_its_rule(monkeypatch):
    numbers = {  # nearer than gray, chroma, distance, ΔE2000 less gray's
        (1.0, 0.2): (0.9, 0.2, 60, -1.0),
        (1.0, 0.6): (0.8, 0.4, 40, -0.5),
        (0.5, 0.4): (0.5, 1.0, 20, 3.0),
        (0.5, 0.6): (0.5, 0.9, 10, 2.0),
        (0.0, 0.2): (0.2, 1.5, 5, 6.0),
    }

    def decodings(network, photographs, grid):
        rows = []
        for pair in grid:
            near, chroma, distance, difference = numbers.get(
                tuple(pair), (0.6, 0.7, 10 + 20 * pair[0], 4 - 4 * pair[0])
            )
            rows.append(
                {
                    **dict(zip(("taken_back", "temperature"), pair, strict=True)),
                    **{"nearer_than_gray": near, "chroma_share": chroma, "hue_distance": distance},
                    **{"delta_e2000": 10 + difference, "gray_delta_e2000": 10.0},
                }
            )
        return pd.DataFrame(rows)

    monkeypatch.setattr(natural, "decodings", decodings)
    table, found = natural.chosen_range(None, {"photographs": None}, tuple(numbers))
    assert len(table) == len(numbers) + 11
    assert found["careful"] == [1.0, 0.6]
    assert found["vivid"] == [0.5, 0.4]
    # Between both, taken_back falls from 1 to 0.5, and ΔE2000 rises from gray's by 0.2 a tenth: 1.0 at the fifth.
    assert found["default"] == 0.5


def test_stages_are_checked():
    assert natural.stages("64x6, 96x1") == [(64, 6), (96, 1)]
    for wrong in ("64", "64x0", "80x1", "64x1,64x2", ""):
        with pytest.raises(InputError, match="STAGES"):
            natural.stages(wrong)


def test_test_photographs_are_coloured_and_of_unseen_classes(tmp_path):
    random = np.random.default_rng(0)
    for number in range(8):
        kind = "n1" if number < 4 else "n2"
        image = random.integers(0, 256, (50, 600 if number == 7 else 60, 3), dtype="uint8")
        if number == 4:
            image = image[..., 0]
        Image.fromarray(image).save(tmp_path / f"{kind}_{number}.png")
    found = natural.unseen(tmp_path, {"n1"}, count=3)
    assert set(found) == {"n2_5.png", "n2_6.png", "n2_7.png"}
    assert found["n2_7.png"].shape == (33, 400, 3)
    with pytest.raises(InputError, match="holds 3 coloured photographs"):
        natural.unseen(tmp_path, {"n1"}, count=4)
    with pytest.raises(InputError, match="There is no folder"):
        natural.unseen(tmp_path / "nowhere", {"n1"})
    (tmp_path / "n2_below").mkdir()
    assert set(natural.unseen(tmp_path, {"n1"}, count=3)) == set(found)
    (tmp_path / "n2_notes.txt").write_text("none of these is a photograph")
    with pytest.raises(InputError, match=r"Cannot read .*n2_notes\.txt: no image of a known format"):
        natural.unseen(tmp_path, {"n1"}, count=4)
