"""Image quality on any Keras backend, one number per image.

Conventions: images are (batch, height, width, channels) float; results are (batch,) float32. RGB is in [0, 1], or integers of
0 to 255, Lab in Lab units. PSNR is in dB and infinite for equal images. The constants are those of the papers' own tools
(`tf.image.psnr`, `tf.image.ssim`), which the tests compare with.

References: Wang, Bovik, Sheikh and Simoncelli 2004 (SSIM); Sharma, Wu and Dalal 2005 (ΔE2000); Hasler and Süsstrunk 2003
(colourfulness).
"""

import math

import numpy as np
from keras import ops

from colorize_lib.color.lab import sure_rgb, unit_rgb
from colorize_lib.errors import InputError


def _float(*images):
    """float32; integers, which can only be RGB of 0 to 255, are divided by 255."""
    images = [np.asarray(image) if isinstance(image, list | tuple) else image for image in images]
    return tuple(
        ops.cast(ops.convert_to_tensor(image), "float32") if "float" in ops.dtype(image) else unit_rgb(image)
        for image in images
    )


def _lab(*images):
    """float32; unsigned integers, which do not hold the negative values of ab, are refused."""
    tensors = [ops.convert_to_tensor(image) for image in images]
    for tensor in tensors:
        if "uint" in ops.dtype(tensor):
            raise InputError(f"Lab of {ops.dtype(tensor)} is not used: give what `color.rgb_to_lab` returns.")
    return tuple(ops.cast(tensor, "float32") for tensor in tensors)


def mse(truth, prediction):
    """Mean squared error over an image."""
    truth, prediction = _float(truth, prediction)
    return ops.mean(ops.square(truth - prediction), axis=(1, 2, 3))


def mae(truth, prediction):
    """Mean absolute error over an image."""
    truth, prediction = _float(truth, prediction)
    return ops.mean(ops.abs(truth - prediction), axis=(1, 2, 3))


def psnr(truth, prediction, max_value=1.0):
    """Peak signal-to-noise ratio, 10 log10(max_value² / MSE), in dB (Acharya and Pokhrel, equation 3)."""
    return 10 * (2 * math.log10(max_value) - ops.log10(mse(truth, prediction)))


def psnr_rgb(truth, prediction):
    """PSNR of RGB in [0, 1] with peak 1, as in Ghiotto's Table 2, where RGB is made from true L and predicted ab.

    Raises `InputError` for arrays of another range, such as floats of 0 to 255.
    """
    return psnr(sure_rgb(truth), sure_rgb(prediction), 1.0)


def psnr_ab(truth, prediction):
    """PSNR of ab / 128 with peak 1, as in Ghiotto's Table 1 and Fig. 4.

    The scaled channels span 2, not 1, so the number is 6.02 dB lower than the PSNR with the right peak.
    """
    return psnr(truth, prediction, 1.0)


