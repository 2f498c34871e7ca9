"""A classifier of gray images, whose features a colorizer starts from.

George 2022, "Model": the backbone of ColorNet is a ResNet-18 "which we trained on grayscale images". It sees what the colorizer
will see: the convention's network input, without colour. `models.colornet.load_backbone` carries its weights over.
"""

import keras
import numpy as np

from colorize_lib import color, models
from colorize_lib.errors import InputError


class GrayClassifier(keras.Model):
    """RGB (batch, size, size, 3), uint8 → logits (batch, classes), from gray alone.

    `fit` and `evaluate` take batches of (RGB, class numbers): `Batches(split, …, labels=True)`.

    Args:
        network: functional model from the convention's input to logits, such as "resnet18_gray".
        convention: key of `color.CONVENTIONS`.
    """

    def __init__(self, network, convention):
        super().__init__(name=f"classifier_{network.name}", dtype="float32")
        self.network, self._convention = network, color.CONVENTIONS[convention]

    def call(self, rgb, training=False):
        return self.network(self._convention.encode(rgb)[0], training=training)


def compiled(classes, *, name="resnet18_gray", learning_rate=1e-3, **options):
    """A `GrayClassifier` with Adam and cross-entropy, ready for `fit`; its metric is the accuracy.

    Args:
        classes: how many.
        name: registered name of the network.
        learning_rate: number or Keras schedule.
        options: of the builder, and `dtype`.
    """
    classifier = GrayClassifier(models.build(name, classes=classes, **options), models.entry(name).convention)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(optimizer=keras.optimizers.Adam(learning_rate), loss=loss, metrics=["accuracy"])
    return classifier


def require_labels(dataset, *splits):
    """Raise InputError unless every image of the named splits has a class, and there are at least two classes."""
    name = dataset.manifest["name"]
    if len(dataset.classes) < 2 or any(np.min(dataset[split].labels, initial=0) < 0 for split in splits):
        raise InputError(
            f"The images of {name!r} have no class labels, which the classifier of gray images learns: name a dataset that has, "
            "such as LABELS=tiny-imagenet, or a folder with a subfolder for each class."
        )
