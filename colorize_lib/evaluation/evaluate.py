"""Scoring: one pass over a test set to a table with one row an image; baselines, intervals, paper vs. here.

All metrics are computed in batches on the device from uint8 RGB. What is scored is anything with a method
`predict_color(rgb) → (ab, rgb)`: a `Colorizer`, or a constant baseline.
"""

import logging

import keras
import numpy as np
from keras import ops

from colorize_lib import color
from colorize_lib.color import metrics
from colorize_lib.papers import published as published
from colorize_lib.training.data import Batches, feed

METRICS = ("psnr_rgb", "ssim", "psnr_ab", "mae_ab", "delta_e2000", "colorfulness", "chroma")
MORE_METRICS = ("mse_ab", "mae_lightness", "chroma_gradient", "chroma_detail", "chroma_spread")


class ConstantColor:
    """Baseline that gives every pixel the same `ab`, in Lab units, on its own lightness; ab = 0 leaves images gray."""

    def __init__(self, ab=(0.0, 0.0)):
        self.ab = np.asarray(ab, "float32")

    def predict_color(self, rgb):
        lightness = color.rgb_to_lab(rgb)[..., :1]
        ab = ops.zeros_like(lightness) + self.ab
        return ab, color.lab_to_rgb(ops.concatenate([lightness, ab], axis=-1))


