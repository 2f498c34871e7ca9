"""Scoring: a table of metrics with one row an image, and constant predictions, which need no network.

All metrics are computed in batches on the device from uint8 RGB. A system to be scored is any object with a method
`predict_color(rgb) → (ab, rgb)`: a `Colorizer`, or one of the classes below.
"""

import keras
import numpy as np
from keras import ops

from colorize_lib import color
from colorize_lib.color import metrics
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.training.data import Batches, feed

METRICS = ("psnr_rgb", "ssim", "psnr_ab", "mae_ab", "delta_e2000", "colorfulness", "chroma")
HUES = (*metrics.HUES, "red")
MORE_METRICS = ("mse_ab", "mae_lightness", "chroma_gradient", "chroma_detail", "chroma_spread", *HUES)
GRAY, MEAN, MEDIAN = "gray (ab = 0)", "mean colour", "median colour"


class ConstantColor:
    """Gives every pixel the same `ab`, in Lab units, on its own lightness; ab = 0 leaves images gray."""

    def __init__(self, ab=(0.0, 0.0)):
        self.ab = np.asarray(ab, "float32")

    def predict_color(self, rgb):
        lightness = color.rgb_to_lab(rgb)[..., :1]
        ab = ops.zeros_like(lightness) + self.ab
        return ab, color.with_ab(lightness, ab)


def constants(train, median=False):
    """The constant predictions that every table has: {name: `ConstantColor`}.

    Args:
        train: `Split` whose mean colour is the best constant by squared error.
        median: also return the median of a and of b, the best constant by absolute error.
    """
    found = {GRAY: ConstantColor(), MEAN: ConstantColor(mean_ab(train))}
    return found | ({MEDIAN: ConstantColor(median_ab(train))} if median else {})


def _ab(split, batch_size):
    """a and b of a split, batch by batch, in Lab units."""
    batches = Batches(split, batch_size)
    for index in range(len(batches)):
        yield np.asarray(color.rgb_to_lab(batches[index][0])[..., 1:])


def mean_ab(split, batch_size=256):
    """Mean a and b over all pixels of a split, in Lab units: the best constant by squared error."""
    total = sum(ab.mean((1, 2), dtype="float64").sum(0) for ab in _ab(split, batch_size))
    return total / len(split)


def median_ab(split, batch_size=256):
    """Median of a and of b over all pixels of a split, in Lab units: the best constant by absolute error."""
    return np.median(np.concatenate([ab.reshape(-1, 2) for ab in _ab(split, batch_size)]), axis=0)


class GivenLightness:
    """A system that predicts RGB, with the lightness of its predictions replaced by that of the images."""

    def __init__(self, system):
        self.system = system

    def predict_color(self, rgb):
        ab, predicted = self.system.predict_color(rgb)
        return ab, color.CONVENTIONS["unit_rgb"].decode(rgb, predicted, keep_lightness=True)


class AtSize:
    """A system whose network sees every image at `size` × `size` pixels, so that all systems can be scored on the same images.

    The predicted ab is resized bilinearly and joined with the image's own lightness.
    """

    def __init__(self, system, size):
        self.system, self.size = system, size

    def predict_color(self, rgb):
        rgb = color.unit_rgb(rgb)
        seen = ops.image.resize(rgb, (self.size, self.size), interpolation="bicubic", antialias=True)
        ab, _ = self.system.predict_color(ops.clip(seen, 0.0, 1.0))
        ab = ops.image.resize(ab, rgb.shape[1:3], interpolation="bilinear", antialias=True)
        return ab, color.with_ab(rgb, ab)


class Scorer(keras.Model):
    """RGB batch → dictionary of (batch,) metrics; a `keras.Model`, because `predict` compiles it on every backend."""

    def __init__(self, system, columns):
        super().__init__(dtype="float32")
        self._columns = columns
        self._predict_color = system.predict_color  # the system itself would become a layer of the scorer

    def call(self, rgb):
        return _measured(rgb, *self._predict_color(rgb), self._columns)


