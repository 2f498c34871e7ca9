"""Means with intervals, and what they say of a claim.

An interval over images says how the mean would vary with other images of the same kind; one over seeds, how it would vary if the
network were trained again. Only the latter says something about a way of training.
"""

import numpy as np


def interval(values, confidence=0.95, resamples=1000, seed=0):
    """Mean of `values` and its bootstrap percentile interval over images: (mean, low, high)."""
    from scipy import stats

    values = np.asarray(values, "float64")
    if len(values) < 2 or values.min() == values.max():
        return (float(values.mean()),) * 3
    found = stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=resamples, batch=100, method="percentile", rng=seed
    ).confidence_interval
    return float(values.mean()), float(found.low), float(found.high)


def seed_interval(values, confidence=0.95):
    """Mean of one value a seed and its Student t interval: (mean, low, high); a single value has none, low and high are NaN."""
    from scipy import stats

    values = np.asarray(values, "float64")
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, np.nan, np.nan
    half = stats.t.ppf((1 + confidence) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return mean, float(mean - half), float(mean + half)


def verdict(advantages):
    """What trainings with several seeds say of a claim: "for", "against" or "undecided"; "one run" for fewer than three.

    Args:
        advantages: one number a seed, above 0 where the claim holds. A 95 % interval around 0 decides nothing.
    """
    if len(advantages) < 3:
        return "one run" if len(advantages) == 1 else f"{len(advantages)} runs"
    return _sign(*seed_interval(advantages)[1:])


def image_verdict(advantages):
    """What one trained network says of a claim about itself, such as two ways to decode it: "for", "against" or "undecided".

    Args:
        advantages: one number an image, above 0 where the claim holds; decided if the 95 % interval of their mean leaves out 0.
            Training again may say otherwise, for which `verdict` asks several seeds.
    """
    return _sign(*interval(advantages)[1:])


def _sign(low, high):
    if low <= 0 <= high:
        return "undecided"
    return "for" if low > 0 else "against"
