"""Networks of George, "Automatic Image Colorization from Greyscale to RGB", CSE616 project, 2022.

Input: scikit-image's gray, (size, size, 1), [0, 1], not L (`CONVENTIONS["places"]`). Outputs: class logits
(`resnet18_gray`), (ab + 128) / 255 without activation (`colornet`), or logits over quantized colours
(`colornet_distribution`). The two colour networks need a size that is a multiple of 8.

The report ("Model") cuts a ResNet-18 for gray images after its sixth group of layers and adds a fusion layer and a
colorization network; layers follow the author's released code. There the fusion layer is built and never called, so
`fusion=False` is the code and `fusion=True` the report.

ResNet-18 is laid out as in torchvision (He et al. 2016, "Deep Residual Learning for Image Recognition", Table 1): explicit
symmetric zero padding, which "same" is not for strided layers, batch normalization with eps 1e-5 and momentum 0.9 (PyTorch counts
it as 0.1), no biases. Its layers have the same names in all three networks, so that `load_backbone` can carry trained
weights from one to another.

Parameter counts at width 1, moving statistics of batch normalization included: resnet18_gray 11,367,085 with 365 classes;
colornet 956,834, with fusion 11,540,514; colornet_distribution with 313 bins 958,137, with fusion 11,541,817.
"""

import re

import keras
from keras import layers
from keras.initializers import VarianceScaling

from colorize_lib.errors import InputError
from colorize_lib.models import register
from colorize_lib.models.sizes import require_size, scaled
from colorize_lib.models.torch_files import read_state_dict

# Names of ResNet-18's feature layers here, and of all its tensors in PyTorch.
_BACKBONE_LAYER = re.compile(r"conv1|bn1|layer[1-4]_block[12]_(conv[12]|bn[12]|downsample_(conv|bn))")
_TORCH_TENSOR = re.compile(r"(conv1|bn1|fc|layer[1-4]\.[01]\.(conv[12]|bn[12]|downsample\.[01]))\.\w+")
_TORCH_SUFFIXES = {
    layers.Conv2D: ("weight",),
    layers.Dense: ("weight", "bias"),
    layers.BatchNormalization: ("weight", "bias", "running_mean", "running_var"),
}


def _convolution(x, filters, kernel, name, strides=1, summed=1):
    """Bias-free convolution padded by kernel // 2, with torchvision's initialization (He et al. 2015, by fan-out).

    `summed`: of so many channels the kernel is the sum.
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
    # The code adds up the first layer's three channels, which it then has one of.
    x = _convolution(inputs, scaled(64, width), 7, "conv1", strides=2, summed=3)
    x = layers.ReLU(name="relu")(_batch_norm(x, "bn1"))
    x = layers.ZeroPadding2D(1, name="maxpool_pad")(x)  # 0 is neutral: after the ReLU nothing is below
    x = layers.MaxPooling2D(3, 2, name="maxpool")(x)
    return _stage(_stage(x, 1, width), 2, width)


def _global(midlevel, width):
    """The rest of ResNet-18 up to its average pooling: 512 features, (1, 1)."""
    x = _stage(_stage(midlevel, 3, width), 4, width)
    return layers.GlobalAveragePooling2D(keepdims=True, name="avgpool")(x)


@register("resnet18_gray", convention="places", paper="resnet-mrf")
def resnet18_gray(size=224, width=1.0, classes=365):
    """ResNet-18 for gray images: (size, size, 1) → logits (classes,). 365 are the classes of Places365, as in the code."""
    inputs = keras.Input((size, size, 1), name="gray")
    x = layers.Flatten(name="flatten")(_global(_midlevel(inputs, width), width))
    logits = layers.Dense(classes, **_torch_initializers(x, 1), dtype="float32", name="fc")(x)
    return keras.Model(inputs, logits, name="resnet18_gray")


def _torch_initializers(x, kernel):
    """PyTorch's default initialization, which the code relies on: kernel and bias uniform within 1 / √fan-in."""
    bound = (kernel * kernel * x.shape[-1]) ** -0.5
    return {
        "kernel_initializer": VarianceScaling(1 / 3, "fan_in", "uniform"),
        "bias_initializer": keras.initializers.RandomUniform(-bound, bound),
    }


def _head_convolution(x, filters, name, **options):
    return layers.Conv2D(filters, 3, padding="same", **_torch_initializers(x, 3), name=name, **options)(x)


