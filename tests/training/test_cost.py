"""What a training costs, next to what can be counted by hand."""

import time

import keras
import numpy as np
import pytest
import small_models
from keras import layers

from colorize_lib.training import checkpoint, cost
from colorize_lib.training.colorizer import Colorizer
from colorize_lib.training.data import Batches


def test_operations_are_two_for_each_product():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same")(inputs)  # 4×4 places of 3·3·3·4 products
    x = layers.BatchNormalization()(x)
    x = layers.Conv2DTranspose(5, 4, strides=2, padding="same")(x)  # 4×4 places of 4·4·5·4 products
    inner = keras.Model(inputs, layers.Dense(2)(x))  # 8×8 places of 5·2 products
    products = 16 * 108 + 16 * 320 + 64 * 10
    assert cost.flops(inner) == 2 * products
    outer = keras.Sequential([inner, layers.Flatten(), layers.Dense(7)])
    outer.build((None, 8, 8, 3))
    assert cost.flops(outer) == 2 * (products + 128 * 7)


@pytest.fixture
def model():
    return small_models.colorizer("polychromify", size=16, width=0.05)


@pytest.fixture
def batches():
    return Batches(np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype="uint8"), 8, seed=0)


def test_memory_is_that_of_variables_gradients_and_outputs(model, batches):
    model(batches[0][0])
    outputs = sum(np.prod(layer.output.shape[1:]) for layer in model.network.layers)
    one, three = (cost.training_bytes(model, size) for size in (1, 3))
    assert three - one == 2 * 4 * outputs
    weights = sum(np.prod(weight.shape) for weight in model.network.trainable_weights)
    others = checkpoint.state_variables(model)
    assert one - 4 * outputs == 4 * (weights + sum(np.prod(variable.shape) for variable in others))
    assert one - 4 * outputs > 4 * 4 * weights  # the weight, its gradient, and Adam's two moments


def test_measuring_speed_leaves_the_model_as_it_was(model, batches):
    model(batches[0][0])
    before = [np.array(variable) for variable in checkpoint.state_variables(model)]
    begun = time.monotonic()
    speed = cost.images_a_second(model, batches, seconds=0.5)
    assert 24 / (time.monotonic() - begun) < speed < 1e6  # compiling is not part of it
    for variable, value in zip(checkpoint.state_variables(model), before, strict=True):
        np.testing.assert_array_equal(np.array(variable), value)


def test_a_block_that_trains_is_undone(model, batches):
    model(batches[0][0])
    before = [np.array(weight) for weight in model.network.weights]
    with checkpoint.as_before(model):
        model.fit(batches, epochs=1, verbose=0)
        changed = [np.array(weight) for weight in model.network.weights]
    assert any(not np.array_equal(one, other) for one, other in zip(before, changed, strict=True))
    for one, other in zip(before, model.network.weights, strict=True):
        np.testing.assert_array_equal(one, np.array(other))


def test_speed_is_that_of_the_batches_after_the_first(batches, monkeypatch):
    """By a clock that goes ever faster, so that each batch counts: warming up takes two batches, and measuring three epochs."""

    class Clock:
        batches = 0

        def monotonic(self):
            self.batches += 1
            return self.batches**2 / 4

    inputs = keras.Input((16, 16, 1))
    model = Colorizer(keras.Model(inputs, layers.Conv2D(2, 1)(inputs)), "polychromify")
    model.compile("sgd", "mse", run_eagerly=True)
    model(batches[0][0])
    clock = Clock()
    monkeypatch.setattr(cost, "time", clock)
    speed = cost.images_a_second(model, batches, seconds=1000)
    assert clock.batches == 2 + 9
    assert speed == pytest.approx(8 * 8 / (11**2 / 4 - 3**2 / 4))
    clock.batches = 0
    speed = cost.images_a_second(model, batches, seconds=4)  # of which the third batch is the last second
    assert clock.batches == 2 + 4
    assert speed == pytest.approx(3 * 8 / (6**2 / 4 - 3**2 / 4))
