import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from colorize_lib.color import guided_filter


def apply(lightness, ab, **options):
    maps = guided_filter.coefficients(lightness, ab, **{"radius": 4, "epsilon": 10.0, **options})
    return maps[..., :2] * lightness[..., None] + maps[..., 2:]


def test_colour_that_bleeds_over_an_edge_of_lightness_is_drawn_back_to_it():
    step = (np.arange(64) >= 32).astype("float32")
    lightness = np.tile(30 + 40 * step, (48, 1))
    true = np.stack([60 * lightness / 70, -20 + 0 * lightness], axis=-1)
    ramp = np.clip((np.arange(64) - 24) / 16, 0, 1)  # the step, blurred over 16 pixels
    blurred = np.tile(np.stack([60 * (30 + 40 * ramp) / 70, -20 + 0 * ramp], axis=-1), (48, 1, 1))
    before, after = (np.abs(ab - true)[:, 26:38].mean() for ab in (blurred, apply(lightness, blurred, radius=8)))
    assert after < 0.75 * before


def test_a_photo_without_edges_keeps_its_mean_colour():
    ab = np.random.default_rng(0).normal(0, 20, (40, 40, 2)).astype("float32")
    smooth = apply(np.full((40, 40), 50, "float32"), ab)
    assert smooth.std() < 0.4 * ab.std()
    np.testing.assert_allclose(smooth.mean((0, 1)), ab.mean((0, 1)), atol=0.5)


def test_colour_that_is_a_linear_function_of_lightness_stays():
    lightness = np.random.default_rng(0).uniform(0, 100, (32, 32)).astype("float32")
    ab = np.stack([0.5 * lightness - 10, 20 - 0.3 * lightness], axis=-1)
    np.testing.assert_allclose(apply(lightness, ab, epsilon=1e-3), ab, atol=0.05)


def test_slope_and_offset_are_those_of_least_squares_in_each_window():
    """He, Sun and Tang 2013, equations 5, 6 and 8, window by window; the border is repeated."""
    random, radius = np.random.default_rng(0), 2

    def mean(values):
        padded = np.pad(values, ((radius, radius), (radius, radius)), mode="edge")
        return sliding_window_view(padded, (5, 5)).mean((2, 3))

    lightness, ab = random.uniform(0, 100, (9, 14)), random.uniform(-50, 50, (9, 14, 2))
    found = guided_filter.coefficients(lightness, ab, radius, 25.0)
    assert found.dtype == np.float32
    for channel in (0, 1):
        colour = ab[..., channel]
        covariance = mean(lightness * colour) - mean(lightness) * mean(colour)
        slope = covariance / (mean(lightness**2) - mean(lightness) ** 2 + 25)
        np.testing.assert_allclose(found[..., channel], mean(slope), atol=1e-3)
        np.testing.assert_allclose(found[..., 2 + channel], mean(mean(colour) - slope * mean(lightness)), atol=0.02)
