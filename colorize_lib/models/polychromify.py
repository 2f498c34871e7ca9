"""Networks of Ghiotto, "Polychromify: Deep Convolutional Autoencoder for Fully-automatic Image Colorization", 2021.

Input: L, (size, size, 1), unscaled, [0, 100]. Output: ab / 128, (size, size, 2 or 1), tanh, (-1, 1)
(`CONVENTIONS["polychromify"]`). All convolutions have 3×3 kernels, "same" padding and ReLU unless said; dense layers act on
each position of the feature map (section 4, "Encoder": dense layers between the convolutional halves).

Parameter counts at width 1: cnn 93,826; polychromify and polychromify_overfit 1,084,802; polychromify_a and
polychromify_b 1,084,737 each. The layer lists follow the author's released code where the report leaves them open.
"""

import keras
from keras import layers

from colorize_lib.acceleration.layers import BatchNormalization, Conv2D, Dense
from colorize_lib.models import register
from colorize_lib.models.sizes import scaled

# Section 5, "Size of network": encoder convolutions, dense layers, decoder convolutions.
S1 = ((32, 64, 128), (128, 64, 128), (128, 64, 32))
S2 = ((32, 64, 128, 256), (128, 64, 32, 64, 128), (256, 128, 64, 32))


def _convolution(x, filters, name, strides=1, upsampling=1):
    return Conv2D(filters, 3, strides, padding="same", activation="relu", upsampling=upsampling, name=name)(x)


def _output(x, channels, upsampling=1):
    # tanh in float32: bfloat16 has 8 bits of mantissa, coarser than the 1/128 steps of ab.
    options = dict(padding="same", activation="tanh", upsampling=upsampling, dtype="float32")
    return Conv2D(channels, 1, name="ab", **options)(x)


def _autoencoder(sizes, *, size, width, strided=True, batch_norm=True, dropout=0.0, channels=2, name):
    """Encoder convolutions, per-position dense bottleneck, decoder convolutions, 1×1 tanh output; where the encoder has strides,
    nearest-neighbour upsampling after each convolution of the decoder."""
    encoder, dense, decoder = sizes
    x = inputs = keras.Input((size, size, 1), name="lightness")
    for i, filters in enumerate(encoder, 1):
        x = _convolution(x, scaled(filters, width), f"encoder{i}_conv", strides=2 if strided else 1)
    if batch_norm:
        x = BatchNormalization(name="encoder_bn")(x)
    for i, units in enumerate(dense, 1):
        x = Dense(scaled(units, width), activation="relu", name=f"bottleneck{i}_dense")(x)
        if dropout and i < len(dense):  # between the dense layers
            x = layers.Dropout(dropout, name=f"bottleneck{i}_dropout")(x)
    if batch_norm:
        x = BatchNormalization(name="decoder_bn")(x)
    factor = 2 if strided else 1
    for i, filters in enumerate(decoder, 1):
        x = _convolution(x, scaled(filters, width), f"decoder{i}_conv", upsampling=1 if i == 1 else factor)
    return keras.Model(inputs, _output(x, channels, factor), name=name)


@register("cnn", convention="polychromify", paper="polychromify")
def cnn(size=64, width=1.0):
    """Reference CNN of Table 2: convolutions 32, 64, 128, each with batch normalization, at full resolution."""
    x = inputs = keras.Input((size, size, 1), name="lightness")
    for i, filters in enumerate((32, 64, 128), 1):
        x = _convolution(x, scaled(filters, width), f"block{i}_conv")
        x = BatchNormalization(name=f"block{i}_bn")(x)
    return keras.Model(inputs, _output(x, 2), name="cnn")


def _final(size, width, *, dropout=0.5, channels=2, name):
    sizes = ((64, 128, 256), (128, 64, 128), (256, 128, 64))
    return _autoencoder(sizes, size=size, width=width, dropout=dropout, channels=channels, name=name)


@register("polychromify", convention="polychromify", paper="polychromify")
def polychromify(size=64, width=1.0):
    """The final model (section 4, Fig. 2): strided 64-128-256 encoder, dense 128-64-128 with dropout 0.5, mirrored decoder."""
    return _final(size, width, name="polychromify")


@register("polychromify_overfit", convention="polychromify", paper="polychromify")
def polychromify_overfit(size=64, width=1.0):
    """The final model without dropout, trained for 50 epochs in the paper (Fig. 4, blue and orange)."""
    return _final(size, width, dropout=0.0, name="polychromify_overfit")


@register("polychromify_a", convention="polychromify", paper="polychromify")
def polychromify_a(size=64, width=1.0):
    """PolychromifyA (Fig. 3): the final model with one output, the a channel."""
    return _final(size, width, channels=1, name="polychromify_a")


@register("polychromify_b", convention="polychromify", paper="polychromify")
def polychromify_b(size=64, width=1.0):
    """PolychromifyB (Fig. 3): the final model with one output, the b channel."""
    return _final(size, width, channels=1, name="polychromify_b")


# Table 1. v5 is v4 trained for 50 epochs: the same network.
_VERSIONS = {
    1: dict(sizes=S1, strided=False, batch_norm=False),
    2: dict(sizes=S2, strided=False, batch_norm=False),
    3: dict(sizes=S1, batch_norm=False),
    4: dict(sizes=S1),
    5: dict(sizes=S1),
    6: dict(sizes=S1, dropout=0.5),
}


def _register_version(number, options):
    @register(f"polychromify_v{number}", convention="polychromify", paper="polychromify")
    def version(size=64, width=1.0):
        return _autoencoder(**options, size=size, width=width, name=f"polychromify_v{number}")

    version.__doc__ = f"Row v{number} of Table 1."


for _number, _options in _VERSIONS.items():
    _register_version(_number, _options)