def _gaussian_band(size):
    """(size, size - 10) matrix, by which a product along an axis is the valid convolution with SSIM's window."""
    kernel = np.exp(-(np.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    band = np.zeros((size, size - 10), "float32")
    for column in range(band.shape[1]):
        band[column : column + 11, column] = kernel / kernel.sum()
    return band


def ssim(truth, prediction, max_value=1.0):
    """Structural similarity, mean over positions and channels: 11×11 Gaussian window, σ = 1.5, K = 0.01 and 0.03.

    Sides must be at least 11 pixels, as for `tf.image.ssim`; smaller ones raise `ValueError`.
    """
    truth, prediction = _float(truth, prediction)
    height, width = truth.shape[1:3]
    if min(height, width) < 11:
        raise ValueError(f"SSIM needs sides of at least 11 pixels, not {height}×{width}.")
    maps = ops.concatenate([truth, prediction, ops.square(truth) + ops.square(prediction), truth * prediction], axis=-1)
    # The window is separable, and along one axis it is a product with a band matrix.
    maps = ops.tensordot(maps, _gaussian_band(width), axes=[[2], [0]])  # (batch, height, channel, column)
    maps = ops.tensordot(maps, _gaussian_band(height), axes=[[1], [0]])  # (batch, channel, column, row)
    mean_t, mean_p, square, product = ops.split(maps, 4, axis=1)
    c1, c2 = (0.01 * max_value) ** 2, (0.03 * max_value) ** 2
    means = mean_t * mean_p
    means_squared = ops.square(mean_t) + ops.square(mean_p)
    luminance = (2 * means + c1) / (means_squared + c1)
    structure = (2 * (product - means) + c2) / (square - means_squared + c2)
    return ops.mean(luminance * structure, axis=(1, 2, 3))


def delta_e2000(lab_truth, lab_prediction):
    """Mean CIEDE2000 colour difference of an image, from Lab; about 1 is just noticeable.

    Sharma, Wu and Dalal 2005, equations 2 to 22, with k_L = k_C = k_H = 1.
    """
    lab_truth, lab_prediction = _lab(lab_truth, lab_prediction)
    l1, a1, b1 = (lab_truth[..., i] for i in range(3))
    l2, a2, b2 = (lab_prediction[..., i] for i in range(3))
    radians = math.pi / 180

    c_mean7 = ((_norm(a1, b1) + _norm(a2, b2)) / 2) ** 7
    g = 0.5 * (1 - ops.sqrt(c_mean7 / (c_mean7 + 25.0**7)))
    a1, a2 = a1 * (1 + g), a2 * (1 + g)
    c1, c2 = _norm(a1, b1), _norm(a2, b2)
    h1, h2 = (ops.mod(ops.arctan2(b, a), 2 * math.pi) for a, b in ((a1, b1), (a2, b2)))

    # The hue of gray is undefined; both terms of the hue are 0 there.
    coloured = c1 * c2 > 0
    dh = h2 - h1
    dh = ops.where(dh > math.pi, dh - 2 * math.pi, ops.where(dh < -math.pi, dh + 2 * math.pi, dh))
    dh = ops.where(coloured, dh, 0.0)
    h_sum = h1 + h2
    h_mean = ops.where(
        ops.abs(h1 - h2) > math.pi, ops.where(h_sum < 2 * math.pi, h_sum + 2 * math.pi, h_sum - 2 * math.pi), h_sum
    )
    h_mean = ops.where(coloured, h_mean / 2, h_sum)

    dl, dc, d_hue = l2 - l1, c2 - c1, 2 * ops.sqrt(c1 * c2) * ops.sin(dh / 2)
    l_mean50, c_mean = ((l1 + l2) / 2 - 50) ** 2, (c1 + c2) / 2
    t = (
        1
        - 0.17 * ops.cos(h_mean - 30 * radians)
        + 0.24 * ops.cos(2 * h_mean)
        + 0.32 * ops.cos(3 * h_mean + 6 * radians)
        - 0.20 * ops.cos(4 * h_mean - 63 * radians)
    )
    s_l = 1 + 0.015 * l_mean50 / ops.sqrt(20 + l_mean50)
    s_c = 1 + 0.045 * c_mean
    s_h = 1 + 0.015 * c_mean * t
    rotation = 60 * radians * ops.exp(-(((h_mean / radians - 275) / 25) ** 2))
    c_mean7 = c_mean**7
    r_t = -2 * ops.sqrt(c_mean7 / (c_mean7 + 25.0**7)) * ops.sin(rotation)
    squared = (dl / s_l) ** 2 + (dc / s_c) ** 2 + (d_hue / s_h) ** 2 + r_t * (dc / s_c) * (d_hue / s_h)
    return ops.mean(ops.sqrt(ops.maximum(squared, 0.0)), axis=(1, 2))


def _norm(a, b):
    return ops.sqrt(ops.square(a) + ops.square(b))


def chroma(lab):
    """Mean chroma √(a² + b²) of an image, in Lab units."""
    (lab,) = _lab(lab)
    return ops.mean(_norm(lab[..., 1], lab[..., 2]), axis=(1, 2))


HUES = {"yellow_brown": (40, 110), "green": (110, 200), "blue": (200, 310)}  # Lab hue in degrees; all others are red
COLOURED = 8  # chroma above which a pixel counts as coloured


def hue_shares(lab):
    """Shares of an image's pixels that are yellow-brown, green, blue, and red: (batch, 4).

    Only pixels with a chroma above `COLOURED` have a hue, atan2(b, a) in Lab; `HUES` has the borders.
    """
    (lab,) = _lab(lab)
    a, b = lab[..., 1], lab[..., 2]
    hue = ops.mod(ops.arctan2(b, a) * (180 / math.pi), 360)
    coloured = _norm(a, b) > COLOURED
    inside = [ops.logical_and(coloured, ops.logical_and(hue >= low, hue < high)) for low, high in HUES.values()]
    shares = [ops.mean(ops.cast(pixels, "float32"), axis=(1, 2)) for pixels in (coloured, *inside)]
    return ops.stack([*shares[1:], shares[0] - sum(shares[1:])], axis=-1)


def chroma_gradient(lab):
    """Mean length of the gradient of a and b, √(|∇a|² + |∇b|²) by differences to the next pixel, in Lab units per pixel.

    It is low for blurred colours, and also for pale ones.
    """
    (lab,) = _lab(lab)
    ab = lab[..., 1:]
    down, right = ab[:, 1:, :-1] - ab[:, :-1, :-1], ab[:, :-1, 1:] - ab[:, :-1, :-1]
    return ops.mean(ops.sqrt(ops.sum(ops.square(down) + ops.square(right), axis=-1)), axis=(1, 2))


def chroma_spread(lab):
    """Spread of an image's colours around their mean, √(var a + var b), in Lab units."""
    (lab,) = _lab(lab)
    return ops.sqrt(ops.sum(ops.var(lab[..., 1:], axis=(1, 2)), axis=-1))


def chroma_detail(lab, block=4):
    """Share of the variance of a and b within blocks of `block` × `block` pixels, from 0 to 1.

    Unlike `chroma_gradient`, it does not depend on how strong the colours are. Incomplete blocks at the edge are left out.
    """
    (lab,) = _lab(lab)
    rows, columns = (side // block for side in lab.shape[1:3])
    ab = lab[:, : rows * block, : columns * block, 1:]
    blocks = ops.reshape(ab, (-1, rows, block, columns, block, 2))
    within = ops.sum(ops.mean(ops.var(blocks, axis=(2, 4)), axis=(1, 2)), axis=-1)
    return within / (ops.sum(ops.var(ab, axis=(1, 2)), axis=-1) + 1e-3)  # 0 for images without colour


def colorfulness(rgb):
    """Hasler and Süsstrunk's M³ of RGB in [0, 1], on their scale (RGB in [0, 255]): 0 gray, 15 slightly, 109 extremely."""
    (rgb,) = _float(sure_rgb(rgb))
    red, green, blue = (255 * rgb[..., i] for i in range(3))
    opponents = (red - green, 0.5 * (red + green) - blue)
    variance = sum(ops.var(channel, axis=(1, 2)) for channel in opponents)
    mean_squared = sum(ops.square(ops.mean(channel, axis=(1, 2))) for channel in opponents)
    return ops.sqrt(variance) + 0.3 * ops.sqrt(mean_squared)


def predicted_ab(convention):
    """Two metrics of (target, prediction): an image's mean predicted a, and its mean predicted b, in Lab units.

    Over the epochs of a training, they show whether a network gives everything the same colour (Matos et al., section 5: green).

    Args:
        convention: of `color.CONVENTIONS`, which scales the prediction.
    """

    def predicted_a(truth, prediction):
        return ops.mean(convention.ab(prediction)[..., 0], axis=(1, 2))

    def predicted_b(truth, prediction):
        return ops.mean(convention.ab(prediction)[..., 1], axis=(1, 2))

    return predicted_a, predicted_b


def larger_channel_accuracy(truth, prediction):
    """Share of pixels whose largest channel is predicted to be the largest.

    This is what `metrics=["accuracy"]` means in Keras for a target with several channels, and what Matos et al. and Acharya
    and Pokhrel call "accuracy". For the two channels of ab, a coin toss scores 0.5.
    """
    return ops.mean(ops.cast(ops.argmax(truth, axis=-1) == ops.argmax(prediction, axis=-1), "float32"), axis=(1, 2))
