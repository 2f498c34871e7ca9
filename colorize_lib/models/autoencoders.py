"""Networks of Matos, Tezare and Zere, "Image Colorization for Grayscale Images", Maharishi International University, 2020.

The listings are in section 4, "Experiments", and each builder has the layers of one of them, in the same order. Three networks
predict ab from L (`CONVENTIONS["miu"]`), two predict RGB from gray (`CONVENTIONS["unit_rgb"]`). All convolutions have 3×3
kernels, "same" padding and ReLU unless said otherwise.

The pretrained networks are those of `keras.applications`, whose filters are fixed: `width` narrows only what the paper adds to
them. They see L / 100 repeated to three channels, as in the printed code, and not the centred and rescaled RGB that they were
trained on.
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
    # In float32 under mixed precision, like every layer after it: bfloat16 is coarser than the 1/255 steps of ab.
    return layers.Conv2D(2, 3, padding="same", activation="tanh", dtype="float32", name="ab")


def _pretrained(application, size, weights):
    """`application` of `keras.applications`, ResNet50 or VGG16, without its classifier, for (size, size, 3) inputs.

    `weights` and the errors are those of `resnet50_autoencoder`.
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
    """The plain autoencoder, which the report finds best (section 4, first listing).
    6,219,410 parameters.

    (size, size, 1), L / 100 in [0, 1] → (size, size, 2), (ab + 128) / 255,
    in (-1, 1) through a tanh.

    Args:
        size: a multiple of 8; the paper's is 256.
        width: factor on the filters.

    Raises:
        InputError: impossible size or width.
    """
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
    """ResNet50 on L enlarged twice, and a convolutional head (section 4, second listing).
    23,879,738 parameters.

    (size, size, 1), L / 100 in [0, 1] → (size, size, 2), (ab + 128) / 255,
    in (-1, 1) through a tanh.

    23,587,712 of the parameters are ResNet50's. The printed listing cannot run, because
    `UpSampling3D` does not take 4-D inputs; this reading has the printed input and output
    shapes. The listing sets `trainable = False` on an upsampling layer, so the whole
    network was trained.

    Args:
        size: a multiple of 30 up to 450, so that the head's upsampling returns to it; the
            paper's is 300.
        width: factor on the head's filters.
        freeze_backbone: False trains ResNet50 too, as the printed code does; True is what
            the report says.
        weights: "imagenet", None (random), or the path of a Keras weights file of
            ResNet50 without its classifier, or of a folder that holds the file under
            Keras' name.

    Raises:
        InputError: impossible size or width; weights that are missing, cannot be
            downloaded, or belong to another network.
    """
    require_size("resnet50_autoencoder", size, 30, 450)
    backbone = _pretrained(keras.applications.ResNet50, 2 * size, weights)
    backbone.trainable = not freeze_backbone
    x = inputs = keras.Input((size, size, 1), name="lightness")
    x = _three_channels(layers.UpSampling2D(2, name="enlarge")(x))
    x = backbone(x)
    x = layers.UpSampling2D(4, name="backbone_upsample")(x)

    first = dict(kernel=4, strides=2, padding="valid")
    x = _convolution(scaled(8, width), "head1_conv", **first)(x)
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
    """The first 19 layers of VGG16, to `block5_pool`, frozen (section 4, third listing).
    14,714,688 parameters.

    (size, size, 1), L / 100 in [0, 1] → (size / 32, size / 32, 512), float32 from 0.

    `keras.Sequential([vgg16_features(), vgg16_decoder()])` is the whole colorizer.

    Args:
        size: a multiple of 32; the paper's is 224.
        weights: as for `resnet50_autoencoder`, but of VGG16.

    Raises:
        InputError: impossible size; weights that are missing, cannot be downloaded, or
            belong to another network.
    """
    require_size("vgg16_features", size, 32)
    backbone = _pretrained(keras.applications.VGG16, size, weights)
    inputs = keras.Input((size, size, 1), name="lightness")
    x = backbone(_three_channels(inputs))
    outputs = layers.Activation("linear", dtype="float32", name="features")(x)
    model = keras.Model(inputs, outputs, name="vgg16_features")
    model.trainable = False
    return model