def mean_ab(split, batch_size=256):
    """Mean a and b over all pixels of a split, in Lab units: the best constant by squared error."""
    total = sum(
        np.asarray(color.rgb_to_lab(images)[..., 1:]).mean((1, 2), dtype="float64").sum(0)
        for (images,) in map(Batches(split, batch_size).__getitem__, range(-(-len(split) // batch_size)))
    )
    return total / len(split)


def median_ab(split, batch_size=256):
    """Median of a and of b over all pixels of a split, in Lab units: the best constant by absolute error."""
    batches = map(Batches(split, batch_size).__getitem__, range(-(-len(split) // batch_size)))
    ab = np.concatenate([np.asarray(color.rgb_to_lab(images)[..., 1:]).reshape(-1, 2) for (images,) in batches])
    return np.median(ab, axis=0)


class GivenLightness:
    """A system that predicts RGB, with the lightness of its prediction replaced by that of the image it colorizes."""

    def __init__(self, system):
        self.system = system

    def predict_color(self, rgb):
        ab, predicted = self.system.predict_color(rgb)
        return ab, color.CONVENTIONS["unit_rgb"].decode(rgb, predicted, keep_lightness=True)


class AtSize:
    """A system whose network sees every image at `size` × `size` pixels, whatever the images' own size.

    The predicted ab is resized bilinearly and joined with the lightness of the image itself, so that systems of different
    sizes are scored on the same images.
    """

    def __init__(self, system, size):
        self.system, self.size = system, size

    def predict_color(self, rgb):
        rgb = color.unit_rgb(rgb)
        seen = ops.image.resize(rgb, (self.size, self.size), interpolation="bicubic", antialias=True)
        ab, _ = self.system.predict_color(ops.clip(seen, 0.0, 1.0))
        ab = ops.image.resize(ab, rgb.shape[1:3], interpolation="bilinear", antialias=True)
        return ab, color.lab_to_rgb(ops.concatenate([color.rgb_to_lab(rgb)[..., :1], ab], axis=-1))


class Scorer(keras.Model):
    """RGB batch → dictionary of (batch,) metrics; a model, because `predict` compiles it on any backend."""

    def __init__(self, system, round_trip, columns):
        super().__init__(dtype="float32")
        self._columns = columns
        self._system = _Untracked(system)
        self._round_trip = round_trip

    def call(self, rgb):
        truth, lab = color.unit_rgb(rgb), color.rgb_to_lab(rgb)
        ab, predicted = self._system.value.predict_color(rgb)
        if self._round_trip:
            predicted = color.unit_rgb(color.to_uint8(predicted))
        predicted_lab = color.rgb_to_lab(predicted)
        found = {
            "psnr_rgb": metrics.psnr_rgb(truth, predicted),
            "ssim": metrics.ssim(truth, predicted),
            "psnr_ab": metrics.psnr_ab(lab[..., 1:] / 128, ab / 128),
            "mae_ab": metrics.mae(lab[..., 1:], ab),
            "mse_ab": metrics.mse(lab[..., 1:], ab),
            "delta_e2000": metrics.delta_e2000(lab, predicted_lab),
            "colorfulness": metrics.colorfulness(predicted),
            "chroma": metrics.chroma(predicted_lab),
            "mae_lightness": metrics.mae(lab[..., :1], predicted_lab[..., :1]),
            "chroma_gradient": metrics.chroma_gradient(predicted_lab),
            "chroma_detail": metrics.chroma_detail(predicted_lab),
            "chroma_spread": metrics.chroma_spread(predicted_lab),
        }
        return {column: found[column] for column in self._columns}  # the compiler drops what is not asked for


class _Untracked:
    """Keeps a system from becoming a layer of the scorer: it is scored, not owned."""

    def __init__(self, value):
        self.value = value


def score(system, split, batch_size=250, round_trip=False, columns=(*METRICS, "mae_lightness")):
    """Score a system on every image of a split.

    Args:
        system: object with `predict_color`.
        split: `data.Split`; images of at least 11×11 pixels.
        round_trip: pass the predicted RGB through uint8 first, as Ghiotto did for ECCV16 and SIGGRAPH17.
        columns: which of `METRICS` and `MORE_METRICS`.

    Returns:
        pandas DataFrame, one row an image in the split's order: the `columns`, of `METRICS` (dB; SSIM; mean absolute error of
        ab, ΔE2000 and chroma in Lab units), `mae_lightness`, how far the lightness strays from the image's, in Lab units, and
        of the other functions of `metrics` for predicted colour; and `gray`, true where the image has no colour.
    """
    import pandas as pd

    logging.getLogger("tensorflow").setLevel(
        logging.ERROR
    )  # each system is compiled once, which it takes for retracing
    scorer = Scorer(system, round_trip, columns)
    scorer.compile()
    table = pd.DataFrame(scorer.predict(feed(Batches(split, batch_size)), verbose=0))[[*columns]]
    table["gray"] = np.isin(np.arange(len(split)), split.gray)
    return table


def score_truth(split, batch_size=250, columns=("colorfulness", "chroma")):
    """Colourfulness, chroma and others of the images themselves, as `score` has them for predictions."""
    return score(_Truth(), split, batch_size, columns=columns)[[*columns]]


class _Truth:
    def predict_color(self, rgb):
        return color.rgb_to_lab(rgb)[..., 1:], color.unit_rgb(rgb)


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
    """Mean of one value a seed and its Student t interval: (mean, low, high). A single value has none: low and high are NaN."""
    from scipy import stats

    values = np.asarray(values, "float64")
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return mean, np.nan, np.nan
    half = stats.t.ppf((1 + confidence) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return mean, float(mean - half), float(mean + half)


def verdict(advantages):
    """What an experiment says of a claim: "for", "against" or "undecided".

    Args:
        advantages: one number a seed, above 0 where the claim holds. Fewer than three, or a 95 % interval around 0, decide
            nothing.
    """
    _, low, high = seed_interval(advantages)
    if len(advantages) < 3 or low <= 0 <= high:
        return "undecided"
    return "for" if low > 0 else "against"


def image_verdict(advantages):
    """What the trained networks at hand say of a claim: "for", "against" or "undecided".

    Args:
        advantages: one number an image, above 0 where the claim holds; decided if the 95 % interval of their mean leaves out 0.
            It is about these networks: training anew may say otherwise, for which `verdict` asks several seeds.
    """
    mean, low, high = interval(advantages)
    if low <= 0 <= high:
        return "undecided"
    return "for" if mean > 0 else "against"


def summary(table, columns=METRICS):
    """{column: {"mean", "low", "high"}} with 95 % intervals over the rows of a per-image table, and the count `images`."""
    result = {
        name: dict(zip(("mean", "low", "high"), interval(table[name]), strict=True))
        for name in columns
        if name in table
    }
    return result | {"images": len(table)}


def paper_vs_here(rows, columns, digits=4):
    """The table of the papers' numbers beside ours.

    Args:
        rows: {system: (published {column: number} or {}, `summary` or None)}; None: not run.
        columns: the metrics to show.

    Returns:
        pandas DataFrame of text: per metric the paper's number and ours with its interval.
    """
    import pandas as pd

    lines = {}
    for system, (paper, here) in rows.items():
        line = {}
        for column in columns:
            line[column, "paper"] = f"{paper[column]:.{digits}g}" if column in paper else "–"
            found = here.get(column) if here else None
            line[column, "here"] = (
                f"{found['mean']:.{digits}g} [{found['low']:.{digits}g}, {found['high']:.{digits}g}]"
                if found
                else "not run"
            )
        lines[system] = line
    return pd.DataFrame.from_dict(lines, orient="index")
