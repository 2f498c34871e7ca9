"""Networks of Galvão, Santos and Sánchez-Mateos, "Image Colorization", KTH Royal Institute of Technology, 2019.

The colorizers take L, (size, size, 1), and give ab, (size, size, 2), through a tanh, (-1, 1), both as `CONVENTIONS["kth"]`
scales them. The discriminator and the classifier take L and ab joined, (size, size, 3), and give logits. All kernels are 4×4
with "same" padding, and all LeakyReLU have slope 0.2, unless said.

Parameter counts at width 1 and size 32: kth_unet and kth_generator 16,659,586; patch_discriminator 2,764,737;
vac_classifier 1,748,682.

The layer lists follow the authors' released code where it differs from the report (section 4): its batch normalization never
saw a training flag, so that it never used batch statistics (`batch_norm="frozen"`; the report's reading is "train"), its
discriminator has none, and its weights start from Glorot's uniform distribution, not from the normal one (section 5.1).
"""

import keras
from keras import layers

from colorize_lib.errors import InputError
from colorize_lib.models import register
from colorize_lib.models.sizes import require_size, scaled

# (filters, dropout): encoder steps after the first, full-resolution one, which has 64 filters; decoder steps.
UNET_ENCODER = ((128, 0.0), (256, 0.0), (512, 0.0), (512, 0.0))
GENERATOR_ENCODER = ((128, 0.0), (256, 0.0), (512, 0.5), (512, 0.5))
DECODER = ((512, 0.5), (256, 0.5), (128, 0.0), (64, 0.0))
# (filters, stride)
DISCRIMINATOR = ((64, 2), (128, 2), (256, 2), (512, 1))
CLASSIFIER = ((64, 2), (128, 2), (256, 2), (256, 1))


NORMALIZATIONS = ("frozen", "train", None)


def _normalized(x, batch_norm, name):
    if batch_norm is None:
        return x
    layer = layers.BatchNormalization(name=name)
    x = layer(x)
    if batch_norm == "frozen":
        # Keras' own switch for statistics that stay 0 and 1. It freezes scale and offset too, which the code trains.
        layer.trainable = False
        layer.gamma.trainable = layer.beta.trainable = True
    return x


def _check(name, batch_norm, initializer):
    if batch_norm not in NORMALIZATIONS:
        raise InputError(f'{name} takes batch_norm "frozen", "train" or None, not {batch_norm!r}.')
    if initializer not in ("glorot_uniform", "glorot_normal"):
        raise InputError(f'{name} takes initializer "glorot_uniform" or "glorot_normal", not {initializer!r}.')


def _block(x, layer, batch_norm, activation, name):
    """Convolution `layer`, normalization, activation."""
    return activation(_normalized(layer(x), batch_norm, f"{name}_bn"))


def _unet(encoder, *, size, width, batch_norm, initializer, name):
    require_size(name, size, 16)
    _check(name, batch_norm, initializer)
    x = inputs = keras.Input((size, size, 1), name="lightness")
    skips = []
    for i, (filters, dropout) in enumerate(((64, 0.0), *encoder), 1):
        convolution = layers.Conv2D(
            scaled(filters, width),
            4,
            strides=1 if i == 1 else 2,
            padding="same",
            kernel_initializer=initializer,
            name=f"encoder{i}_conv",
        )
        x = _block(x, convolution, batch_norm, layers.LeakyReLU(0.2, name=f"encoder{i}_relu"), f"encoder{i}")
        skips.append(x)  # before the dropout
        if dropout:
            x = layers.Dropout(dropout, name=f"encoder{i}_dropout")(x)
    for i, ((filters, dropout), skip) in enumerate(zip(DECODER, reversed(skips[:-1]), strict=True), 1):
        convolution = layers.Conv2DTranspose(
            scaled(filters, width),
            4,
            strides=2,
            padding="same",
            kernel_initializer=initializer,
            name=f"decoder{i}_conv",
        )
        x = _block(x, convolution, batch_norm, layers.ReLU(name=f"decoder{i}_relu"), f"decoder{i}")
        if dropout:
            x = layers.Dropout(dropout, name=f"decoder{i}_dropout")(x)
        x = layers.Concatenate(name=f"decoder{i}_skip")([skip, x])
    # tanh in float32: bfloat16 has 8 bits of mantissa, coarser than the 1/127.5 steps of ab.
    ab = layers.Conv2D(2, 1, activation="tanh", kernel_initializer=initializer, dtype="float32", name="ab")(x)
    return keras.Model(inputs, ab, name=name)


