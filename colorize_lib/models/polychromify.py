"""Networks of Ghiotto, "Polychromify: Deep Convolutional Autoencoder for Fully-automatic Image Colorization", 2021.

Input and output are scaled by `CONVENTIONS["polychromify"]`. All convolutions have 3×3 kernels, "same" padding and ReLU unless
said otherwise; dense layers act on each position of the feature map (section 4, "Encoder"). The layers follow the author's
released code where the report leaves them open.
"""

import keras
from keras import layers

from colorize_lib.models import register
from colorize_lib.models.sizes import require_size, scaled


def _convolution(filters, name, strides=1):
    return layers.Conv2D(filters, 3, strides, padding="same", activation="relu", name=name)


def _dense(units, name):
    return layers.Dense(units, activation="relu", name=name)


def _output(channels):
    # In float32 under mixed precision: bfloat16 has 8 bits of mantissa, coarser than the 1/128 steps of ab.
    return layers.Conv2D(channels, 1, padding="same", activation="tanh", dtype="float32", name="ab")


@register("cnn", convention="polychromify", paper="polychromify")
def cnn(size=64, width=1.0):
    """Reference CNN of Table 2: three convolutions at full resolution, each with batch normalization. 93,826 parameters.

    (size, size, 1), L in [0, 100] → (size, size, 2), ab / 128, in (-1, 1) through a tanh.

    Args:
        size: pixels; the paper's is 64.
        width: factor on the filters.

    Raises:
        InputError: impossible width.
    """
    x = inputs = keras.Input((size, size, 1), name="lightness")
    for i, filters in enumerate((32, 64, 128), 1):
        x = _convolution(scaled(filters, width), f"block{i}_conv")(x)
        x = layers.BatchNormalization(name=f"block{i}_bn")(x)
    return keras.Model(inputs, _output(2)(x), name="cnn")


def _final(size, width, *, dropout=0.5, channels=2, name):
    """Section 4, Fig. 2: strided encoder, dense bottleneck, upsampling decoder."""
    if size is not None:
        require_size(name, size, 8)
    x = inputs = keras.Input((size, size, 1), name="lightness")

    x = _convolution(scaled(64, width), "encoder1_conv", strides=2)(x)
    x = _convolution(scaled(128, width), "encoder2_conv", strides=2)(x)
    x = _convolution(scaled(256, width), "encoder3_conv", strides=2)(x)
    x = layers.BatchNormalization(name="encoder_bn")(x)

    x = _dense(scaled(128, width), "bottleneck1_dense")(x)
    if dropout:
        x = layers.Dropout(dropout, name="bottleneck1_dropout")(x)
    x = _dense(scaled(64, width), "bottleneck2_dense")(x)
    if dropout:
        x = layers.Dropout(dropout, name="bottleneck2_dropout")(x)
    x = _dense(scaled(128, width), "bottleneck3_dense")(x)
    x = layers.BatchNormalization(name="decoder_bn")(x)

    x = _convolution(scaled(256, width), "decoder1_conv")(x)
    x = layers.UpSampling2D(2, name="decoder1_upsample")(x)
    x = _convolution(scaled(128, width), "decoder2_conv")(x)
    x = layers.UpSampling2D(2, name="decoder2_upsample")(x)
    x = _convolution(scaled(64, width), "decoder3_conv")(x)
    x = layers.UpSampling2D(2, name="decoder3_upsample")(x)
    return keras.Model(inputs, _output(channels)(x), name=name)


@register("polychromify", convention="polychromify", paper="polychromify")
def polychromify(size=64, width=1.0):
    """The final model (section 4, Fig. 2), with dropout 0.5 between the dense layers.
    1,084,802 parameters.

    (size, size, 1), L in [0, 100] → (size, size, 2), ab / 128, in (-1, 1) through a tanh.

    Args:
        size: a multiple of 8, or None for any such size at each call; the paper's is 64.
        width: factor on the filters.

    Raises:
        InputError: impossible size or width.
    """
    return _final(size, width, name="polychromify")


@register("polychromify_overfit", convention="polychromify", paper="polychromify")
def polychromify_overfit(size=64, width=1.0):
    """The final model without dropout, trained for 50 epochs in the paper (Fig. 4, blue and orange). 1,084,802 parameters.

    Inputs, outputs, arguments and errors are those of `polychromify`.
    """
    return _final(size, width, dropout=0.0, name="polychromify_overfit")


@register("polychromify_a", convention="polychromify", paper="polychromify")
def polychromify_a(size=64, width=1.0):
    """PolychromifyA (Fig. 3): `polychromify` with the single output a / 128, (size, size, 1). 1,084,737 parameters."""
    return _final(size, width, channels=1, name="polychromify_a")


@register("polychromify_b", convention="polychromify", paper="polychromify")
def polychromify_b(size=64, width=1.0):
    """PolychromifyB (Fig. 3): `polychromify` with the single output b / 128, (size, size, 1). 1,084,737 parameters."""
    return _final(size, width, channels=1, name="polychromify_b")


# Section 5, "Size of network": encoder convolutions, dense layers, decoder convolutions.
S1 = ((32, 64, 128), (128, 64, 128), (128, 64, 32))
S2 = ((32, 64, 128, 256), (128, 64, 32, 64, 128), (256, 128, 64, 32))


def _version(sizes, *, size, width, strided=True, batch_norm=True, dropout=0.0, name):
    """A row of Table 1: as `_final`, with other sizes, and without some of its parts."""
    encoder, dense, decoder = sizes
    if strided and size is not None:
        require_size(name, size, 2 ** len(encoder))
    x = inputs = keras.Input((size, size, 1), name="lightness")
    for i, filters in enumerate(encoder, 1):
        x = _convolution(scaled(filters, width), f"encoder{i}_conv", strides=2 if strided else 1)(x)
    if batch_norm:
        x = layers.BatchNormalization(name="encoder_bn")(x)
    for i, units in enumerate(dense, 1):
        x = _dense(scaled(units, width), f"bottleneck{i}_dense")(x)
        if dropout and i < len(dense):  # between the dense layers
            x = layers.Dropout(dropout, name=f"bottleneck{i}_dropout")(x)
    if batch_norm:
        x = layers.BatchNormalization(name="decoder_bn")(x)
    for i, filters in enumerate(decoder, 1):
        x = _convolution(scaled(filters, width), f"decoder{i}_conv")(x)
        if strided:
            x = layers.UpSampling2D(2, name=f"decoder{i}_upsample")(x)
    return keras.Model(inputs, _output(2)(x), name=name)


# Table 1, with the number of parameters. v5 is the same network as v4, trained for 50 epochs.
_VERSIONS = {
    1: (365_666, dict(sizes=S1, strided=False, batch_norm=False)),
    2: (1_124_034, dict(sizes=S2, strided=False, batch_norm=False)),
    3: (365_666, dict(sizes=S1, batch_norm=False)),
    4: (366_690, dict(sizes=S1)),
    5: (366_690, dict(sizes=S1)),
    6: (366_690, dict(sizes=S1, dropout=0.5)),
}


def _register_version(number, count, options):
    @register(f"polychromify_v{number}", convention="polychromify", paper="polychromify")
    def version(size=64, width=1.0):
        return _version(**options, size=size, width=width, name=f"polychromify_v{number}")

    version.__doc__ = f"""Row v{number} of Table 1 (section 5). {count:,} parameters.

    Inputs, outputs, arguments and errors are those of `polychromify`, except that v1 and v2 take any size.
    """


for _number, (_count, _options) in _VERSIONS.items():
    _register_version(_number, _count, _options)
