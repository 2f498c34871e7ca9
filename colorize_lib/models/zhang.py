"""ECCV16 and SIGGRAPH17, the automatic and the user-guided colorizer of Zhang et al.

- Zhang, Isola, Efros 2016, "Colorful Image Colorization" (ECCV): `eccv16`.
- Zhang, Zhu, Isola, Geng, Lin, Yu, Efros 2017, "Real-Time User-Guided Image Colorization with Learned Deep Priors"
  (SIGGRAPH): `siggraph17`.

Both take `CONVENTIONS["zhang"]`, and sizes that are multiples of 8; built with `size=None`, they take any such size at each call,
and `predict` pads and crops photographs of all other sizes. Parameter counts include the moving statistics of batch normalization.

The arithmetic is that of the authors' public PyTorch definition, whose weights `colorize_lib.apps.public_weights` reads: strided
convolutions are padded by one pixel on each side, which "same" does not do; batch normalization follows the ReLU, with epsilon
1e-5 and momentum 0.9 (0.1 in PyTorch's way of counting); bilinear upsampling has its samples at the centres of pixels.
"""

import keras
import numpy as np
from keras import layers, ops

from colorize_lib.color import CONVENTIONS
from colorize_lib.color.bins import released_bins
from colorize_lib.errors import InputError
from colorize_lib.models import register
from colorize_lib.models.sizes import require_size, scaled

STEP = 8  # three halvings


def _input(name, size, channels, network):
    if size is not None:
        require_size(network, size, STEP)
    return keras.Input((size, size, channels), name=name)


def _convolution(x, filters, name, *, strides=1, dilation=1, activation="relu"):
    """3×3 convolution with PyTorch's symmetric padding by `dilation` pixels."""
    padding = "same"
    if strides > 1:
        x, padding = layers.ZeroPadding2D(1, name=f"{name}_pad")(x), "valid"
    return layers.Conv2D(filters, 3, strides, padding, dilation_rate=dilation, activation=activation, name=name)(x)


def _batch_norm(x, name):
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _block(x, number, filters, convolutions, *, strides=1, dilation=1):
    """Convolutions with ReLU, of which the last may be strided, then batch normalization."""
    name = f"block{number}"
    for i in range(1, convolutions + 1):
        last = i == convolutions
        x = _convolution(x, filters, f"{name}_conv{i}", strides=strides if last else 1, dilation=dilation)
    return _batch_norm(x, f"{name}_bn")


def _middle(x, width):
    """Blocks 4 to 7, which both networks share: 512 filters at an eighth of the size, blocks 5 and 6 dilated by 2."""
    for number, dilation in ((4, 1), (5, 2), (6, 2), (7, 1)):
        x = _block(x, number, scaled(512, width), 3, dilation=dilation)
    return x


def _up(x, number, filters, activation=None):
    """4×4 transposed convolution of stride 2, cropped by one pixel on each side: exactly twice the size."""
    return layers.Conv2DTranspose(filters, 4, 2, "same", activation=activation, name=f"block{number}_up")(x)


@register("eccv16", convention="zhang", paper="zhang")
def eccv16(size=256, width=1.0, centres=None, temperature=1.0):
    """Classification of each pixel at a quarter of the size, decoded to ab (Zhang et al. 2016, Fig. 2). 32,241,003 parameters.

    (size, size, 1), (L - 50) / 100 in [-0.5, 0.5] → (size, size, 2), ab / 110 in [-1, 1].

    To train it, use the logits of `classifier` with the loss `bins.BinCrossEntropy`; both networks share their weights.

    Args:
        size: a multiple of 8, or None; the paper's is 256.
        width: factor on the filters; not on the bins.
        centres: (Q, 2), ab of the bins in Lab units; None takes `bins.released_bins()`, which the public weights belong to.
        temperature: of the annealed mean (section 2.3, equation 5) in the decoder: 1 in the public definition, and so for the
            public weights; 0.38 in the paper.

    Raises:
        InputError: impossible size or width.
    """
    centres = released_bins() if centres is None else centres
    x = inputs = _input("lightness", size, 1, "eccv16")
    for number, filters, convolutions in ((1, 64, 2), (2, 128, 2), (3, 256, 3)):
        x = _block(x, number, scaled(filters, width), convolutions, strides=2)
    x = _up(_middle(x, width), 8, scaled(256, width), "relu")
    for i in (1, 2):
        x = _convolution(x, scaled(256, width), f"block8_conv{i}")
    # In float32 from here on: bfloat16 cannot distinguish the likely bins.
    x = layers.Conv2D(len(centres), 1, dtype="float32", name="class_logits")(x)
    x = layers.Rescaling(1 / temperature, dtype="float32", name="annealing")(x)
    x = layers.Softmax(dtype="float32", name="class_probabilities")(x)
    kernel = keras.initializers.Constant(np.asarray(centres)[None, None] / CONVENTIONS["zhang"].ab_scale)
    x = layers.Conv2D(
        2, 1, use_bias=False, kernel_initializer=kernel, trainable=False, dtype="float32", name="decoder"
    )(x)
    x = layers.UpSampling2D(4, interpolation="bilinear", dtype="float32", name="ab")(x)
    return keras.Model(inputs, x, name="eccv16")


def classifier(network):
    """The part of an `eccv16` up to its logits, (size / 4, size / 4, bins), which shares the weights of `network`."""
    return keras.Model(network.input, network.get_layer("class_logits").output, name=f"{network.name}_classifier")


def _subsample(x, number):
    # Pooling over one pixel keeps every second pixel, like the authors' slice with step 2.
    return layers.MaxPooling2D(1, 2, name=f"block{number}_subsample")(x)


