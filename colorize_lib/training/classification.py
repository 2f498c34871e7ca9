"""Classifiers of images in a colorizer's convention: of gray alone, or of L and ab.

The backbone of ColorNet is a ResNet-18 "which we trained on grayscale images" (George 2022, "Model"). It is trained on the input of
the colorizer, which has no colour; `models.colornet.load_backbone` then copies its weights. The judges of
`colorize_lib.evaluation.judges` see colour as well.
"""

import keras
import numpy as np
from keras import ops

from colorize_lib import color
from colorize_lib.acceleration import accelerate, accelerate_optimizer
from colorize_lib.errors import InputError
from colorize_lib.training import resident


class Classifier(resident.ResidentModel):
    """RGB (batch, size, size, 3), uint8 → logits (batch, classes).

    `fit` and `evaluate` take batches of (RGB, class numbers): `Batches(split, …, labels=True)`. The networks end in logits, so the
    loss is `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.

    Args:
        network: functional model from the convention's input (one channel, such as "resnet18_gray"), or from that input joined with
            ab (three channels, such as "vac_classifier"), to logits.
        convention: key of `color.CONVENTIONS`.
    """

    def __init__(self, network, convention):
        super().__init__(name=f"classifier_{network.name}", dtype="float32")
        self.network, self._convention = network, color.CONVENTIONS[convention]
        faster = accelerate(network)
        self._run = lambda inputs, training: faster(inputs, training=training)  # as in `Colorizer`

    def compile(self, optimizer="rmsprop", *arguments, **named):
        super().compile(accelerate_optimizer(keras.optimizers.get(optimizer)), *arguments, **named)

    def settings(self):
        return {"convention": self._convention.name}

    def call(self, rgb, training=False):
        gray, ab = self._convention.encode(rgb)
        sees_color = self.network.input_shape[-1] > 1
        return self._run(ops.concatenate([gray, ab], axis=-1) if sees_color else gray, training)


def require_labels(dataset, *splits):
    """Raise InputError unless every image of the named splits has a class, and there are at least two classes."""
    name = dataset.manifest["name"]
    if len(dataset.classes) < 2 or any(np.min(dataset[split].labels, initial=0) < 0 for split in splits):
        raise InputError(
            f"The images of {name!r} have no class labels, which a classifier needs: choose a dataset with classes, such as "
            "tiny-imagenet, or a folder with a subfolder for each class."
        )
