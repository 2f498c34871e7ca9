"""The arithmetic of the conversion to Lab, with fewer instructions in compiled steps that make one pass over memory.

Elsewhere, and with COLORIZE_ACCELERATE=0, these are the textbook's operations. Results are float32 and differ in the last digit.
"""

import numpy as np
from keras import ops

from colorize_lib.acceleration.kernels import one_pass

SMALLEST_CUBE = 0.008  # `cube_root` takes values from this to 1

# The cube root as a polynomial in the square root, with an error of 0.3 %.
_SAMPLES = np.linspace(SMALLEST_CUBE**0.5, 1, 1000)
_ROOT = np.polynomial.Polynomial.fit(_SAMPLES, _SAMPLES ** (2 / 3), 5, w=_SAMPLES ** (-2 / 3)).convert()


def power(value, exponent):
    """value ** exponent for positive tensors. On a CPU, XLA has vector code for exp and log, but not for the power."""
    return ops.exp(exponent * ops.log(value)) if one_pass() else ops.power(value, exponent)


def cube_root(value):
    """value ** (1/3) for tensors in [`SMALLEST_CUBE`, 1].

    In one pass it is the polynomial and one step of Halley's method, which cubes the error of 0.3 %, to below float32's precision.
    This takes a third of the time of exp(log(value) / 3).
    """
    if not one_pass():
        return ops.exp(ops.log(value) / 3)
    square_root, root = ops.sqrt(value), 0.0
    for coefficient in reversed(_ROOT.coef):
        root = root * square_root + float(coefficient)
    cube = root * root * root
    return root - root * (cube - value) / (2 * cube + value)


def product(matrix, image):
    """A 3×3 numpy `matrix` times the channels of each pixel of `image`, (..., 3) → (..., 3).

    It is a sum, because GPUs may compute matrix products of float32 in TF32.
    """
    channels = image[..., 0:1], image[..., 1:2], image[..., 2:3]
    if one_pass():  # vector code, because the channels stay next to each other
        columns = matrix.T.astype("float32")
        return sum(channel * column for channel, column in zip(channels, columns, strict=True))
    rows = [sum(float(weight) * channel for weight, channel in zip(row, channels, strict=True)) for row in matrix]
    return ops.concatenate(rows, axis=-1)
