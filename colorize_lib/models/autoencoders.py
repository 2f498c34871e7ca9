"""Networks of Matos, Tezare and Zere, "Image Colorization for Grayscale Images", Maharishi International University, 2020.

The first three networks predict ab from L as `CONVENTIONS["miu"]` scales them: input L / 100, (size, size, 1); output
(ab + 128) / 255, (size, size, 2), through a tanh, (-1, 1). The last two predict RGB from gray, both in [0, 1]
(`CONVENTIONS["unit_rgb"]`), through a sigmoid. All convolutions have 3×3 kernels, "same" padding and ReLU unless said.

Parameter counts at width 1 (section 4, "Experiments", where the listings are): autoencoder 6,219,410; resnet50_autoencoder
23,879,738, of which 23,587,712 in ResNet50; vgg16_features 14,714,688 (frozen); vgg16_decoder 1,572,114; pix2pix_unet
10,467,779; dropout_autoencoder 3,431,811 at size 32.

The pretrained networks are those of `keras.applications`, whose filters are fixed: `width` narrows what the paper adds to
them, not them. They see L / 100 repeated to three channels, as the printed code passes it, and not the centred and
rescaled RGB that they were trained on.
"""

import os
from pathlib import Path

import keras
from keras import layers

from colorize_lib.errors import InputError
from colorize_lib.models import register
from colorize_lib.models.sizes import require_size, scaled


def _convolution(filters, name, kernel=3, strides=1, padding="same"):
    return layers.Conv2D(filters, kernel, strides, padding, activation="relu", name=name)


def _ab():
    # In float32 under mixed precision, as every layer after it: bfloat16 is coarser than the 1/255 steps of ab.
    return layers.Conv2D(2, 3, padding="same", activation="tanh", dtype="float32", name="ab")


def _pretrained(application, size, weights):
    """`keras.applications` network without its classifier.

    Args:
        application: `keras.applications.ResNet50` or `keras.applications.VGG16`.
        size: height and width of its input, which has 3 channels.
        weights: "imagenet", None (random), or the path of a Keras weights file of this network without its classifier, or of
            a folder that holds it under Keras' name.

    Raises:
        InputError: "imagenet" is neither cached nor to be had, or the file is missing or another network's.
    """
    name = application.__name__
    file = f"{name.lower()}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    if weights not in ("imagenet", None):
        weights = Path(weights) / file if Path(weights).is_dir() else Path(weights)
        if not weights.is_file():
            raise InputError(f'There is no weights file {weights}: weights takes "imagenet", None or a path to it.')
    try:
        return application(include_top=False, weights=weights, input_shape=(size, size, 3), name=name.lower())
    except Exception as error:  # a failed download raises Exception itself
        if weights is None:
            raise
        if weights == "imagenet":
            folder = Path(os.environ.get("KERAS_HOME", "~/.keras")) / "models"
            raise InputError(
                f"The ImageNet weights of {name} are not on this machine and cannot be downloaded: put {file} into {folder}, "
                "or give the file's path as weights, or run with random ones by weights=None (BACKBONE_WEIGHTS=random in the "
                "notebook)."
            ) from error
        raise InputError(
            f"Cannot load {weights}: it is not a Keras weights file of {name} without its classifier (include_top=False)."
        ) from error


def _three_channels(x):
    return layers.Concatenate(name="repeat")([x, x, x])


@register("autoencoder", convention="miu", paper="autoencoders")
def autoencoder(size=256, width=1.0):
    """The plain autoencoder, the report's best; `size` is a multiple of 8."""
    require_size("autoencoder", size, 8)
    x = inputs = keras.Input((size, size, 1), name="lightness")

    x = _convolution(scaled(64, width), "encoder1_conv", strides=2)(x)
    x = _convolution(scaled(128, width), "encoder2_conv")(x)
    x = _convolution(scaled(128, width), "encoder3_conv", strides=2)(x)
    x = _convolution(scaled(256, width), "encoder4_conv")(x)
    x = _convolution(scaled(256, width), "encoder5_conv", strides=2)(x)
    x = _convolution(scaled(512, width), "encoder6_conv")(x)

    x = _convolution(scaled(512, width), "decoder1_conv")(x)
    x = _convolution(scaled(256, width), "decoder2_conv")(x)
    x = _convolution(scaled(128, width), "decoder3_conv")(x)
    x = layers.UpSampling2D(2, name="decoder3_upsample")(x)
    x = _convolution(scaled(64, width), "decoder4_conv")(x)
    x = layers.UpSampling2D(2, name="decoder4_upsample")(x)
    x = _convolution(scaled(32, width), "decoder5_conv")(x)
    x = _convolution(scaled(16, width), "decoder6_conv")(x)
    x = _ab()(x)
    x = layers.UpSampling2D(2, dtype="float32", name="ab_upsample")(x)
    return keras.Model(inputs, x, name="autoencoder")