@register("kth_unet", convention="kth", paper="vacgan")
def kth_unet(size=32, width=1.0, batch_norm="frozen", initializer="glorot_uniform"):
    """The U-Net of section 4.1 (Fig. 1): dropout 0.5 after the first two steps of the decoder.

    Args:
        size: a multiple of 16.
        width: factor on the filters.
        batch_norm: "frozen" (the code), "train" (the report) or None.
        initializer: of the kernels, "glorot_uniform" (the code) or "glorot_normal" (the report).

    Raises:
        InputError: an impossible size, or an unknown choice.
    """
    return _unet(UNET_ENCODER, size=size, width=width, batch_norm=batch_norm, initializer=initializer, name="kth_unet")


@register("kth_generator", convention="kth", paper="vacgan")
def kth_generator(size=32, width=1.0, batch_norm="frozen", initializer="glorot_uniform"):
    """The generator of section 4.2: `kth_unet` with dropout 0.5 after the last two steps of the encoder as well.

    Dropout is the generator's only noise. Arguments and errors as `kth_unet`.
    """
    return _unet(
        GENERATOR_ENCODER, size=size, width=width, batch_norm=batch_norm, initializer=initializer, name="kth_generator"
    )


def _convolutions(x, steps, width, batch_norm, initializer):
    for i, (filters, strides) in enumerate(steps, 1):
        convolution = layers.Conv2D(
            scaled(filters, width),
            4,
            strides,
            padding="same",
            kernel_initializer=initializer,
            name=f"block{i}_conv",
        )
        x = _block(x, convolution, batch_norm, layers.LeakyReLU(0.2, name=f"block{i}_relu"), f"block{i}")
    return x


@register("patch_discriminator", convention="kth", paper="vacgan")
def patch_discriminator(size=32, width=1.0, batch_norm=None, initializer="glorot_uniform"):
    """The discriminator of section 4.2: L and ab, (size, size, 3) → a logit for each patch, (size / 8, size / 8, 1), float32.

    Args:
        size: a multiple of 8.
        width, initializer: as `kth_unet`.
        batch_norm: None (the code), "train" (the report) or "frozen".

    Raises:
        InputError: an impossible size, or an unknown choice.
    """
    require_size("patch_discriminator", size, 8)
    _check("patch_discriminator", batch_norm, initializer)
    inputs = keras.Input((size, size, 3), name="lightness_ab")
    x = _convolutions(inputs, DISCRIMINATOR, width, batch_norm, initializer)
    logits = layers.Conv2D(1, 4, padding="same", kernel_initializer=initializer, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="patch_discriminator")


@register("vac_classifier", convention="kth", paper="vacgan")
def vac_classifier(size=32, width=1.0, classes=10, initializer="glorot_uniform"):
    """The versatile auxiliary classifier of section 4.3: L and ab, (size, size, 3) → logits (classes,), float32.

    Args:
        size: a multiple of 8.
        width, initializer: as `kth_unet`.
        classes: number of classes; 10 in CIFAR-10.

    Raises:
        InputError: an impossible size, or an unknown initializer.
    """
    require_size("vac_classifier", size, 8)
    _check("vac_classifier", None, initializer)
    inputs = keras.Input((size, size, 3), name="lightness_ab")
    x = layers.Flatten(name="flatten")(_convolutions(inputs, CLASSIFIER, width, None, initializer))
    logits = layers.Dense(classes, kernel_initializer=initializer, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="vac_classifier")
