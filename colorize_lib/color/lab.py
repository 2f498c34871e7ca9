"""sRGB ↔ CIE Lab on any Keras backend, and the papers' scalings of Lab.

Conventions: channels last. RGB is sRGB, gamma encoded: uint8 in [0, 255] or float in [0, 1]. Lab is CIE 1976 L*a*b* for the
illuminant D65 and the 2° observer: L in [0, 100]; over sRGB, a spans -86.2…98.2 and b spans -107.9…94.5. All results are float32,
also with mixed precision: bfloat16 would be wrong by up to 0.4 Lab units.

The formulas are those of the textbook. For `power`, `cube_root` and `product`, `acceleration.lab` has faster versions in compiled
training steps, in which `fused` turns a function into one pass over memory.

References: IEC 61966-2-1 (sRGB); CIE 15:2004, section 8.2.1 (Lab). The constants are scikit-image's (`skimage.color`), which is
the reference that the tests compare with.
"""

from dataclasses import dataclass

import numpy as np
from keras import ops

from colorize_lib.acceleration.kernels import fused
from colorize_lib.acceleration.lab import cube_root, power, product
from colorize_lib.errors import InputError

# Linear sRGB → XYZ (IEC 61966-2-1, D65), and its inverse.
XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
RGB_FROM_XYZ = np.linalg.inv(XYZ_FROM_RGB)
WHITE = np.array([0.95047, 1.0, 1.08883])  # D65, 2° observer
LAB_FROM_RGB = XYZ_FROM_RGB / WHITE[:, None]  # XYZ relative to white
RGB_FROM_LAB = RGB_FROM_XYZ * WHITE[None, :]  # from XYZ relative to white

# CIE 15:2004: f(t) = t^(1/3) above EPSILON, KAPPA t + 16 / 116 below.
EPSILON = 0.008856
KAPPA = 7.787
OFFSET = 16 / 116
F_EPSILON = 0.2068966  # f(EPSILON), above which the inverse is the cube

GRAY_BT709 = (0.2125, 0.7154, 0.0721)  # scikit-image's rgb2gray
GRAY_BT601 = (0.299, 0.587, 0.114)  # Pillow's, OpenCV's and TensorFlow's gray


def _linear_from_srgb(value):
    """Undo the sRGB transfer function of IEC 61966-2-1: (...) numpy array or tensor in [0, 1] → (...) in [0, 1]."""
    if isinstance(value, np.ndarray):
        return np.where(value > 0.04045, ((value + 0.055) / 1.055) ** 2.4, value / 12.92)
    # The maximum keeps the unused branch of `where` away from 0, where the gradient of the power is infinite.
    curve = power((ops.maximum(value, 0.04045) + 0.055) / 1.055, 2.4)
    return ops.where(value > 0.04045, curve, value / 12.92)


def _srgb_from_linear(linear):
    """The sRGB transfer function: (...) tensor → (...), clipped to [0, 1]."""
    curve = 1.055 * power(ops.maximum(linear, 0.0031308), 1 / 2.4) - 0.055
    return ops.clip(ops.where(linear > 0.0031308, curve, 12.92 * linear), 0.0, 1.0)


# A uint8 channel has 256 values: looking them up is exact and fast.
_LINEAR_FROM_UINT8 = _linear_from_srgb(np.arange(256) / 255).astype("float32")


def _linear_rgb(rgb):
    rgb = ops.convert_to_tensor(rgb)
    if ops.dtype(rgb) == "uint8":
        return ops.take(ops.convert_to_tensor(_LINEAR_FROM_UINT8), ops.cast(rgb, "int32"), axis=0)
    return _linear_from_srgb(ops.cast(rgb, "float32"))


def _channels(image):
    return image[..., 0:1], image[..., 1:2], image[..., 2:3]


def _weighted_sum(weights, image):
    return sum(float(weight) * channel for weight, channel in zip(weights, _channels(image), strict=True))


def sure_rgb(rgb):
    """Check that RGB is uint8, or float in [0, 1].

    Args:
        rgb: (...) array, list or tensor.

    Returns:
        Tensors, uint8 and float arrays unchanged; other integers from 0 to 255 as uint8.

    Raises:
        InputError: other types and ranges, such as floats from 0 to 255.
    """
    if not isinstance(rgb, np.ndarray | list | tuple):
        if ops.dtype(rgb) != "uint8" and "float" not in ops.dtype(rgb):
            raise InputError(f"RGB of {ops.dtype(rgb)} is not used: convert it to uint8.")
        return rgb
    rgb = np.asarray(rgb)
    if rgb.dtype == np.uint8 or rgb.size == 0:
        return rgb
    low, high = (rgb.min(), rgb.max()) if rgb.dtype.kind in "iuf" else (np.nan, np.nan)
    if rgb.dtype.kind in "iu" and low >= 0 and high <= 255:
        return rgb.astype(np.uint8)
    if rgb.dtype.kind == "f" and low >= -0.5 and high <= 1.5:  # colours outside sRGB lie a little beyond [0, 1]
        return rgb
    raise InputError(
        f"RGB of {rgb.dtype} from {low:g} to {high:g} is not used: give uint8 of 0 to 255, or float of 0 to 1."
    )


