"""Networks of George, "Automatic Image Colorization from Greyscale to RGB", CSE616 project, 2022.

The input is scikit-image's gray in [0, 1], not L (`CONVENTIONS["places"]`). The report ("Model") cuts a ResNet-18 for gray
images after its sixth group of layers and adds a fusion layer and a colorization network. The layers follow the author's released
code, which builds the fusion layer but never calls it: `fusion=False` is the code, and `fusion=True` the report.

ResNet-18 is laid out as in torchvision (He et al. 2016, "Deep Residual Learning for Image Recognition", Table 1): explicit
symmetric zero padding, which "same" does not give for strided layers; batch normalization with epsilon 1e-5 and momentum 0.9
(0.1 in PyTorch's way of counting); no biases. Its layers have the same names in all three networks, so that `load_backbone` can
copy trained weights from one to another. Parameter counts include the moving statistics of batch normalization.
"""

import re

import keras
from keras import layers
from keras.initializers import VarianceScaling

from colorize_lib.errors import InputError
from colorize_lib.models import register
from colorize_lib.models.sizes import require_size, scaled

# Names of ResNet-18's feature layers.
_BACKBONE_LAYER = re.compile(r"conv1|bn1|layer[1-4]_block[12]_(conv[12]|bn[12]|downsample_(conv|bn))")


def _convolution(x, filters, kernel, name, strides=1, summed=1):
    """Bias-free convolution padded by kernel // 2, with torchvision's initialization (He et al. 2015, by fan-out).

    `summed` is the number of input channels whose kernels are added up to one.
    """
    if kernel > 1:
        x = layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
    initializer = VarianceScaling(2.0 * summed, "fan_out", "untruncated_normal")
    return layers.Conv2D(filters, kernel, strides, use_bias=False, kernel_initializer=initializer, name=name)(x)


def _batch_norm(x, name):
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def _basic_block(x, filters, strides, name):
    """Two 3×3 convolutions and a shortcut, which is projected where the shape changes (the first of stages 2 to 4)."""
    shortcut = x
    x = _convolution(x, filters, 3, f"{name}_conv1", strides)
    x = layers.ReLU(name=f"{name}_relu1")(_batch_norm(x, f"{name}_bn1"))
    x = _batch_norm(_convolution(x, filters, 3, f"{name}_conv2"), f"{name}_bn2")
    if strides > 1:
        shortcut = _convolution(shortcut, filters, 1, f"{name}_downsample_conv", strides)
        shortcut = _batch_norm(shortcut, f"{name}_downsample_bn")
    return layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, shortcut]))


def _stage(x, number, width):
    """Stage 1 to 4, "layer" in torchvision: two blocks of 64, 128, 256 or 512 filters, the later stages at half the size."""
    filters = scaled(32 * 2**number, width)
    x = _basic_block(x, filters, 1 if number == 1 else 2, f"layer{number}_block1")
    return _basic_block(x, filters, 1, f"layer{number}_block2")


def _midlevel(inputs, width):
    """The first six groups of ResNet-18: conv1, bn1, ReLU, pooling, stages 1 and 2; 128 features at an eighth of the size."""
    # The code replaces the first layer's three channels by their sum.
    x = _convolution(inputs, scaled(64, width), 7, "conv1", strides=2, summed=3)
    x = layers.ReLU(name="relu")(_batch_norm(x, "bn1"))
    x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)  # neutral: after the ReLU no value is below 0
    x = layers.MaxPooling2D(3, 2, name="maxpool")(x)
    return _stage(_stage(x, 1, width), 2, width)


def _global(midlevel, width):
    """The rest of ResNet-18 up to its average pooling: 512 features, (1, 1)."""
    x = _stage(_stage(midlevel, 3, width), 4, width)
    return layers.GlobalAveragePooling2D(keepdims=True, name="avgpool")(x)


@register("resnet18_gray", convention="places", paper="resnet-mrf")
def resnet18_gray(size=224, width=1.0, classes=365):
    """The classifier that the backbone is trained as (report, "Model"). 11,367,085 parameters for 365 classes.

    (size, size, 1), gray in [0, 1] → logits (classes,), float32.

    Args:
        size: pixels; the code's is 224.
        width: factor on the filters.
        classes: number of classes; Places365 has 365.

    Raises:
        InputError: impossible width.
    """
    inputs = keras.Input((size, size, 1), name="gray")
    x = layers.Flatten(name="flatten")(_global(_midlevel(inputs, width), width))
    logits = layers.Dense(classes, **_torch_initializers(x, 1), dtype="float32", name="fc")(x)
    return keras.Model(inputs, logits, name="resnet18_gray")