@register("resnet50_autoencoder", convention="miu", paper="autoencoders")
def resnet50_autoencoder(size=300, width=1.0, freeze_backbone=False, weights="imagenet"):
    """ResNet50 on the twice enlarged L, and a convolutional head.

    The printed listing cannot run (`UpSampling3D` on a 4-D input); this reading has the printed input and output shapes. Its
    "frozen" flag is set on an upsampling layer, so what was trained is the whole network.

    Args:
        size: a multiple of 30 up to 450, so that the head's ×30 upsampling returns to it.
        width: factor on the head's filters.
        freeze_backbone: False trains ResNet50 too, as the printed code does; True is what the report says.
        weights: "imagenet", None (random), or the path of a weights file of ResNet50 without its classifier, or of its folder.

    Raises:
        InputError: impossible size; weights that cannot be had.
    """
    require_size("resnet50_autoencoder", size, 30, 450)
    backbone = _pretrained(keras.applications.ResNet50, 2 * size, weights)
    backbone.trainable = not freeze_backbone
    x = inputs = keras.Input((size, size, 1), name="lightness")
    x = _three_channels(layers.UpSampling2D(2, name="enlarge")(x))
    x = backbone(x)
    x = layers.UpSampling2D(4, name="backbone_upsample")(x)

    x = _convolution(scaled(8, width), "head1_conv", kernel=4, strides=2, padding="valid")(x)
    x = _convolution(scaled(16, width), "head2_conv", kernel=4)(x)
    x = _convolution(scaled(16, width), "head3_conv", strides=2)(x)
    x = _convolution(scaled(32, width), "head4_conv")(x)
    x = _convolution(scaled(32, width), "head5_conv", strides=2)(x)
    x = layers.UpSampling2D(2, name="head5_upsample")(x)
    x = _convolution(scaled(32, width), "head6_conv")(x)
    x = layers.UpSampling2D(3, name="head6_upsample")(x)
    x = _convolution(scaled(16, width), "head7_conv", kernel=2)(x)
    x = layers.UpSampling2D(5, name="head7_upsample")(x)
    return keras.Model(inputs, _ab()(x), name="resnet50_autoencoder")


@register("vgg16_features", convention="miu", paper="autoencoders")
def vgg16_features(size=224, weights="imagenet"):
    """The first 19 layers of VGG16, to `block5_pool`, frozen: L / 100, (size, size, 1) → (size / 32, size / 32, 512), float32.

    `keras.Sequential([vgg16_features(), vgg16_decoder()])` is the whole colorizer.

    Args:
        size: a multiple of 32.
        weights: "imagenet", None (random), or the path of a weights file of VGG16 without its classifier, or of its folder.

    Raises:
        InputError: impossible size; weights that cannot be had.
    """
    require_size("vgg16_features", size, 32)
    backbone = _pretrained(keras.applications.VGG16, size, weights)
    inputs = keras.Input((size, size, 1), name="lightness")
    outputs = layers.Activation("linear", dtype="float32", name="features")(backbone(_three_channels(inputs)))
    model = keras.Model(inputs, outputs, name="vgg16_features")
    model.trainable = False
    return model


