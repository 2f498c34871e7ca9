import warnings

import numpy as np
import pytest

from colorize_lib.evaluation import statistics


def test_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        _, low, high = statistics.interval(random.normal(3, 1, 200), resamples=400)
        hits += low <= 3 <= high
    assert 85 <= hits <= 100
    assert statistics.interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_an_exact_picture_has_no_interval_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean, low, high = statistics.interval([20.0, np.inf, 30.0])
        assert statistics.image_verdict([1.0, np.inf]) == "undecided"
    assert mean == np.inf
    assert np.isnan([low, high]).all()


def test_intervals_over_seeds_are_student_s():
    mean, low, high = statistics.seed_interval([1.0, 2.0, 3.0])
    assert mean == pytest.approx(2.0)
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert statistics.seed_interval([1.0, 2.0]) == pytest.approx((1.5, 1.5 - 12.706 / 2, 1.5 + 12.706 / 2), abs=1e-3)
    assert np.isnan(statistics.seed_interval([1.0])[1:]).all()


@pytest.mark.parametrize(
    ("advantages", "said"),
    [
        ([1.0, 1.1, 0.9], "for"),
        ([-1.0, -1.1, -0.9], "against"),
        ([1.0, 2.0, 3.0], "undecided"),
        ([1.0, 1.1], "2 runs"),
        ([1.0], "one run"),
    ],
)
def test_verdict_needs_three_seeds(advantages, said):
    assert statistics.verdict(advantages) == said


@pytest.mark.parametrize(("shift", "said"), [(0.5, "for"), (-0.5, "against"), (0.0, "undecided")])
def test_verdict_over_images(shift, said):
    advantages = np.random.default_rng(0).normal(0, 1, 300)
    assert statistics.image_verdict(advantages - advantages.mean() + shift) == said


def several_intervals(values, count):
    """Low and high ends of the same values in `count` orders, each of which draws other resamples: (count, 2)."""
    random = np.random.default_rng(3)
    return np.array([statistics.interval(random.permutation(values))[1:] for _ in range(count)])


def test_intervals_over_images_are_of_95_per_cent():
    """Of many values that are normal, the ends lie 1.96 standard errors from the mean: 90 % would have 1.64, 99 % 2.58."""
    values = np.random.default_rng(1).normal(3, 2, 400)
    away = (several_intervals(values, 5) - values.mean()) / (values.std() / 400**0.5)
    assert away.mean(0) == pytest.approx([-1.96, 1.96], abs=0.1)


def test_an_interval_hardly_depends_on_its_random_numbers():
    """Of a few resamples the ends would be as uncertain as the mean."""
    values = np.random.default_rng(2).normal(0, 1, 300)
    assert (several_intervals(values, 12).std(0) < 0.15 * values.std() / 300**0.5).all()
    assert statistics.interval(values) == statistics.interval(values)
