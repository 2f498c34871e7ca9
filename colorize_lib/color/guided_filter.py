"""Colour that follows the edges of a photo's lightness: the fast guided filter.

Within each small window ab is taken to be a linear function of L, ab ≈ slope · L + offset, fitted by least squares. Slope and
offset are found on a small version of the photo; enlarged and applied to the photo's own L, they give ab edges where L has them.

References: He, Sun, Tang 2013, "Guided Image Filtering", equations 4 to 8; He, Sun 2015, "Fast Guided Filter".
"""

import numpy as np
from scipy.ndimage import uniform_filter


def coefficients(lightness, ab, radius, epsilon):
    """Slope and offset of ab as a function of L around each pixel.

    Args:
        lightness: (height, width) float, L in [0, 100].
        ab: (height, width, 2) float, of the same photo.
        radius: windows have 2 radius + 1 pixels a side.
        epsilon: edges of L whose variance is far below it, in units of L², are no edges for the colour.

    Returns:
        (height, width, 4) float32: the slopes of a and b, then their offsets.
    """

    def mean(values):
        return uniform_filter(values, (2 * radius + 1, 2 * radius + 1, 0), mode="nearest")

    guide = lightness[..., None].astype("float32")
    ab = ab.astype("float32")
    mean_guide, mean_ab = mean(guide), mean(ab)
    variance = mean(guide * guide) - mean_guide**2
    covariance = mean(guide * ab) - mean_guide * mean_ab
    slope = covariance / (variance + epsilon)
    return mean(np.concatenate([slope, mean_ab - slope * mean_guide], axis=-1))