def _features(name, size, width, fusion):
    """Input, and the colorization network up to its third convolution: 64 features at a quarter of the size."""
    require_size(name, size, 8)
    inputs = keras.Input((size, size, 1), name="gray")
    x = _midlevel(inputs, width)
    if fusion:
        everywhere = layers.UpSampling2D(size // 8, name="fusion_repeat")(_global(x, width))
        x = layers.Concatenate(name="fusion_concat")([x, everywhere])
        x = layers.Dense(scaled(128, width), **_torch_initializers(x, 1), name="fusion_dense")(x)
        x = _batch_norm(x, "fusion_bn")
    x = _batch_norm(_head_convolution(x, scaled(128, width), "head_conv1"), "head_bn1")
    x = layers.ReLU(name="head_relu1")(x)
    x = layers.UpSampling2D(2, name="head_upsample1")(x)
    x = _batch_norm(_head_convolution(x, scaled(64, width), "head_conv2"), "head_bn2")
    x = layers.ReLU(name="head_relu2")(x)
    return inputs, _head_convolution(x, scaled(64, width), "head_conv3", activation="relu")


@register("colornet", convention="places", paper="resnet-mrf")
def colornet(size=224, width=1.0, fusion=False):
    """Regression of ab (report, "Model"): (size, size, 1) → (size, size, 2).

    Args:
        size: pixels, a multiple of 8; else `InputError`.
        width: factor on the filters.
        fusion: join the 128 mid-level features of every position with the 512 global features of the whole image by a
            learned linear map to 128 and batch normalization.
    """
    inputs, x = _features("colornet", size, width, fusion)
    x = layers.UpSampling2D(2, name="head_upsample2")(x)
    x = _head_convolution(x, scaled(32, width), "head_conv4", activation="sigmoid")
    x = _head_convolution(x, 2, "head_conv5", dtype="float32")
    x = layers.UpSampling2D(2, dtype="float32", name="ab")(x)
    return keras.Model(inputs, x, name="colornet")


@register("colornet_distribution", convention="places", paper="resnet-mrf")
def colornet_distribution(size=224, width=1.0, bins=313, fusion=False):
    """The report's second model, "a distribution of color values for each pixel": → logits (size / 4, size / 4, bins).

    It was not released. Here it is ColorNet up to the third convolution, whose 64 features a 1×1 convolution maps to the
    bins, as the last layer of Zhang et al. 2016, "Colorful Image Colorization", does, at the resolution that they use.

    Args:
        size: pixels, a multiple of 8; else `InputError`.
        width: factor on the filters.
        bins: number of quantized colours.
        fusion: as in `colornet`.
    """
    inputs, x = _features("colornet_distribution", size, width, fusion)
    return keras.Model(inputs, layers.Conv2D(bins, 1, dtype="float32", name="logits")(x), name="colornet_distribution")


def load_backbone(model, source):
    """Copy the ResNet-18 part of `source` into `model`, layer by layer by name: all of it that `model` has.

    Args:
        model: a network of this module; changed in place.
        source: a network of this module of the same `width`, as a trained `resnet18_gray`; sizes may differ.

    Raises:
        InputError: a layer is missing in `source` or has another shape there; `model` is unchanged then.
    """
    available = {layer.name: layer.get_weights() for layer in source.layers}
    weights = []
    for layer in _weighted(model, _BACKBONE_LAYER.fullmatch):
        values = available.get(layer.name)
        if values is None or [v.shape for v in values] != [w.shape for w in layer.weights]:
            problem = "missing" if values is None else "of another shape"
            raise InputError(
                f"The backbone of {model.name} cannot come from {source.name}: layer {layer.name} is {problem} there; "
                f"build both from colorize_lib.models.colornet with the same width."
            )
        weights.append((layer, values))
    for layer, values in weights:
        layer.set_weights(values)


def _weighted(model, wanted):
    return [layer for layer in model.layers if layer.weights and wanted(layer.name)]


def load_torch_resnet18(model, path):
    """Load a PyTorch state dict of torchvision's `resnet18` into the ResNet-18 part of `model`. Needs PyTorch.

    A first convolution for three channels is summed over them: that gives gray the response that the checkpoint gives the
    same gray in all three channels (an average would shrink it to a third, and bn1's statistics would not fit), and it is
    what the author's code does. The normalization of inputs that a checkpoint was trained with is not undone: [0, 1] goes in.

    Args:
        model: a network of this module at width 1; changed in place. Of `resnet18_gray`, the last layer is loaded as well.
        path: file of the state dict, as `colorize_lib.models.torch_files.read_state_dict` takes it.

    Raises:
        InputError: PyTorch is missing, the file cannot be read, is no ResNet-18, or tensors are missing or misshapen; `model`
            is unchanged then.
    """
    state = read_state_dict(path)
    foreign = [name for name in state if not _TORCH_TENSOR.fullmatch(name)]
    if foreign:
        raise InputError(
            f"{path} is not a ResNet-18: it holds {foreign[0]}; choose a checkpoint of torchvision's resnet18."
        )
    weights, problems = [], []
    for layer in _weighted(model, lambda name: name == "fc" or _BACKBONE_LAYER.fullmatch(name)):
        values = []
        for suffix, variable in zip(_TORCH_SUFFIXES[type(layer)], layer.weights, strict=True):
            name = f"{_torch_name(layer.name)}.{suffix}"
            value = _keras_layout(state[name], layer.name) if name in state else None
            if value is None:
                problems.append(f"{name} is missing")
            elif value.shape != variable.shape:
                problems.append(
                    f"{name} has shape {state[name].shape}, unfit for {layer.name}'s {tuple(variable.shape)}"
                )
            values.append(value)
        weights.append((layer, values))
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise InputError(
            f"{path} does not fit {model.name}: {'; '.join(problems[:3])}{more}; choose a checkpoint of torchvision's "
            f"resnet18 and build the model at width 1 with the checkpoint's number of classes."
        )
    for layer, values in weights:
        layer.set_weights(values)


def _torch_name(layer):
    """layer2_block1_downsample_bn → layer2.0.downsample.1"""
    name = re.sub(r"_block(\d)_", lambda match: f".{int(match[1]) - 1}.", layer)
    return name.replace("downsample_conv", "downsample.0").replace("downsample_bn", "downsample.1")


def _keras_layout(value, layer):
    """PyTorch's (out, in, height, width) → (height, width, in, out), and (out, in) → (in, out)."""
    if layer == "conv1" and value.ndim == 4 and value.shape[1] == 3:
        value = value.sum(axis=1, keepdims=True)
    return value.transpose((2, 3, 1, 0)) if value.ndim == 4 else value.T