def _measured(rgb, ab, predicted, columns):
    """{column: (batch,)} of images `rgb`, uint8 or float, predicted `ab` in Lab units, and predicted RGB in [0, 1]."""
    truth, lab = color.unit_rgb(rgb), color.rgb_to_lab(rgb)
    predicted_lab = color.rgb_to_lab(predicted)
    functions = {
        "psnr_rgb": lambda: metrics.psnr_rgb(truth, predicted),
        "ssim": lambda: metrics.ssim(truth, predicted),
        "psnr_ab": lambda: metrics.psnr_ab(lab[..., 1:] / 128, ab / 128),
        "mae_ab": lambda: metrics.mae(lab[..., 1:], ab),
        "mse_ab": lambda: metrics.mse(lab[..., 1:], ab),
        "delta_e2000": lambda: metrics.delta_e2000(lab, predicted_lab),
        "colorfulness": lambda: metrics.colorfulness(predicted),
        "chroma": lambda: metrics.chroma(predicted_lab),
        "mae_lightness": lambda: metrics.mae(lab[..., :1], predicted_lab[..., :1]),
        "chroma_gradient": lambda: metrics.chroma_gradient(predicted_lab),
        "chroma_detail": lambda: metrics.chroma_detail(predicted_lab),
        "chroma_spread": lambda: metrics.chroma_spread(predicted_lab),
    }
    shares = metrics.hue_shares(predicted_lab) if set(columns) & set(HUES) else None
    functions |= {hue: lambda number=number: shares[:, number] for number, hue in enumerate(HUES)}
    return {column: functions[column]() for column in columns}


def score(system, images, batch_size=250, columns=(*METRICS, "mae_lightness")):
    """Score a system on every image.

    Args:
        system: object with `predict_color`, such as a `Colorizer`.
        images: `Split`, or uint8 RGB array (n, height, width, 3), of at least 11×11 pixels.
        columns: names from `METRICS` and `MORE_METRICS`.

    Returns:
        pandas DataFrame, one row an image in the images' order: the `columns` (PSNR in dB; SSIM; mean absolute errors, ΔE2000
        and chroma in Lab units; the other functions of `color.metrics` for the predicted colour), and `gray`, whether the image
        itself has no colour.

    Raises:
        InputError: the network sees images of another size.
    """
    import pandas as pd

    split = images if isinstance(images, Split) else Split.from_arrays(images)
    _check_size(system, *split.images.shape[1:3])
    scorer = Scorer(system, columns)
    scorer.compile()
    table = pd.DataFrame(scorer.predict(feed(Batches(split, batch_size)), verbose=0))[[*columns]]
    table["gray"] = np.isin(np.arange(len(split)), split.gray)
    return table


def _check_size(system, height, width):
    """Raise InputError if the system's network sees gray images of another size only."""
    seen = getattr(getattr(system, "network", None), "input_shape", ())
    if len(seen) == 4 and seen[3] == 1 and None not in seen[1:3] and seen[1:3] != (height, width):
        raise InputError(
            f"The network sees images of {seen[1]}×{seen[2]} pixels, and these have {height}×{width}: load them at its size, or "
            f"score evaluate.AtSize(colorizer, {seen[1]})."
        )


def score_colorized(images, colorized, batch_size=250, columns=METRICS):
    """Score images that are colorized already, as `judges.colorized` gives them.

    Args:
        images: `Split`, or uint8 RGB array (n, height, width, 3): the truth.
        colorized: uint8 RGB array of the same shape.
        batch_size: images at once.
        columns: as in `score`.

    Returns:
        The table of `score`. It differs from that of the system that colorized them by the rounding to 8 bits.
    """
    import pandas as pd

    split = images if isinstance(images, Split) else Split.from_arrays(images)
    tables = []
    for start in range(0, len(split), batch_size):
        rows = slice(start, start + batch_size)
        results = color.unit_rgb(colorized[rows])
        found = _measured(split.images[rows], color.rgb_to_lab(results)[..., 1:], results, columns)
        tables.append(pd.DataFrame({column: ops.convert_to_numpy(values) for column, values in found.items()}))
    table = pd.concat(tables, ignore_index=True)
    table["gray"] = np.isin(np.arange(len(split)), split.gray)
    return table


def score_truth(images, batch_size=250, columns=("colorfulness", "chroma")):
    """Colourfulness, chroma and others of the images themselves, as `score` has them of predictions."""
    return score(_Truth(), images, batch_size, columns=columns)


class _Truth:
    def predict_color(self, rgb):
        return color.rgb_to_lab(rgb)[..., 1:], color.unit_rgb(rgb)


def truncated(split):
    """The split as the released code of Polychromify passes it to ECCV16 and SIGGRAPH17 for Table 2.

    The code converts the images to Lab and back in float64, multiplies by 255 and truncates to uint8, which makes many values one
    level darker. The result is both the truth and the networks' input; the predictions stay float.
    """
    from skimage.color import lab2rgb, rgb2lab

    images = np.empty((len(split), *split.images.shape[1:]), "uint8")
    for start in range(0, len(split), 250):
        rows = slice(start, start + 250)
        images[rows] = (255 * lab2rgb(rgb2lab(split.images[rows]))).astype("uint8")
    return Split(images, split.labels, split.files, split.gray)
