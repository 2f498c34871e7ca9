"""The networks at the papers' sizes and batches, for a GPU, and how much arithmetic a training step is."""

import keras
import numpy as np

from colorize_lib import models
from colorize_lib.acceleration import accelerate, kernels
from colorize_lib.dataset import Split
from colorize_lib.training import adversarial, cost
from colorize_lib.training.colorizer import Colorizer
from colorize_lib.training.data import Batches

# name: paper, network, side of the images, batch size, options of the builder
TRAINED = {
    "autoencoder": ("autoencoders", "autoencoder", 256, 16, {}),
    "resnet50_autoencoder": ("autoencoders", "resnet50_autoencoder", 300, 5, {"weights": None, "optimizer": "rmsprop"}),
    "pix2pix_unet": ("autoencoders", "pix2pix_unet", 256, 16, {}),
    "dropout_autoencoder": ("autoencoders", "dropout_autoencoder", 32, 32, {}),
    "cnn": ("polychromify", "cnn", 64, 64, {}),
    "polychromify": ("polychromify", "polychromify", 64, 64, {}),
    "yosemite_unet": ("unet", "yosemite_unet", 256, 64, {}),
    "colornet": ("resnet-mrf", "colornet", 224, 16, {}),
    "kth_unet": ("vacgan", "kth_unet", 32, 128, {"loss": "mae"}),
    "gan": ("vacgan", "kth_generator", 32, 128, {}),
    "vac_gan": ("vacgan", "kth_generator", 32, 128, {}),
}
CLASSES = 10


def model(name, dtype, side=None, width=1.0):
    """The network `name` of `TRAINED`, compiled.

    `side` in pixels is another size than the paper's, and `width` a factor on the filters.
    """
    _, network, size, _, options = TRAINED[name]
    options = options | {"size": side or size, "dtype": dtype, "width": width}
    if name not in ("gan", "vac_gan"):
        loss, optimizer = options.pop("loss", "mse"), options.pop("optimizer", "adam")
        colorizer = Colorizer.from_name(network, **options)
        colorizer.compile(optimizer, loss=loss)
        return colorizer
    parts = [models.build(part, **options) for part in (network, "patch_discriminator")]
    if name == "vac_gan":
        parts.append(models.build("vac_classifier", classes=CLASSES, **options))
    gan = adversarial.AdversarialColorizer(*parts, shared_masks=True)
    gan.compile(**adversarial.adam_optimizers())
    return gan


def batches(name, count, batch_size=None, side=None):
    """`Batches` of `count` batches of random pixels: no kind of image takes longer than another."""
    _, _, size, batch, _ = TRAINED[name]
    size, batch = side or size, batch_size or batch
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count * batch, size, size, 3), dtype="uint8")
    labels = random.integers(0, CLASSES, len(images)).astype("int32")
    return Batches(Split(images, labels), batch, seed=0, labels=name == "vac_gan")


def training_flops(colorizer):
    """Floating-point operations of one image in one training step, in convolutions and dense layers.

    The forward pass, the gradient of the weights and, except for layers that see the input, the gradient of what comes in take as
    many each.
    """
    network = trained_flops(colorizer.network)
    if not isinstance(colorizer, adversarial.AdversarialColorizer):
        return network
    updates = colorizer.generator_updates
    # The discriminator learns from true and colorized images, and the generator learns through it.
    total = 2 * trained_flops(colorizer.discriminator)
    total += updates * (network + 2 * forward_flops(colorizer.discriminator))
    if (
        colorizer.classifier is not None
    ):  # the generator's loss also has the classes of the true images, without a gradient
        total += 2 * trained_flops(colorizer.classifier)
        total += updates * (1 + 2) * forward_flops(colorizer.classifier)
    return total


def forward_flops(network):
    """Those of one image in the forward pass: 2 for each multiplication."""
    return sum(_flops(layer) for layer in accelerate(network)._flatten_layers(include_self=False))


def trained_flops(network):
    """Those of one image when a network learns."""
    return sum((3 if learns else 2) * _flops(layer) for layer, _, learns in computed(accelerate(network)))


def computed(network):
    """[(layer, its input, whether something before it learns)] of a functional network, in the order in which it computes.

    What nothing before learns from, such as a network's input after padding, has no gradient. A layer that is shared with other
    networks has several inputs; this one is the network's own.
    """
    found, learning = [], set()
    for depth in sorted(network._nodes_by_depth, reverse=True):
        for node in network._nodes_by_depth[depth]:
            layer, inputs = node.operation, node.input_tensors
            learns = any(id(tensor) in learning for tensor in inputs)
            if isinstance(layer, keras.Model):
                found += [(inner, tensor, learns or before) for inner, tensor, before in computed(layer)]
            elif isinstance(layer, keras.layers.Layer) and inputs:
                found.append((layer, inputs[0], learns))
            if learns or getattr(layer, "trainable_variables", ()):
                learning |= {id(tensor) for tensor in node.outputs}
    return found


def _flops(layer):
    found = cost.layer_flops(layer)
    factor = getattr(layer, "upsampling", 1)
    if factor > 1 and layer.kernel_size == (1, 1):
        found /= factor**2  # on the smaller map
    elif factor > 1 and kernels.smaller_map():  # a transposed convolution with larger weights
        taps = layer.kernel_size[0]
        found *= ((factor + 2 * (taps // 2)) / (factor * taps)) ** 2
    return found