def _torch_initializers(x, kernel):
    """PyTorch's default initialization, as in the code: kernel and bias uniform within 1 / √fan-in."""
    bound = (kernel * kernel * x.shape[-1]) ** -0.5
    return {
        "kernel_initializer": VarianceScaling(1 / 3, "fan_in", "uniform"),
        "bias_initializer": keras.initializers.RandomUniform(-bound, bound),
    }


def _head_convolution(x, filters, name, **options):
    return layers.Conv2D(filters, 3, padding="same", **_torch_initializers(x, 3), name=name, **options)(x)


def _features(name, size, width, fusion):
    """The input, and 64 features at a quarter of its size: the third convolution's
    output."""
    require_size(name, size, 8)
    inputs = keras.Input((size, size, 1), name="gray")
    x = _midlevel(inputs, width)
    if fusion:
        whole_image = _global(x, width)
        everywhere = layers.UpSampling2D(size // 8, name="fusion_repeat")(whole_image)
        x = layers.Concatenate(name="fusion_concat")([x, everywhere])
        initial = _torch_initializers(x, 1)
        x = layers.Dense(scaled(128, width), **initial, name="fusion_dense")(x)
        x = _batch_norm(x, "fusion_bn")
    x = _batch_norm(_head_convolution(x, scaled(128, width), "head_conv1"), "head_bn1")
    x = layers.ReLU(name="head_relu1")(x)
    x = layers.UpSampling2D(2, name="head_upsample1")(x)
    x = _batch_norm(_head_convolution(x, scaled(64, width), "head_conv2"), "head_bn2")
    x = layers.ReLU(name="head_relu2")(x)
    x = _head_convolution(x, scaled(64, width), "head_conv3", activation="relu")
    return inputs, x


@register("colornet", convention="places", paper="resnet-mrf")
def colornet(size=224, width=1.0, fusion=False):
    """Regression of ab (report, "Model"). 956,834 parameters, 11,540,514 with fusion.

    (size, size, 1), gray in [0, 1] → (size, size, 2), (ab + 128) / 255, without an
    activation.

    Args:
        size: a multiple of 8; the code's is 224.
        width: factor on the filters.
        fusion: join the 128 mid-level features of each position with the 512 global
            features of the whole image by a learned linear map to 128 features and batch
            normalization.

    Raises:
        InputError: impossible size or width.
    """
    inputs, x = _features("colornet", size, width, fusion)
    x = layers.UpSampling2D(2, name="head_upsample2")(x)
    x = _head_convolution(x, scaled(32, width), "head_conv4", activation="sigmoid")
    x = _head_convolution(x, 2, "head_conv5", dtype="float32")
    x = layers.UpSampling2D(2, dtype="float32", name="ab")(x)
    return keras.Model(inputs, x, name="colornet")


@register("colornet_distribution", convention="places", paper="resnet-mrf")
def colornet_distribution(size=224, width=1.0, bins=313, fusion=False):
    """The report's second model, "CNN+MRF Model". 958,137 parameters for 313 bins,
    11,541,817 with fusion.

    (size, size, 1), gray in [0, 1] → logits (size / 4, size / 4, bins), float32, over the
    bins of `colorize_lib.color.bins`.

    The model was not released. This one is ColorNet up to its third convolution, followed
    by a 1×1 convolution to the bins, which is also the last layer of Zhang et al. 2016,
    "Colorful Image Colorization", and gives the same resolution.

    Args:
        size: a multiple of 8; the code's is 224.
        width: factor on the filters.
        bins: number of quantized colours.
        fusion: as in `colornet`.

    Raises:
        InputError: impossible size or width.
    """
    inputs, x = _features("colornet_distribution", size, width, fusion)
    logits = layers.Conv2D(bins, 1, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="colornet_distribution")


def load_backbone(model, source):
    """Copy the ResNet-18 part of `source` into `model`, layer by layer, by name.

    Args:
        model: a network of this module; changed in place.
        source: a network of this module with the same `width`, such as a trained `resnet18_gray`; sizes may differ.

    Raises:
        InputError: a layer is missing in `source` or has another shape there; `model` stays unchanged.
    """
    available = {layer.name: layer.get_weights() for layer in source.layers}
    weights = []
    for layer in model.layers:
        if not (layer.weights and _BACKBONE_LAYER.fullmatch(layer.name)):
            continue
        values = available.get(layer.name)
        if values is None or [v.shape for v in values] != [w.shape for w in layer.weights]:
            problem = "missing" if values is None else "of another shape"
            raise InputError(
                f"The backbone of {model.name} cannot be copied from {source.name}: layer {layer.name} is {problem} there; "
                "build both networks with the same width."
            )
        weights.append((layer, values))
    for layer, values in weights:
        layer.set_weights(values)