def unit_rgb(rgb):
    """sRGB as float32 in [0, 1]: (..., 3) uint8 in [0, 255] is divided by 255; floats in [0, 1] keep their values."""
    rgb = ops.convert_to_tensor(sure_rgb(rgb))
    return ops.cast(rgb, "float32") / 255 if ops.dtype(rgb) == "uint8" else ops.cast(rgb, "float32")


def _f(t):
    """f of CIE 15:2004: the cube root of t above EPSILON, and a straight line below."""
    return ops.where(t > EPSILON, cube_root(ops.maximum(t, EPSILON)), KAPPA * t + OFFSET)


def _f_inverse(f):
    return ops.where(f > F_EPSILON, f * f * f, (f - OFFSET) / KAPPA)


# L = 116 f(Y) - 16, a = 500 (f(X) - f(Y)), b = 200 (f(Y) - f(Z)), with X, Y and Z relative to white.
_DIFFERENCES = np.array([[0, 1, 0], [1, -1, 0], [0, 1, -1]])
_FACTORS = np.array([116, 500, 200], "float32")
_LIGHTNESS_OFFSET = np.array([16, 0, 0], "float32")


@fused
def _f_of_xyz(rgb):
    return _f(product(LAB_FROM_RGB, _linear_rgb(rgb)))


@fused
def _lab(f_of_xyz):
    return product(_DIFFERENCES, f_of_xyz) * _FACTORS - _LIGHTNESS_OFFSET


def rgb_to_lab(rgb):
    """Convert sRGB to Lab.

    Args:
        rgb: (..., 3), uint8 in [0, 255] or float in [0, 1]; of arrays and lists also other integers in [0, 255].

    Returns:
        (..., 3) float32: L in [0, 100], a and b.

    Raises:
        InputError: values of another range or type.
    """
    return _lab(_f_of_xyz(sure_rgb(rgb)))  # in a single pass, L, a and b would each compute their own roots


def lightness(rgb):
    """L as from `rgb_to_lab`, for a third of the work: (..., 3) → (..., 1) float32 in [0, 100]."""
    return 116 * _f(_weighted_sum(LAB_FROM_RGB[1], _linear_rgb(sure_rgb(rgb)))) - 16


@fused
def lab_to_rgb(lab):
    """Convert Lab to sRGB.

    Args:
        lab: (..., 3) float: L in [0, 100], a and b.

    Returns:
        (..., 3) float32 in [0, 1]; colours outside sRGB are clipped channel by channel.
    """
    lightness, a, b = _channels(ops.cast(ops.convert_to_tensor(lab), "float32"))
    fy = (lightness + 16) / 116
    fx = fy + a / 500
    fz = ops.maximum(fy - b / 200, 0.0)  # like scikit-image: no negative Z
    xyz = ops.concatenate([_f_inverse(f) for f in (fx, fy, fz)], axis=-1)
    return _srgb_from_linear(product(RGB_FROM_LAB, xyz))


def gray(rgb, weights=GRAY_BT601):
    """Weighted sum of the gamma-encoded channels: (..., 3) uint8 or float → (..., 1) float32 in [0, 1]."""
    return _weighted_sum(weights, unit_rgb(rgb))


def to_uint8(rgb):
    """sRGB in [0, 1] to uint8, rounded to the nearest level."""
    return ops.cast(ops.round(ops.clip(rgb, 0.0, 1.0) * 255), "uint8")


def _lightness(reference):
    """L of `reference`, which is (..., 3) RGB or already L, (..., 1)."""
    return ops.cast(reference, "float32") if np.shape(reference)[-1] == 1 else rgb_to_lab(reference)[..., :1]


def with_ab(reference, ab):
    """L of `reference`, as in `LabConvention.decode`, with ab (..., 2) in Lab units → RGB (..., 3) float32 in [0, 1]."""
    return lab_to_rgb(ops.concatenate([_lightness(reference), ab], axis=-1))


@dataclass(frozen=True)
class LabConvention:
    """Network input from lightness, target from ab: ``input = (L - l_shift) / l_scale``, ``target = (ab + ab_shift) / ab_scale``.

    Attributes:
        name: key in `CONVENTIONS`.
        gray_input: whether the network sees scikit-image's gray in [0, 1] instead of scaled L.
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
        """L (..., 1) in [0, 100] → the network's input; `rgb` is needed if the input is not a function of L."""
        if self.gray_input:
            return gray(rgb, GRAY_BT709)
        return (lightness - self.l_shift) / self.l_scale

    def ab(self, prediction):
        """Prediction (..., 2) → ab in Lab units."""
        return ops.cast(prediction, "float32") * self.ab_scale - self.ab_shift

    def decode(self, reference, prediction):
        """Join true lightness and predicted colour to RGB.

        Args:
            reference: (..., 3) RGB, of which only L is used, or (..., 1) L in [0, 100].
            prediction: (..., 2) network output.

        Returns:
            (..., 3) float32 RGB in [0, 1].
        """
        return with_ab(reference, self.ab(prediction))


@dataclass(frozen=True)
class RgbConvention:
    """Network input from gray with the weights of ITU-R BT.601, target from RGB: both are ``value * scale + shift``.

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
        return with_ab(reference, self.ab(prediction))


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
        # The second reading of its section 2.2: the input of the pretrained networks is multiplied by 255.
        LabConvention("miu_255", 0, 100 / 255, 128, 255),
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
