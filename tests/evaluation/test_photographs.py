"""The measure of colorized photographs, on colours whose numbers are known."""

import numpy as np
import pytest
from scipy import ndimage
from skimage.color import deltaE_ciede2000, rgb2lab

from colorize_lib.evaluation import photographs

# sRGB whose Lab hues are about 85°, 140°, 280° and 20°, and a gray.
BROWN, GREEN, BLUE, RED, GRAY = (150, 120, 40), (60, 150, 60), (60, 90, 200), (200, 60, 90), (120, 120, 120)


def stripes(*colours, height=12, width=8):
    return np.repeat(np.repeat(np.array([colours], "uint8"), height, axis=0), width, axis=1)


def test_shares_of_hues_count_every_pixel():
    (row,) = photographs.compare(
        [stripes(BROWN, GREEN, BLUE, RED, GRAY)], [stripes(BROWN, BROWN, BROWN, GRAY, GRAY)]
    ).to_dict("records")
    assert [row[f"true_{hue}"] for hue in photographs.HUES] == pytest.approx([0.2, 0.2, 0.2, 0.2])
    assert [row[hue] for hue in photographs.HUES] == pytest.approx([0.6, 0, 0, 0], abs=1e-6)


def test_the_distance_of_hues_is_in_points_and_weighs_photographs_by_their_pixels():
    truths = [stripes(GREEN), stripes(BLUE, height=36)]
    found = photographs.summary(photographs.compare(truths, [stripes(GREEN), stripes(GRAY, height=36)]))
    assert found["true_green"] == pytest.approx(0.25)
    assert found["true_blue"] == pytest.approx(0.75)
    assert found["hue_distance"] == pytest.approx(75)
    same = photographs.summary(photographs.compare(truths, truths))
    assert same["hue_distance"] == same["delta_e2000"] == 0
    assert same["chroma_share"] == 1
    table = photographs.compare(truths, [stripes(GREEN), stripes(GRAY, height=36)])
    assert table["pixels"].tolist() == [12 * 8, 36 * 8]
    assert found["photographs"] == 2
    for column in ("delta_e2000", "gray_delta_e2000"):
        assert found[column] == pytest.approx(table[column].sum() / 2)
    assert found["chroma_share"] == pytest.approx(table["chroma"].sum() / table["true_chroma"].sum())


def test_differences_are_those_of_scikit_image_and_gray_is_the_measure():
    truths = [stripes(BROWN, GREEN), stripes(BLUE, RED)]
    results = [stripes(BROWN, BROWN), stripes(RED, GREEN)]
    table = photographs.compare(truths, results)
    for number in range(2):
        lab, other = rgb2lab(truths[number]), rgb2lab(results[number])
        assert table["delta_e2000"][number] == pytest.approx(deltaE_ciede2000(lab, other).mean(), abs=0.02)
        other = lab * (1, 0, 0)
        assert table["gray_delta_e2000"][number] == pytest.approx(deltaE_ciede2000(lab, other).mean(), abs=0.02)
    assert photographs.summary(table)["nearer_than_gray"] == 0.5


def test_near_edges_only_pixels_there_count():
    truth = stripes(*[GRAY] * 4, *[(230, 230, 230)] * 4, height=40, width=10)
    bled = truth.copy()
    bled[:, 36:44] = RED
    far = truth.copy()
    far[:, :8] = RED
    assert photographs.edge_delta_e2000(truth, bled) > 10
    assert photographs.edge_delta_e2000(truth, far) == 0


def test_pixels_near_an_edge_are_the_steepest_tenth_and_two_more_on_each_side():
    """In a picture whose slope grows from left to right: colour in any other column changes nothing."""
    gray = np.cumsum(np.linspace(0, 5, 100))[None, :, None] / 255 + np.zeros((30, 1, 3))
    slope = np.hypot(*np.gradient(ndimage.gaussian_filter(rgb2lab(gray)[..., 0], 1)))
    for share, options in ((0.1, {}), (0.3, {"share": 0.3})):
        near = np.flatnonzero((slope > np.quantile(slope, 1 - share)).any(0))
        assert len(near) == round(100 * share)
        first, last = min(near) - 2, min(max(near) + 2, 99)
        others = np.setdiff1d(np.arange(100), np.arange(first, last + 1))
        for columns, counts in ((others, False), ([first], True), ([last], True)):
            changed = gray.copy()
            changed[:, columns] = np.array(RED) / 255
            difference = photographs.edge_delta_e2000(gray.astype("float32"), changed.astype("float32"), **options)
            assert (difference > 0.01) == counts, (share, columns)


def test_a_photograph_without_its_colour_has_its_lightness():
    photograph = np.concatenate([stripes(BROWN, GREEN), stripes(BLUE, RED)], axis=0)
    gray = photographs.without_colour(photograph)
    assert (gray.dtype, gray.shape) == (np.uint8, photograph.shape)
    assert np.ptp(gray.astype(int), axis=-1).max() <= 1
    np.testing.assert_allclose(rgb2lab(gray)[..., 0], rgb2lab(photograph)[..., 0], atol=0.4)
