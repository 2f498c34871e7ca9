"""Quantized colour: ab bins, soft encoding, class rebalancing, and decoding of distributions over the bins.

Conventions: ab in Lab units, (..., 2). A set of bins is the float32 array (Q, 2) of its centres, in the order of rising a,
then rising b. Distributions over bins are (..., Q), float32.

Reference: Zhang, Isola, Efros 2016, "Colorful Image Colorization" (ECCV), section 2 and the authors' released training code.

The number of bins: the paper's grid has a step of 10 and keeps the values in gamut, Q = 313, without saying which points count
as in gamut (section 2.1). Counted over sRGB, 229 points of the grid are colours themselves, 262 lie within 5 units of one in
both a and b, and 309 within 10: the corners of every 10×10 square that contains a colour. All 309 are among the 313 that the
authors published. The other four, `BEYOND_GAMUT`, are more than 13 units from any colour of sRGB, although nearer points are
not in the list. `gamut_bins` are the 309, which suffice to write every colour of sRGB as an average of bins; `released_bins`
are the 313, which the public network needs.
"""

import functools
import itertools

import keras
import numpy as np
from keras import ops

from colorize_lib import color
from colorize_lib.errors import InputError

GRID = 10  # section 2.1
REACH = 11  # steps of the grid to each side, ±110, which contain all of sRGB
BEYOND_GAMUT = ((40, 90), (100, -90), (100, -10), (100, 0))


def _frozen(points):
    centres = np.array(points, "float32")
    centres.flags.writeable = False  # every caller gets the same array
    return centres


@functools.cache
def gamut_bins():
    """Centres of the 309 bins around the colours of sRGB, (309, 2): see the module's description."""
    # Lab is a continuous map of the cube of RGB, so a line of constant ab leaves the gamut through one of the cube's six faces,
    # which therefore contain every ab of sRGB.
    first, second = np.meshgrid(np.arange(256, dtype="uint8"), np.arange(256, dtype="uint8"))
    faces = [np.insert(np.stack([first, second], axis=-1), i, value, axis=-1) for i in range(3) for value in (0, 255)]
    ab = ops.convert_to_numpy(color.rgb_to_lab(np.stack(faces)))[..., 1:]
    row, column = np.moveaxis(np.floor(ab / GRID).astype(int) + REACH, -1, 0)
    bins = np.zeros((2 * REACH + 1, 2 * REACH + 1), bool)
    for i, j in itertools.product((0, 1), repeat=2):
        bins[row + i, column + j] = True
    return _frozen((np.argwhere(bins) - REACH) * GRID)


@functools.cache
def released_bins():
    """Centres of the 313 bins that the authors published: `gamut_bins` and `BEYOND_GAMUT`, (313, 2).

    The order, by a and then b, is also that of the authors' file.
    """
    return _frozen(sorted([*gamut_bins().tolist(), *map(list, BEYOND_GAMUT)]))


@functools.cache
def common_bins():
    """Centres of the `gamut_bins` up to a chroma, √(a² + b²), of 85, the colours that photographs have: (199, 2).

    Among a million pixels of ImageNet's photographs, fewer than a thousand are more saturated.
    """
    centres = gamut_bins()
    return _frozen(centres[np.hypot(*centres.T) <= 85])


def squared_distances(ab, centres):
    """Squared distances of ab to all bins: (..., 2) → (..., Q)."""
    # The square is not expanded: with a TF32 product it would be wrong by units of ab.
    ab = ops.cast(ops.convert_to_tensor(ab), "float32")
    return ops.square(ab[..., 0:1] - centres[:, 0]) + ops.square(ab[..., 1:2] - centres[:, 1])


def nearest(ab, centres):
    """Index of the nearest bin: ab (..., 2) → (...) int32."""
    return ops.argmin(squared_distances(ab, centres), axis=-1)


def soft_code(squared_distances, neighbours, sigma):
    """Soft encoding of ground truth (section 2.1, second footnote): the nearest bins, weighted by a Gaussian of the distance.

    Args:
        squared_distances: (..., Q), to all bins.
        neighbours: number of bins with a weight above 0; 5 in the paper, 10 in the authors' released code.
        sigma: of the Gaussian, in units of ab; 5 in the paper.

    Returns:
        Indices of the nearest bins, and their weights, which sum to 1: both (..., neighbours).
    """
    closeness, indices = ops.top_k(-squared_distances, neighbours)
    # A softmax is the normalized Gaussian, without its underflow far from all bins.
    return indices, ops.softmax(closeness / (2 * sigma**2))


def color_prior(images, centres, batch_size=64):
    """Share of each bin in the colours of a training set, p of section 2.2.

    As in the loss, every fourth pixel of a row and of a column is counted.

    Args:
        images: (n, height, width, 3) uint8 RGB, an array or `dataset.Images`.
        centres: (Q, 2).
        batch_size: number of images that are converted at once.

    Returns:
        (Q,) float64 numpy array that sums to 1.
    """
    counts = np.zeros(len(centres))
    for start in range(0, len(images), batch_size):
        ab = color.rgb_to_lab(images[start : start + batch_size][:, ::4, ::4])[..., 1:]
        counts += np.bincount(np.ravel(ops.convert_to_numpy(nearest(ab, centres))), minlength=len(centres))
    return counts / counts.sum()


