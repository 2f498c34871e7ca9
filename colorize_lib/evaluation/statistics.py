"""Means with intervals, and verdicts on claims.

An interval over images tells how the mean would vary with other images of the same kind, and an interval over seeds how it
would vary if the network were trained again. Only the latter tells something about a way of training.
"""

import numpy as np


def interval(values, resamples=1000):
    """Mean of `values` and its 95 % bootstrap percentile interval over images: (mean, low, high).

    Low and high are NaN where a value is infinite, as the PSNR of an image that was met exactly is.
    """
    from scipy import stats

    values = np.asarray(values, "float64")
    if not np.isfinite(values).all():
        return float(values.mean()), np.nan, np.nan
    if len(values) < 2 or values.min() == values.max():
        return (float(values.mean()),) * 3
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=resamples, batch=100, method="percentile", rng=0
    ).confidence_interval
    return float(values.mean()), float(found.low), float(found.high)


def seed_interval(values):
    """Mean of one value a seed and its 95 % Student t interval: (mean, low, high); low and high of a single value are NaN."""
    from scipy import stats

    values = np.asarray(values, "float64")
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, np.nan, np.nan
    half = stats.t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return mean, float(mean - half), float(mean + half)


def verdict(advantages):
    """Judge a claim by trainings with several seeds: "for", "against" or "undecided", or "one run" for fewer than three.

    Args:
        advantages: one number a seed, above 0 if the claim holds. A 95 % interval that contains 0 decides nothing.
    """
    if len(advantages) < 3:
        return "one run" if len(advantages) == 1 else f"{len(advantages)} runs"
    return _sign(*seed_interval(advantages)[1:])


def image_verdict(advantages):
    """Judge a claim about one trained network, such as two ways to decode it: "for", "against" or "undecided".

    Args:
        advantages: one number an image, above 0 if the claim holds. A 95 % interval that contains 0 decides nothing. The
            verdict may change if the network is trained again; `verdict` takes this into account.
    """
    return _sign(*interval(advantages)[1:])


def _sign(low, high):
    if low > 0:
        return "for"
    return "against" if high < 0 else "undecided"
