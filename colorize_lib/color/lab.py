"""sRGB ↔ CIE Lab on any Keras backend, and the papers' scalings of Lab.

Conventions: channels last. RGB is sRGB, gamma encoded: uint8 in [0, 255] or float in [0, 1]. Lab is CIE 1976 L*a*b* for the
illuminant D65 and the 2° observer: L in [0, 100]; over sRGB a spans -86.2…98.2 and b -107.9…94.5. All results are float32,
also under a mixed-precision policy: bfloat16 loses up to 0.4 Lab units.

The 3×3 products are written as sums, not as a matrix product, because GPUs may run float32 matrix products in TF32. What runs
on every pixel of every batch is `fused` into one pass over memory where the backend would not do so by itself.

References: IEC 61966-2-1 (sRGB); CIE 15:2004, section 8.2.1 (Lab). The constants are scikit-image's (`skimage.color`), which is
the reference that the tests compare with.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops

from colorize_lib.acceleration.kernels import fused, one_pass

# Linear sRGB → XYZ (IEC 61966-2-1, D65), and its inverse.
XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65, 2° observer
LAB_FROM_RGB = XYZ_FROM_RGB / WHITE[:, None]  # XYZ relative to white
RGB_FROM_LAB = RGB_FROM_XYZ * WHITE[None, :]

# CIE 15:2004: f(t) = t^(1/3) above EPSILON, KAPPA t + 16 / 116 below.
EPSILON = 0.008856
KAPPA = 7.787
OFFSET = 16 / 116
F_EPSILON = 0.2068966  # where the inverse changes over

GRAY_BT709 = (0.2125, 0.7154, 0.0721)  # scikit-image's rgb2gray
GRAY_BT601 = (0.299, 0.587, 0.114)  # Pillow's, OpenCV's and TensorFlow's gray


def _power(value, exponent):
    """value ** exponent for positive tensors; on a CPU, XLA has vector code for exp and log, and none for the power."""
    return ops.exp(exponent * ops.log(value)) if one_pass() else ops.power(value, exponent)


def _linear_from_srgb(value):
    """IEC 61966-2-1: the inverse of the sRGB transfer function, for numpy and for tensors."""
    if isinstance(value, np.ndarray):
        return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    # The maximum keeps the unused branch of `where` away from 0, where the power has no finite gradient.
    power = _power((ops.maximum(value, 0.04045) + 0.055) / 1.055, 2.4)
    return ops.where(value > 0.04045, power, value / 12.92)


# A uint8 channel has 256 values: a look-up is exact and needs no power.
_LINEAR_FROM_UINT8 = _linear_from_srgb(np.arange(256) / 255).astype("float32")


def _channels(image):
    return image[..., 0:1], image[..., 1:2], image[..., 2:3]


def _combine(matrix, channels):
    """Rows of a 3×3 `matrix` times three channels, as sums in float32."""
    return [sum(float(weight) * channel for weight, channel in zip(row, channels, strict=True)) for row in matrix]


def _linear_rgb(rgb):
    if ops.dtype(rgb) == "uint8":
        return ops.take(ops.convert_to_tensor(_LINEAR_FROM_UINT8), ops.cast(rgb, "int32"), axis=0)
    return _linear_from_srgb(ops.cast(rgb, "float32"))


def unit_rgb(rgb):
    """sRGB as float32 in [0, 1]: (..., 3) uint8 in [0, 255] is divided by 255, floats in [0, 1] pass."""
    rgb = ops.convert_to_tensor(rgb)
    return ops.cast(rgb, "float32") / 255 if ops.dtype(rgb) == "uint8" else ops.cast(rgb, "float32")


# Polynomial in √t for t^(1/3) from EPSILON to 1, to 0.3 % of it.
_ROOT = np.polynomial.Polynomial.fit(
    _SAMPLES := np.linspace(EPSILON**0.5, 1, 1000), _SAMPLES ** (2 / 3), 5, w=_SAMPLES ** (-2 / 3)
).convert()


def _f(t):
    """The compressed XYZ of CIE 15:2004; the maximum keeps the unused branch of `where` away from 0."""
    value = ops.maximum(t, EPSILON)
    root = _cube_root(value) if one_pass() else ops.exp(ops.log(value) / 3)
    return ops.where(t > EPSILON, root, KAPPA * t + OFFSET)


def _cube_root(value):
    """The polynomial and one step of Halley's method, which leaves the cube of an error of 0.3 %: float32 has no more digits.

    In one pass over memory this takes a third of the time of exp(log(value) / 3).
    """
    square_root, root = ops.sqrt(value), 0.0
    for coefficient in reversed(_ROOT.coef):
        root = root * square_root + float(coefficient)
    cube = root * root * root
    return root - root * (cube - value) / (2 * cube + value)


def lightness(rgb):
    """L of sRGB alone, the same as `rgb_to_lab`'s for a third of the work: (..., 3) → (..., 1) float32 in [0, 100]."""
    linear = _channels(_linear_rgb(ops.convert_to_tensor(rgb)))
    return 116 * _f(_combine(LAB_FROM_RGB[1:2], linear)[0]) - 16