@register("vgg16_decoder", convention="miu", paper="autoencoders")
def vgg16_decoder(size=224, width=1.0):
    """Decoder of VGG16's features, (size / 32, size / 32, 512), to ab, (size, size, 2); `size` is a multiple of 32."""
    require_size("vgg16_decoder", size, 32)
    x = inputs = keras.Input((size // 32, size // 32, 512), name="features")

    x = _convolution(scaled(256, width), "decoder1_conv")(x)
    x = _convolution(scaled(128, width), "decoder2_conv")(x)
    x = layers.UpSampling2D(2, name="decoder2_upsample")(x)
    x = _convolution(scaled(64, width), "decoder3_conv")(x)
    x = layers.UpSampling2D(2, name="decoder3_upsample")(x)
    x = _convolution(scaled(32, width), "decoder4_conv")(x)
    x = layers.UpSampling2D(2, name="decoder4_upsample")(x)
    x = _convolution(scaled(16, width), "decoder5_conv")(x)
    x = layers.UpSampling2D(2, name="decoder5_upsample")(x)
    x = _ab()(x)
    x = layers.UpSampling2D(2, dtype="float32", name="ab_upsample")(x)
    return keras.Model(inputs, x, name="vgg16_decoder")


@register("pix2pix_unet", convention="unit_rgb", paper="autoencoders")
def pix2pix_unet(size=256, width=1.0):
    """U-Net from gray to RGB with 4×4 kernels, seven levels and six skips; `size` is a multiple of 128."""
    require_size("pix2pix_unet", size, 128)
    x = inputs = keras.Input((size, size, 1), name="gray")
    skips = []
    for i, factor in enumerate((1, 2, 4, 8, 8, 8, 8), 1):
        x = layers.Conv2D(scaled(32 * factor, width), 4, 2, padding="same", name=f"down{i}_conv")(x)
        x = layers.LeakyReLU(0.2, name=f"down{i}_relu")(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"down{i}_bn")(x)
        skips.append(x)
    for i, skip in enumerate(reversed(skips[:-1]), 1):
        x = layers.UpSampling2D(2, name=f"up{i}_upsample")(x)
        x = _convolution(skip.shape[-1], f"up{i}_conv", kernel=4)(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"up{i}_bn")(x)
        x = layers.Concatenate(name=f"up{i}_skip")([x, skip])
    x = layers.UpSampling2D(2, name="up7_upsample")(x)
    x = layers.Conv2D(3, 4, padding="same", activation="sigmoid", dtype="float32", name="rgb")(x)
    return keras.Model(inputs, x, name="pix2pix_unet")


@register("dropout_autoencoder", convention="unit_rgb", paper="autoencoders")
def dropout_autoencoder(size=32, width=1.0, dropout=0.2):
    """The second autoencoder, from gray to RGB through a dense latent vector.

    The report prints no layers. The network is the one that it cites (its reference 6: Atienza's colorization autoencoder for
    CIFAR-10); the "dropout layer" that it adds "against overfitting" (section 5) acts here on the latent vector, at the rate
    0.2 of the article that it cites for it (its reference 9).

    Args:
        size: a multiple of 8; the two dense layers grow with its square.
        width: factor on the filters and on the latent dimensions.
        dropout: rate, 0 ≤ dropout < 1; 0 is the cited original.

    Raises:
        InputError: impossible size or rate.
    """
    require_size("dropout_autoencoder", size, 8)
    if not 0 <= dropout < 1:
        raise InputError(f"The dropout of dropout_autoencoder must be at least 0 and below 1, not {dropout}.")
    x = inputs = keras.Input((size, size, 1), name="gray")
    for i, filters in enumerate((64, 128, 256), 1):
        x = _convolution(scaled(filters, width), f"encoder{i}_conv", strides=2)(x)
    shape = x.shape[1:]
    x = layers.Dense(scaled(256, width), name="latent_dense")(layers.Flatten(name="flatten")(x))
    if dropout:
        x = layers.Dropout(dropout, name="latent_dropout")(x)
    x = layers.Dense(shape[0] * shape[1] * shape[2], name="decoder_dense")(x)
    x = layers.Reshape(shape, name="reshape")(x)
    for i, filters in enumerate((256, 128, 64), 1):
        x = layers.Conv2DTranspose(
            scaled(filters, width), 3, 2, padding="same", activation="relu", name=f"decoder{i}_conv"
        )(x)
    # Transposed with stride 1, as in the cited code.
    outputs = layers.Conv2DTranspose(3, 3, padding="same", activation="sigmoid", dtype="float32", name="rgb")(x)
    return keras.Model(inputs, outputs, name="dropout_autoencoder")