def rebalancing_weights(prior, centres, lam=0.5, sigma=5.0):
    """Weight of each bin in the loss, high for rare colours (section 2.2, equation 4).

    w ∝ ((1 - lam) p + lam / Q)⁻¹, where p is the prior smoothed by a Gaussian; the mean of w over p is 1.

    Args:
        prior: (Q,), non-negative: shares or counts.
        centres: (Q, 2).
        lam: share of the uniform distribution, above 0 and up to 1, where all bins have the weight 1.
        sigma: of the Gaussian, in units of ab.

    Returns:
        (Q,) float32 numpy array.

    Raises:
        InputError: `lam` out of range, or a prior that is not a distribution over these bins.
    """
    prior = np.asarray(prior, "float64")
    if not 0 < lam <= 1:
        raise InputError(f"Class rebalancing takes lam above 0 up to 1, not {lam}; the paper's is 0.5.")
    if prior.shape != (len(centres),) or not (np.all(prior >= 0) and 0 < prior.sum() < np.inf):
        raise InputError(
            f"The colour prior must hold {len(centres)} non-negative numbers, one for each bin, that are not all zero; "
            f"compute it with bins.color_prior from images and the same bins."
        )
    squared = np.sum((centres[:, None].astype("float64") - centres[None]) ** 2, axis=-1)
    kernel = np.exp(-squared / (2 * sigma**2))
    smoothed = (kernel / kernel.sum(axis=0)) @ (prior / prior.sum())  # each column sums to 1: no probability is lost
    weights = 1 / ((1 - lam) * smoothed + lam / len(centres))
    return (weights / np.sum(smoothed * weights)).astype("float32")


def mean(probabilities, centres):
    """Expected colour: (..., Q) → ab (..., 2). Desaturated where the distribution has several modes (section 2.3)."""
    # Sums, because a GPU may compute a matrix product in TF32.
    return ops.stack([ops.sum(probabilities * centres[:, i], axis=-1) for i in range(2)], axis=-1)


def mode(probabilities, centres):
    """Colour of the most likely bin: (..., Q) → ab (..., 2). Vivid, but not smooth in space (section 2.3)."""
    return ops.take(ops.convert_to_tensor(centres), ops.argmax(probabilities, axis=-1), axis=0)


def annealed_mean(probabilities, centres, temperature=0.38):
    """Annealed mean, between mean and mode (section 2.3, equation 5): the mean of softmax(log(probabilities) / temperature).

    Args:
        probabilities: (..., Q).
        centres: (Q, 2).
        temperature: 1 gives the mean, and values near 0 the mode; 0.38 in the paper.

    Returns:
        ab (..., 2), float32.
    """
    logits = ops.log(ops.maximum(ops.cast(probabilities, "float32"), np.finfo("float32").tiny))
    return mean(ops.softmax(logits / temperature), centres)


class BinCrossEntropy(keras.losses.Loss):
    """Cross entropy between predicted logits and softly encoded colours, rebalanced by class (section 2.1, equation 2).

    The target is (batch, height, width, 2), and the prediction (batch, h, w, Q) logits. If the target is a whole number of times
    larger, pixels are taken at that interval, as in the authors' released training network. The encoded target has only
    `neighbours` numbers a pixel in memory, not Q.

    Args:
        centres: (Q, 2).
        weights: (Q,) from `rebalancing_weights`; a pixel has the weight of its nearest bin (section 2.2, equation 3). None: all 1.
        convention: key of `color.CONVENTIONS` that scales the target, such as "zhang"; None: Lab units.
        neighbours, sigma: as in `soft_code`.
        **options: `name`, `reduction` and `dtype` of `keras.losses.Loss`. By default the loss is the mean over pixels, and not the
            paper's sum.

    Raises:
        InputError: when called with shapes that do not belong together.
    """

    def __init__(self, centres, weights=None, convention=None, neighbours=5, sigma=5.0, **options):
        super().__init__(**{"name": "bin_cross_entropy", **options})
        self.centres, self.weights = centres, weights
        self.convention = None if convention is None else color.CONVENTIONS[convention]
        self.neighbours, self.sigma = neighbours, sigma

    def call(self, y_true, y_pred):
        factor = ops.shape(y_true)[1] // ops.shape(y_pred)[1]
        if isinstance(factor, int):  # the sizes are known
            factor = max(1, factor)
        target = y_true[:, ::factor, ::factor]
        if target.shape[1:3] != y_pred.shape[1:3] or y_pred.shape[-1] != len(self.centres):
            raise InputError(
                f"The loss over {len(self.centres)} bins got a target of shape {tuple(y_true.shape)} and logits of shape "
                f"{tuple(y_pred.shape)}: it needs one logit a bin, and a target as large as the logits or a whole number of "
                f"times larger."
            )
        ab = target if self.convention is None else self.convention.ab(target)
        distances = squared_distances(ab, self.centres)
        indices, code = soft_code(distances, self.neighbours, self.sigma)
        # The code sums to 1, so -Σ code · log_softmax(logits) needs only the logits of the code's bins.
        loss = ops.logsumexp(y_pred, axis=-1) - ops.sum(code * ops.take_along_axis(y_pred, indices, axis=-1), axis=-1)
        if self.weights is None:
            return loss
        # Not `indices[..., 0]`: for a slice of the top k, XLA sorts all distances, which is ten times slower on a CPU.
        return loss * ops.take(ops.convert_to_tensor(self.weights), ops.argmin(distances, axis=-1), axis=0)