# f of X, Y and Z → f(Y), f(X) - f(Y), f(Y) - f(Z) → L, a and b.
_DIFFERENCES = np.array([[0, 1, 0], [1, -1, 0], [0, 1, -1]])
_LAB_SCALE = np.array([116, 500, 200], "float32")
_LAB_SHIFT = np.array([16, 0, 0], "float32")


def _mix(matrix, image):
    """A 3×3 `matrix` times the channels of `image`, (..., 3), as a sum in float32."""
    if not one_pass():
        return ops.concatenate(_combine(matrix, _channels(image)), axis=-1)
    # The three channels stay side by side: that is vector code, and joining them pixel by pixel is not.
    columns = matrix.T.astype("float32")
    return sum(channel * column for channel, column in zip(_channels(image), columns, strict=True))


@fused
def _compressed_xyz(rgb):
    return _f(_mix(LAB_FROM_RGB, _linear_rgb(ops.convert_to_tensor(rgb))))


@fused
def _lab(compressed_xyz):
    return _mix(_DIFFERENCES, compressed_xyz) * _LAB_SCALE - _LAB_SHIFT


def rgb_to_lab(rgb):
    """sRGB to Lab.

    Args:
        rgb: (..., 3), uint8 in [0, 255] or float in [0, 1].

    Returns:
        (..., 3) float32: L in [0, 100], a and b.
    """
    return _lab(_compressed_xyz(rgb))  # two passes: in a single one each output would compute its own roots


