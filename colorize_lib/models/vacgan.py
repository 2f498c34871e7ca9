"""Networks of Galvão, Santos and Sánchez-Mateos, "Image Colorization", KTH Royal Institute of Technology, 2019.

The colorizers predict ab from L; the discriminator and the classifier see L and ab joined. All values are scaled by
`CONVENTIONS["kth"]`. Kernels are 4×4 with "same" padding, and every LeakyReLU has the slope 0.2, unless said otherwise.

Where the authors' released code differs from the report (section 4), the default is the code: its batch normalization was never
given a training flag, and so never used batch statistics (`batch_norm="frozen"`; "train" is the report); its discriminator has no
batch normalization, two strides of 1, and no sigmoid (`reading="code"`; "report" is the report); its weights start from Glorot's
uniform distribution, not from the normal one (section 5.1).
"""

import keras
from keras import layers

from colorize_lib.errors import InputError
from colorize_lib.models import register
from colorize_lib.models.sizes import require_size, scaled

# Filters, and whether dropout follows. The encoder's first step, with 64 filters at full resolution, is not listed.
UNET_ENCODER = ((128, False), (256, False), (512, False), (512, False))
GENERATOR_ENCODER = ((128, False), (256, False), (512, True), (512, True))
DECODER = ((512, True), (256, True), (128, False), (64, False))
# Filters and stride.
DISCRIMINATOR = {"code": ((64, 2), (128, 2), (256, 2), (512, 1)), "report": ((64, 2), (128, 2), (256, 2), (512, 2))}
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


def _unet(encoder, *, size, width, batch_norm, initializer, dropout, name):
    require_size(name, size, 16)
    _check(name, batch_norm, initializer)
    x = inputs = keras.Input((size, size, 1), name="lightness")
    skips = []
    for i, (filters, drops) in enumerate(((64, False), *encoder), 1):
        convolution = layers.Conv2D(
            scaled(filters, width),
            4,
            strides=1 if i == 1 else 2,
            padding="same",
            kernel_initializer=initializer,
            name=f"encoder{i}_conv",
        )
        relu = layers.LeakyReLU(0.2, name=f"encoder{i}_relu")
        x = _block(x, convolution, batch_norm, relu, f"encoder{i}")
        skips.append(x)  # before the dropout
        if drops:
            x = layers.Dropout(dropout, name=f"encoder{i}_dropout")(x)
    steps = zip(DECODER, reversed(skips[:-1]), strict=True)
    for i, ((filters, drops), skip) in enumerate(steps, 1):
        convolution = layers.Conv2DTranspose(
            scaled(filters, width),
            4,
            strides=2,
            padding="same",
            kernel_initializer=initializer,
            name=f"decoder{i}_conv",
        )
        relu = layers.ReLU(name=f"decoder{i}_relu")
        x = _block(x, convolution, batch_norm, relu, f"decoder{i}")
        if drops:
            x = layers.Dropout(dropout, name=f"decoder{i}_dropout")(x)
        x = layers.Concatenate(name=f"decoder{i}_skip")([skip, x])
    # tanh in float32: bfloat16 has 8 bits of mantissa, too few for steps of 1/127.5.
    last = dict(activation="tanh", dtype="float32", name="ab")
    ab = layers.Conv2D(2, 1, kernel_initializer=initializer, **last)(x)
    return keras.Model(inputs, ab, name=name)


@register("kth_unet", convention="kth", paper="vacgan")
def kth_unet(size=32, width=1.0, batch_norm="frozen", initializer="glorot_uniform", dropout=0.5):
    """The U-Net (section 4.1, Fig. 1), with dropout after the first two steps of the decoder. 16,659,586 parameters.

    (size, size, 1), (L - 50) / 50 in [-1, 1] → (size, size, 2), (ab + 0.5) / 127.5, in (-1, 1) through a tanh.

    Args:
        size: a multiple of 16; the paper's is 32.
        width: factor on the filters.
        batch_norm: "frozen" (the code), "train" (the report) or None.
        initializer: of the kernels, "glorot_uniform" (the code) or "glorot_normal" (the report).
        dropout: rate of the dropout layers.

    Raises:
        InputError: impossible size or width, or an unknown choice.
    """
    options = dict(batch_norm=batch_norm, initializer=initializer, dropout=dropout)
    return _unet(UNET_ENCODER, size=size, width=width, **options, name="kth_unet")


@register("kth_generator", convention="kth", paper="vacgan")
def kth_generator(size=32, width=1.0, batch_norm="frozen", initializer="glorot_uniform", dropout=0.5):
    """The generator (section 4.2): `kth_unet` with dropout also after the last two steps of the encoder. 16,659,586 parameters.

    Dropout is the generator's only noise. Inputs, outputs, arguments and errors are those of `kth_unet`.
    """
    options = dict(batch_norm=batch_norm, initializer=initializer, dropout=dropout)
    return _unet(GENERATOR_ENCODER, size=size, width=width, **options, name="kth_generator")


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
def patch_discriminator(size=32, width=1.0, reading="code", initializer="glorot_uniform"):
    """The discriminator (section 4.2). 2,764,737 parameters, 2,768,577 as in the report.

    (size, size, 3), L and ab scaled as in `kth_unet` → one number a patch, float32:
    logits (size / 8, size / 8, 1), or the report's probabilities
    (size / 32, size / 32, 1).

    Args:
        size: a multiple of 8, of 32 for the report's reading; the paper's is 32.
        width, initializer: as in `kth_unet`.
        reading: "code": two of the strides are 1, there is no batch normalization, and
            the output is logits. "report": all strides are 2, batch normalization uses
            batch statistics, and the output goes through a sigmoid. The report prints no
            numbers of filters; both readings have the code's.

    Raises:
        InputError: impossible size or width, or an unknown choice.
    """
    if reading not in DISCRIMINATOR:
        text = f'patch_discriminator takes reading "code" or "report", not {reading!r}.'
        raise InputError(text)
    of_report = reading == "report"
    require_size("patch_discriminator", size, 32 if of_report else 8)
    _check("patch_discriminator", None, initializer)
    inputs = keras.Input((size, size, 3), name="lightness_ab")
    batch_norm = "train" if of_report else None
    x = _convolutions(inputs, DISCRIMINATOR[reading], width, batch_norm, initializer)
    last = dict(padding="same", dtype="float32", name="logits")
    if of_report:
        last |= dict(strides=2, activation="sigmoid", name="probabilities")
    x = layers.Conv2D(1, 4, kernel_initializer=initializer, **last)(x)
    return keras.Model(inputs, x, name="patch_discriminator")


@register("vac_classifier", convention="kth", paper="vacgan")
def vac_classifier(size=32, width=1.0, classes=10, initializer="glorot_uniform"):
    """The versatile auxiliary classifier (section 4.3). 1,748,682 parameters for size 32 and 10 classes.

    (size, size, 3), L and ab scaled as in `kth_unet` → logits (classes,), float32.

    Args:
        size: a multiple of 8; the paper's is 32.
        width, initializer: as in `kth_unet`.
        classes: number of classes; CIFAR-10 has 10.

    Raises:
        InputError: impossible size or width, or an unknown initializer.
    """
    require_size("vac_classifier", size, 8)
    _check("vac_classifier", None, initializer)
    inputs = keras.Input((size, size, 3), name="lightness_ab")
    x = layers.Flatten(name="flatten")(_convolutions(inputs, CLASSIFIER, width, None, initializer))
    logits = layers.Dense(classes, kernel_initializer=initializer, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="vac_classifier")