@register("vgg16_decoder", convention="miu", paper="autoencoders")
def vgg16_decoder(size=224, width=1.0):
    """The decoder of VGG16's features (section 4, fourth listing). 1,572,114 parameters.

    (size / 32, size / 32, 512), from `vgg16_features` → (size, size, 2),
    (ab + 128) / 255, in (-1, 1) through a tanh.

    Args:
        size: a multiple of 32; the paper's is 224.
        width: factor on the filters.

    Raises:
        InputError: impossible size or width.
    """
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
    """The U-Net, which the report takes from its reference 7 (section 4, fifth listing).
    10,467,779 parameters.

    (size, size, 1), gray in [0, 1] → (size, size, 3), RGB in (0, 1) through a sigmoid.

    Args:
        size: a multiple of 64; the paper's is 256. The seventh step down needs a
            multiple of 128, and is left out otherwise.
        width: factor on the filters.

    Raises:
        InputError: impossible size or width.
    """

    def conv2d(x, filters, name):
        options = dict(padding="same", name=f"{name}_conv")
        x = layers.Conv2D(scaled(filters, width), 4, 2, **options)(x)
        x = layers.LeakyReLU(0.2, name=f"{name}_relu")(x)
        return layers.BatchNormalization(momentum=0.8, name=f"{name}_bn")(x)

    def deconv2d(x, skip, filters, name):
        x = layers.UpSampling2D(2, name=f"{name}_upsample")(x)
        x = _convolution(scaled(filters, width), f"{name}_conv", kernel=4)(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"{name}_bn")(x)
        return layers.Concatenate(name=f"{name}_skip")([x, skip])

    require_size("pix2pix_unet", size, 64)
    gf = 32  # as the listing calls it
    d0 = keras.Input((size, size, 1), name="gray")

    d1 = conv2d(d0, gf, "down1")
    d2 = conv2d(d1, gf * 2, "down2")
    d3 = conv2d(d2, gf * 4, "down3")
    d4 = conv2d(d3, gf * 8, "down4")
    d5 = conv2d(d4, gf * 8, "down5")
    d6 = conv2d(d5, gf * 8, "down6")
    u1 = d6
    if size % 128 == 0:  # else d6 has an odd side
        d7 = conv2d(d6, gf * 8, "down7")
        u1 = deconv2d(d7, d6, gf * 8, "up1")

    u2 = deconv2d(u1, d5, gf * 8, "up2")
    u3 = deconv2d(u2, d4, gf * 8, "up3")
    u4 = deconv2d(u3, d3, gf * 4, "up4")
    u5 = deconv2d(u4, d2, gf * 2, "up5")
    u6 = deconv2d(u5, d1, gf, "up6")

    u7 = layers.UpSampling2D(2, name="up7_upsample")(u6)
    last = dict(activation="sigmoid", dtype="float32", name="rgb")
    rgb = layers.Conv2D(3, 4, padding="same", **last)(u7)
    return keras.Model(d0, rgb, name="pix2pix_unet")


@register("dropout_autoencoder", convention="unit_rgb", paper="autoencoders")
def dropout_autoencoder(size=32, width=1.0, dropout=0.2):
    """The second autoencoder, with a dense latent vector (section 4, "our own dataset").
    3,431,811 parameters at size 32.

    (size, size, 1), gray in [0, 1] → (size, size, 3), RGB in (0, 1) through a sigmoid.

    The report prints no layers. The network is the one that it cites (its reference 6,
    Atienza's colorization autoencoder for CIFAR-10). The dropout layer that the report
    adds against overfitting (section 5) acts here on the latent vector, at the rate 0.2
    of the article that it cites for dropout (its reference 9).

    Args:
        size: a multiple of 8; the two dense layers grow with its square.
        width: factor on the filters and on the latent dimensions.
        dropout: rate, 0 ≤ dropout < 1; 0 is the cited original.

    Raises:
        InputError: impossible size, width or rate.
    """
    require_size("dropout_autoencoder", size, 8)
    if not 0 <= dropout < 1:
        raise InputError(f"dropout must be at least 0 and below 1, not {dropout}.")
    x = inputs = keras.Input((size, size, 1), name="gray")
    for i, filters in enumerate((64, 128, 256), 1):
        x = _convolution(scaled(filters, width), f"encoder{i}_conv", strides=2)(x)
    shape = x.shape[1:]
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(scaled(256, width), name="latent_dense")(x)
    if dropout:
        x = layers.Dropout(dropout, name="latent_dropout")(x)
    x = layers.Dense(shape[0] * shape[1] * shape[2], name="decoder_dense")(x)
    x = layers.Reshape(shape, name="reshape")(x)
    for i, filters in enumerate((256, 128, 64), 1):
        options = dict(padding="same", activation="relu", name=f"decoder{i}_conv")
        x = layers.Conv2DTranspose(scaled(filters, width), 3, 2, **options)(x)
    # Transposed with stride 1, as in the cited code.
    last = dict(activation="sigmoid", dtype="float32", name="rgb")
    outputs = layers.Conv2DTranspose(3, 3, padding="same", **last)(x)
    return keras.Model(inputs, outputs, name="dropout_autoencoder")
