"""Pictures show what was predicted: each colour in its place, under its own title."""

import numpy as np
import pytest

from colorize_lib import color
from colorize_lib.dataset import Split
from colorize_lib.evaluation import evaluate, plots, report

RED, BLUE = (60.0, 30.0), (10.0, -50.0)  # a and b, which no exchange of the two leaves as they are


class Tinted(evaluate.ConstantColor):
    """Predicts one colour, also of photographs of any size."""

    def colorize(self, photo):
        return np.asarray(color.to_uint8(self.predict_color(photo[None])[1]))[0]


@pytest.fixture
def split():
    """Even images of rising lightness, in green."""
    lab = np.zeros((6, 32, 32, 3), "float32") + np.array([0, -20, 25], "float32")
    lab[..., 0] += np.linspace(40, 65, 6)[:, None, None]
    return Split.from_arrays(np.asarray(color.to_uint8(color.lab_to_rgb(lab))))


def shown(pictures, columns, rows):
    """Lab in the middle of each cell: (rows, columns, 3)."""
    lab = np.asarray(color.rgb_to_lab(np.asarray(pictures.image)))
    high, wide = (plots.SIDE + 4) * rows, (plots.SIDE + 4) * columns
    assert lab.shape[1] == wide
    cells = lab[-high:].reshape(rows, plots.SIDE + 4, columns, plots.SIDE + 4, 3)
    return cells[:, plots.SIDE // 2, :, plots.SIDE // 2]


@pytest.mark.parametrize("show", ["side_by_side", "photographs"])
def test_each_column_has_the_colours_of_its_system(split, show):
    systems = {"red": Tinted(RED), "blue": Tinted(BLUE)}
    if show == "side_by_side":
        found = shown(report.side_by_side(systems, split, [0, 3, 5]), 4, 3)
        rows = [0, 3, 5]
    else:
        pictures, colorfulness = report.photographs(systems, split, count=3)
        found, rows = shown(pictures, 4, 3), [0, 2, 5]
        assert list(colorfulness) == ["input", "red", "blue", "original"]
        assert colorfulness["input"] < 1 < colorfulness["original"] < colorfulness["blue"]
        expected = np.mean(color.metrics.colorfulness(split.images[rows] / 255))
        assert colorfulness["original"] == pytest.approx(float(expected), rel=1e-4)
    for column, ab in enumerate([(0, 0), RED, BLUE, (-20, 25)]):
        assert np.allclose(found[:, column, 1:], ab, atol=3), column  # of JPEG's and sRGB's rounding
    lightness = np.linspace(40, 65, 6)[rows]
    assert np.allclose(found[..., 0], lightness[:, None], atol=3)


def test_a_colorized_photograph_has_its_own_lightness_and_the_networks_colour():
    """The path of display, `Colorizer.colorize`, gives what the path of scoring, `predict_color`, gives."""
    from colorize_lib.training.colorizer import Colorizer

    colorizer = Colorizer.from_name("cnn", size=32, width=0.05)
    head = colorizer.network.get_layer("ab")
    kernel, _ = head.get_weights()
    head.set_weights([0 * kernel, np.arctanh(np.array(RED, "float32") / 128)])
    gray = np.full((32, 32, 3), 140, "uint8")
    scored_ab, scored_rgb = (np.asarray(value)[0] for value in colorizer.predict_color(gray[None]))
    assert np.allclose(scored_ab, RED, atol=0.1)
    displayed = colorizer.colorize(gray)
    assert np.abs(displayed - 255 * scored_rgb).max() <= 1
    assert np.allclose(np.asarray(color.rgb_to_lab(displayed))[..., 1:], RED, atol=1)


def test_five_photographs_are_shown_unless_another_number_is_asked_for(split):
    for options, rows in (({}, 5), ({"count": 2}, 2), ({"count": 9}, 6)):
        pictures, _ = report.photographs({"red": Tinted(RED)}, split, **options)
        assert pictures.image.height // (plots.SIDE + 4) == rows
