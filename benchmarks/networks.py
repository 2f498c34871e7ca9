"""The papers' main networks as they are trained: size, batch and loss of the papers, and how much arithmetic a step is."""

import keras
import numpy as np

from colorize_lib import adversarial, models
from colorize_lib.colorizer import compiled
from colorize_lib.data import Batches, Split

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


def model(name, dtype, side=None):
    """The network `name` of `TRAINED`, compiled; `side` in pixels: another size than the paper's."""
    _, network, size, _, options = TRAINED[name]
    options = options | {"size": side or size, "dtype": dtype}
    if name not in ("gan", "vac_gan"):
        return compiled(network, **options)
    parts = [models.build(part, **options) for part in (network, "patch_discriminator")]
    if name == "vac_gan":
        parts.append(models.build("vac_classifier", classes=CLASSES, **options))
    gan = adversarial.AdversarialColorizer(*parts)
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
    """Floating-point operations of one image in one training step: those of convolutions and dense layers, 2 a multiplication.

    Backwards they take twice as many as forwards: one product for the gradient of the input, one for that of the weights.
    """
    network = forward_flops(colorizer.network)
    if not isinstance(colorizer, adversarial.AdversarialColorizer):
        return 3 * network
    discriminator, updates = forward_flops(colorizer.discriminator), colorizer.generator_updates
    # D: G forwards, D on true and colorized images; G: itself and, for its gradient, D's inputs.
    total = network + 2 * 3 * discriminator + updates * (3 * network + 2 * discriminator)
    if colorizer.classifier is not None:
        classifier = forward_flops(colorizer.classifier)
        total += network + 2 * 3 * classifier + updates * (classifier + 2 * classifier)
    return total


def forward_flops(network):
    """The same of one image forwards."""
    total = 0
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Conv2DTranspose):
            positions = np.prod(layer.input.shape[1:3])
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            positions = np.prod(layer.output.shape[1:-1])
        else:
            continue
        total += 2 * positions * np.prod(layer.kernel.shape)
    return int(total)