@fused
def lab_to_rgb(lab):
    """Lab to sRGB.

    Args:
        lab: (..., 3) float: L in [0, 100], a and b.

    Returns:
        (..., 3) float32 in [0, 1]; colours that sRGB cannot show are clipped channel by channel.
    """
    lightness, a, b = _channels(ops.cast(ops.convert_to_tensor(lab), "float32"))
    fy = (lightness + 16) / 116
    fx = a / 500 + fy
    fz = ops.maximum(fy - b / 200, 0.0)  # as scikit-image: no negative Z
    xyz = [ops.where(f > F_EPSILON, f * f * f, (f - OFFSET) / KAPPA) for f in (fx, fy, fz)]
    linear = ops.concatenate(_combine(RGB_FROM_LAB, xyz), axis=-1)
    power = 1.055 * _power(ops.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return ops.clip(ops.where(linear > 0.0031308, power, 12.92 * linear), 0.0, 1.0)


def gray(rgb, weights=GRAY_BT601):
    """Weighted sum of the gamma-encoded channels: (..., 3) uint8 or float → (..., 1) float32 in [0, 1]."""
    return _combine([weights], _channels(unit_rgb(rgb)))[0]


def to_uint8(rgb):
    """sRGB in [0, 1] to uint8, rounded to the nearest level."""
    return ops.cast(ops.round(ops.clip(rgb, 0.0, 1.0) * 255), "uint8")


def _lightness(reference):
    """L of `reference`: (..., 3) RGB, or (..., 1) that is L already."""
    reference = ops.convert_to_tensor(reference)
    return ops.cast(reference, "float32") if reference.shape[-1] == 1 else rgb_to_lab(reference)[..., :1]


@dataclass(frozen=True)
class LabConvention:
    """Network input from lightness, target from ab: ``input = (L - l_shift) / l_scale``, ``target = (ab + ab_shift) / ab_scale``.

    Attributes:
        name: key in `CONVENTIONS`.
        gray_input: the network sees scikit-image's gray in [0, 1] instead of scaled L.
        channels: number of channels of the target.
    """

    name: str
    l_shift: float
    l_scale: float
    ab_shift: float
    ab_scale: float
    gray_input: bool = False
    channels: int = 2

    def encode(self, rgb):
        """(..., 3) RGB → network input (..., 1) and target (..., 2), both float32."""
        return _encode(rgb, self)

    def network_input(self, lightness, rgb=None):
        """L (..., 1) in [0, 100] → the network's input; `rgb` is needed where the input is not a function of L."""
        if self.gray_input:
            return gray(rgb, GRAY_BT709)
        return (lightness - self.l_shift) / self.l_scale

    def ab(self, prediction):
        """Prediction (..., 2) → ab in Lab units."""
        return ops.cast(prediction, "float32") * self.ab_scale - self.ab_shift

    def decode(self, reference, prediction):
        """True lightness and predicted colour → RGB.

        Args:
            reference: (..., 3) RGB, of which only L is used, or (..., 1) L in [0, 100].
            prediction: (..., 2) network output.

        Returns:
            (..., 3) float32 RGB in [0, 1].
        """
        return lab_to_rgb(ops.concatenate([_lightness(reference), self.ab(prediction)], axis=-1))


@dataclass(frozen=True)
class RgbConvention:
    """Gray in, RGB out: both ``value = [0, 1] * scale + shift``; gray by ITU-R BT.601 weights.

    Attributes:
        name: key in `CONVENTIONS`.
        channels: number of channels of the target.
    """

    name: str
    scale: float
    shift: float
    channels: int = 3

    def encode(self, rgb):
        """(..., 3) RGB → network input (..., 1) and target (..., 3), both float32."""
        rgb = unit_rgb(rgb)
        return self.network_input(None, rgb), rgb * self.scale + self.shift

    def network_input(self, lightness, rgb=None):
        """The network's input (..., 1); gray is not a function of L, so `rgb` is needed."""
        return gray(rgb) * self.scale + self.shift

    def rgb(self, prediction):
        """Prediction (..., 3) → RGB in [0, 1], clipped."""
        return ops.clip((ops.cast(prediction, "float32") - self.shift) / self.scale, 0.0, 1.0)

    def ab(self, prediction):
        """Prediction (..., 3) → ab in Lab units."""
        return rgb_to_lab(self.rgb(prediction))[..., 1:]

    def decode(self, reference, prediction, keep_lightness=False):
        """Prediction → RGB (..., 3) float32 in [0, 1]; with `keep_lightness` its L is replaced by that of `reference`."""
        if not keep_lightness:
            return self.rgb(prediction)
        return lab_to_rgb(ops.concatenate([_lightness(reference), self.ab(prediction)], axis=-1))


@fused
def _encode(rgb, convention):
    lab = rgb_to_lab(rgb)
    target = (lab[..., 1:] + convention.ab_shift) / convention.ab_scale
    return convention.network_input(lab[..., :1], rgb), target


CONVENTIONS = {
    convention.name: convention
    for convention in (
        # Matos et al. 2020, section 2.2, normalize_lab.
        LabConvention("miu", 0, 100, 128, 255),
        # Ghiotto 2021, released code; the report (section 3) says "[-1, 1]", which /128 only approaches.
        LabConvention("polychromify", 0, 1, 0, 128),
        # Acharya and Pokhrel, section 3: RGB through tanh.
        RgbConvention("yosemite", 2, -1),
        # George 2022, released code: gray, not L, is the input.
        LabConvention("places", 0, 100, 128, 255, gray_input=True),
        # Galvão et al. 2019, released code.
        LabConvention("kth", 50, 50, 0.5, 127.5),
        # Zhang et al. 2016 and 2017, public definition.
        LabConvention("zhang", 50, 100, 0, 110),
        # Matos et al. 2020, section 4, the two networks with a sigmoid RGB output.
        RgbConvention("unit_rgb", 1, 0),
    )
}
