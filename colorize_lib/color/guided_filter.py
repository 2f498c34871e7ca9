"""The fast guided filter: colour that follows the edges of a photo's lightness.

Within each small window, ab is a linear function of L, ab ≈ slope · L + offset, fitted by least squares. Slope and offset are
fitted on a small version of the photo; enlarged and applied to the photo's own L, they give ab the edges of L.

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
        epsilon: in units of L²; edges of L with a far smaller variance are no edges of the colour.

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
