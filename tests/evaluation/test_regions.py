import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab
from skimage.segmentation import slic

from colorize_lib import color
from colorize_lib.evaluation import regions


@pytest.fixture
def halves():
    """Three pictures, dark on the left and light on the right of a column of their own; colour has its own edge."""
    images = np.full((3, 32, 48, 3), 40, "uint8")
    for image, edge in zip(images, (12, 24, 40), strict=True):
        image[:, edge:] = 210
    images[:, 16:, :, 0] += 20
    return images


def test_superpixels_keep_to_edges_of_lightness(halves):
    found = regions.superpixels(halves, segments=12)
    assert found.shape == (3, 32, 48)
    for numbers, edge in zip(found, (12, 24, 40), strict=True):
        assert not set(np.unique(numbers[:, :edge])) & set(np.unique(numbers[:, edge:]))
        assert 4 <= len(np.unique(numbers)) <= 24
        assert numbers.min() == 0


def test_superpixels_do_not_see_colour(halves):
    lab = np.asarray(color.rgb_to_lab(halves))
    gray = np.asarray(color.lab_to_rgb(lab * (1, 0, 0)))
    differing = regions.superpixels(gray, 12) != regions.superpixels(halves, 12)
    assert differing.mean() < 0.02  # rounding decides ties


def test_superpixels_are_those_of_scikit_image_for_forty_pieces_of_the_lightness():
    images = gaussian_filter(np.random.default_rng(0).random((2, 48, 48, 3)), (0, 1, 1, 0))
    images = (255 * images / images.max()).astype("uint8")
    for image, found in zip(images, regions.superpixels(images), strict=True):
        expected = slic(rgb2lab(image)[..., 0], 40, compactness=0.1, start_label=0, channel_axis=None)
        assert (found == expected).mean() > 0.99  # rounding decides ties


def test_within_variance_by_hand():
    ab = np.array([[[(0, 0), (2, 0), (10, 10), (10, 14)]], [[(5, 5)] * 4]], "float32")
    numbers = np.array([[[0, 0, 2, 2]], [[1, 0, 1, 3]]])
    np.testing.assert_allclose(regions.within_variance(ab, numbers), [(1 + 1 + 4 + 4) / 4, 0])


def test_one_region_gives_the_variance_of_the_image():
    ab = np.random.default_rng(0).normal(size=(2, 6, 7, 2))
    whole = regions.within_variance(ab, np.zeros((2, 6, 7), int))
    np.testing.assert_allclose(whole, ab.var((1, 2)).sum(-1))
    finer = regions.within_variance(ab, np.arange(42).reshape(1, 6, 7).repeat(2, 0) // 5)
    assert (finer < whole).all()
