"""How coherent colours are within regions of a picture.

Regions are superpixels of the lightness alone, so that they do not depend on the colours that are judged: scikit-image's SLIC
(Achanta et al. 2012, "SLIC Superpixels Compared to State-of-the-Art Superpixel Methods").
"""

import numpy as np

from colorize_lib import color


def superpixels(images, segments=40):
    """Regions of similar lightness.

    Args:
        images: (n, height, width, 3), uint8 or float RGB in [0, 1].
        segments: approximate number of regions in an image.

    Returns:
        (n, height, width) int64: the number of each pixel's region, from 0.
    """
    from skimage.segmentation import slic

    compactness = 0.1  # weight of distance in space against difference in L; larger values make regions squarer
    lightness = np.asarray(color.rgb_to_lab(np.asarray(images)))[..., 0] / 100
    return np.stack(
        [slic(image, segments, compactness, start_label=0, channel_axis=None) for image in lightness.astype("float64")]
    )


def within_variance(ab, regions):
    """Variance of colour within regions: mean over pixels of the squared distance in ab to the mean colour of their region.

    Args:
        ab: (n, height, width, 2), Lab units.
        regions: (n, height, width) region numbers from 0, as from `superpixels`.

    Returns:
        (n,) float64, a part of the variance of the image's colours, which is the result for the whole image as one region.
    """
    ab = np.asarray(ab, "float64").reshape(len(ab), -1, 2)
    results = np.empty(len(ab))
    for image, (colours, numbers) in enumerate(zip(ab, np.reshape(regions, (len(ab), -1)), strict=True)):
        count = np.bincount(numbers)
        means = np.stack([np.bincount(numbers, channel) for channel in colours.T], -1) / np.maximum(count, 1)[:, None]
        results[image] = np.square(colours - means[numbers]).sum(-1).mean()
    return results
