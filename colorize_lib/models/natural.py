"""The bundled colorizer: a compact U-Net that predicts a distribution over quantized colours. It belongs to no paper.

It combines what works well in the literature: classification over the bins of a grid of ab with a step of ten units (Zhang, Isola,
Efros 2016, section 2), a U-Net with skip connections (Ronneberger, Fischer, Brox 2015), and a summary of the whole image that is
added at the bottleneck (the global features of Iizuka, Simo-Serra, Ishikawa 2016, section 3.3), so that every pixel is coloured
with the scene in view, whatever the size of the image. `training.distribution` trains and decodes it.
"""

import keras
from keras import layers

from colorize_lib.color.bins import common_bins
from colorize_lib.models import register
from colorize_lib.models.sizes import require_size, scaled

STEP = 32  # five halvings


def _block(x, filters, name, *, kernel=3, strides=1):
    """Convolution, batch normalization, ReLU."""
    x = layers.Conv2D(filters, kernel, strides, "same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(momentum=0.98, epsilon=1e-3, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _up(x, skip, filters, name):
    """Nearest-neighbour upsampling, joined with the map of that size on the way down."""
    x = layers.UpSampling2D(2, name=f"{name}_upsample")(x)
    x = layers.Concatenate(name=f"{name}_skip")([x, skip])
    return _block(x, filters, name)


@register("natural", convention="zhang", paper=None)
def natural(size=64, width=1.0):
    """A distribution over colours for each pixel, at a quarter of the size. 6,343,797 parameters.

    (size, size, 1), (L - 50) / 100 in [-0.5, 0.5] (`CONVENTIONS["zhang"]`) → logits (size / 4, size / 4, 199), float32, over
    `bins.common_bins()`: the log of each colour's probability, up to a constant.

    The layer "class_logits" has the logits that the rebalanced loss trains, see `classifier`; the last layer, "rebalancing",
    subtracts its `moving_mean`, the log of the loss's weights. The parameters include the statistics of batch normalization and of
    that layer.

    Args:
        size: a multiple of 32. The weights are the same for every size.
        width: factor on the filters; not on the bins.

    Raises:
        InputError: impossible size or width.
    """
    require_size("natural", size, STEP)
    x = inputs = keras.Input((size, size, 1), name="lightness")
    x = _block(x, scaled(32, width), "down2", kernel=5, strides=2)
    x = _block(x, scaled(64, width), "down4", strides=2)
    x = skip4 = _block(x, scaled(96, width), "same4")
    x = _block(x, scaled(160, width), "down8", strides=2)
    x = skip8 = _block(x, scaled(160, width), "same8")
    x = _block(x, scaled(256, width), "down16", strides=2)
    x = skip16 = _block(x, scaled(256, width), "same16")
    x = _block(x, scaled(320, width), "down32", strides=2)
    x = _block(x, scaled(320, width), "same32")
    scene = layers.GlobalAveragePooling2D(keepdims=True, name="scene_mean")(x)
    scene = layers.Conv2D(scaled(320, width), 1, activation="relu", name="scene_hidden")(scene)
    scene = layers.Conv2D(scaled(320, width), 1, name="scene")(scene)
    x = layers.Add(name="scene_add")([x, scene])
    x = _up(x, skip16, scaled(256, width), "up16")
    x = _block(x, scaled(256, width), "same16_up")
    x = _up(x, skip8, scaled(160, width), "up8")
    x = _block(x, scaled(160, width), "same8_up")
    x = _up(x, skip4, scaled(128, width), "up4")
    # From here in float32: bfloat16 cannot tell the likely bins apart.
    x = layers.Conv2D(len(common_bins()), 1, dtype="float32", name="class_logits")(x)
    # x - moving_mean, as `Normalization` computes it, which cannot be exported to ONNX.
    x = layers.BatchNormalization(
        epsilon=0, center=False, scale=False, trainable=False, dtype="float32", name="rebalancing"
    )(x)
    return keras.Model(inputs, x, name="natural")


def classifier(network):
    """The part of a `natural` that is trained, up to "class_logits"; it shares the weights of `network`."""
    return keras.Model(network.input, network.get_layer("class_logits").output, name=f"{network.name}_classifier")
