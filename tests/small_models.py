"""Compiled networks for tests, in one line."""

import keras

from colorize_lib import models
from colorize_lib.training.classification import Classifier
from colorize_lib.training.colorizer import Colorizer


def colorizer(name, *, learning_rate=1e-3, loss="mse", metrics=(), channels=None, convention=None, **options):
    """A registered network as a `Colorizer`, compiled with Adam."""
    model = Colorizer.from_name(name, convention=convention, channels=channels, **options)
    model.compile(keras.optimizers.Adam(learning_rate), loss=loss, metrics=list(metrics))
    return model


def classifier(classes, name="resnet18_gray", learning_rate=1e-3, **options):
    """A registered network as a `Classifier`, compiled with Adam."""
    model = Classifier(models.build(name, classes=classes, **options), models.entry(name).convention)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(learning_rate), loss=loss, metrics=["accuracy"])
    return model