def _joined(x, skip, number, filters):
    """Start of block `number`: the upsampled map plus the convolved block of the same size on the way down, then ReLU."""
    skip = _convolution(skip, filters, f"block{number}_skip", activation=None)
    x = layers.Add(name=f"block{number}_add")([_up(x, number, filters), skip])
    return layers.ReLU(name=f"block{number}_relu")(x)


@register("siggraph17", convention="zhang", paper="zhang")
def siggraph17(size=256, width=1.0, hints=False, classes=False):
    """User-guided colorization with local hints (Zhang et al. 2017, section 3). 34,056,834 parameters, 34,192,787 with classes.

    (size, size, 1), (L - 50) / 100 in [-0.5, 0.5] → (size, size, 2), ab / 110, in (-1, 1) through a tanh.
    With `hints` the input is the dictionary of "lightness", as above, "hints_ab" (size, size, 2), ab / 110 where the user gave a
    colour and 0 elsewhere, and "hints_mask" (size, size, 1), 1 and 0: see `hint_maps`. With `classes` the output is the
    dictionary of "ab", as above, and "class_logits" (size / 4, size / 4, 529).

    Args:
        size: a multiple of 8, or None; the paper's is 256.
        width: factor on the filters; not on the classes.
        hints: take the user's colours as inputs; False: there are none. The weights are the same.
        classes: also return logits over the 529 bins of the whole grid from -110 to 110, the paper's side task.

    Raises:
        InputError: impossible size or width.
    """
    lightness = _input("lightness", size, 1, "siggraph17")
    if hints:
        inputs = {
            "lightness": lightness,
            "hints_ab": _input("hints_ab", size, 2, "siggraph17"),
            "hints_mask": _input("hints_mask", size, 1, "siggraph17"),
        }
        x = layers.Concatenate(name="lightness_and_hints")(list(inputs.values()))
    else:
        inputs = lightness
        zero = layers.Rescaling(0.0, name="no_hints")(lightness)
        x = layers.Concatenate(name="lightness_and_hints")([lightness, zero, zero, zero])
    block1 = _block(x, 1, scaled(64, width), 2)
    block2 = _block(_subsample(block1, 1), 2, scaled(128, width), 2)
    block3 = _block(_subsample(block2, 2), 3, scaled(256, width), 3)
    x = _middle(_subsample(block3, 3), width)
    block8 = _block(_joined(x, block3, 8, scaled(256, width)), 8, scaled(256, width), 2)
    x = _block(_joined(block8, block2, 9, scaled(128, width)), 9, scaled(128, width), 1)
    x = _joined(x, block1, 10, scaled(128, width))
    x = _convolution(x, scaled(128, width), "block10_conv1", activation=None)
    x = layers.LeakyReLU(0.2, name="block10_leaky_relu")(x)
    ab = layers.Conv2D(2, 1, activation="tanh", dtype="float32", name="ab")(x)
    if not classes:
        return keras.Model(inputs, ab, name="siggraph17")
    logits = layers.Conv2D(529, 1, dtype="float32", name="class_logits")(block8)
    return keras.Model(inputs, {"ab": ab, "class_logits": logits}, name="siggraph17")


def hint_maps(points, height, width, radius=3):
    """Colours at clicked points as inputs of `siggraph17(hints=True)`.

    In training the hints were squares of 1 to 9 pixels a side (Zhang et al. 2017, section 3).

    Args:
        points: sequence of (row, column, a, b), a and b in Lab units; where squares overlap, the later point wins.
        height, width: of the network's input.
        radius: a point becomes a square of 2 radius + 1 pixels a side, cut off at the borders.

    Returns:
        "hints_ab" (1, height, width, 2) and "hints_mask" (1, height, width, 1), float32 numpy arrays.

    Raises:
        InputError: a point outside the image.
    """
    ab, mask = np.zeros((1, height, width, 2), "float32"), np.zeros((1, height, width, 1), "float32")
    for row, column, *colour in points:
        if not (0 <= row < height and 0 <= column < width):
            raise InputError(f"The hint at row {row}, column {column} is outside the image of {height}×{width} pixels.")
        square = (
            0,
            slice(max(row - radius, 0), row + radius + 1),
            slice(max(column - radius, 0), column + radius + 1),
        )
        ab[square] = np.asarray(colour) / CONVENTIONS["zhang"].ab_scale
        mask[square] = 1
    return ab, mask


def predict(network, lightness, hints_ab=None, hints_mask=None):
    """ab of images of any size, from a network that was built with `size=None`.

    Images are padded at the right and at the bottom with their last pixels to multiples of 8, and the result is cropped.

    Args:
        network: `eccv16`, or `siggraph17` without classes.
        lightness: (batch, height, width, 1), (L - 50) / 100.
        hints_ab, hints_mask: (batch or 1, height, width, 2) and (…, 1), as returned by `hint_maps`; None: no hints.

    Returns:
        (batch, height, width, 2), ab / 110.

    Raises:
        InputError: hints for a network without inputs for them.
    """
    batch, height, width, _ = lightness.shape
    margin = ((0, 0), (0, -height % STEP), (0, -width % STEP), (0, 0))
    inputs = np.pad(ops.convert_to_numpy(lightness), margin, mode="edge")
    if isinstance(network.input, dict):
        inputs = {"lightness": inputs}
        for name, value, channels in (("hints_ab", hints_ab, 2), ("hints_mask", hints_mask, 1)):
            value = np.zeros((1, 1, 1, channels), "float32") if value is None else ops.convert_to_numpy(value)
            inputs[name] = np.pad(np.broadcast_to(value, (batch, height, width, channels)), margin)
    elif hints_ab is not None or hints_mask is not None:
        raise InputError(f"This {network.name} takes no hints: build siggraph17 with hints=True.")
    return network(inputs, training=False)[:, :height, :width]
