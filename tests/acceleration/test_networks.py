"""An accelerated network is the plain one: same variables, same files, same results."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from colorize_lib import models
from colorize_lib.acceleration import accelerate, kernels
from colorize_lib.apps.trained import WEIGHTS
from colorize_lib.errors import InputError
from colorize_lib.training.adversarial import AdversarialColorizer, adam_optimizers
from colorize_lib.training.colorizer import Colorizer


def small_network(activation="relu"):
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, 2, "same", name="down")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.LeakyReLU(0.2, name="leaky")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.UpSampling2D(2, name="enlarge")(x)
    return keras.Model(inputs, layers.Conv2D(2, 3, padding="same", activation=activation, name="ab")(x), name="small")


def images(network, count=3):
    return np.random.default_rng(0).normal(size=(count, *network.input_shape[1:])).astype("float32")


def test_variables_and_names_are_those_of_the_plain_network():
    network = small_network()
    faster = accelerate(network)
    assert faster.name == network.name
    assert [layer.name for layer in faster.layers[1:]] == ["down", "norm", "leaky", "drop", "ab"]
    assert [id(variable) for variable in faster.variables] == [id(variable) for variable in network.variables]
    assert faster.get_layer("ab").get_config() == network.get_layer("ab").get_config()
    assert type(network.get_layer("ab")) is layers.Conv2D


def test_what_is_changed_in_the_plain_network_is_changed_in_the_faster_one():
    network = small_network()
    faster = accelerate(network)
    network.get_layer("norm").trainable = False
    faster(images(network), training=True)
    assert np.array(network.get_layer("norm").moving_mean).tolist() == [0] * 4
    network.get_layer("norm").trainable = True
    network.get_layer("norm").momentum = 0.0
    faster(images(network), training=True)
    assert np.abs(np.array(network.get_layer("norm").moving_mean)).min() > 0
    network.set_weights([np.zeros(weight.shape) for weight in network.weights])
    assert not np.array(faster(images(network))).any()


def test_nested_and_sequential_networks_are_accelerated():
    inner = small_network("linear")
    network = keras.Sequential([keras.Input((8, 8, 1)), inner, layers.Conv2D(3, 1, name="rgb")])
    faster = accelerate(network)
    assert type(faster.get_layer("small").get_layer("ab")).__module__ == "colorize_lib.acceleration.layers"
    assert type(faster.get_layer("rgb")).__module__ == "colorize_lib.acceleration.layers"
    np.testing.assert_allclose(
        faster.predict(images(network), verbose=0), network.predict(images(network), verbose=0), atol=1e-6
    )
    assert [id(variable) for variable in faster.variables] == [id(variable) for variable in network.variables]


def test_a_layer_may_be_used_twice():
    inputs = keras.Input((4, 4, 1))
    convolution = layers.Conv2D(1, 3, padding="same")
    x = convolution(inputs)
    large = layers.UpSampling2D(2)(x)
    network = keras.Model(inputs, {"again": convolution(large), "large": large})
    faster = accelerate(network)
    assert len(faster.weights) == 2
    found, expected = (model.predict(images(network), verbose=0) for model in (faster, network))
    assert set(found) == {"again", "large"}
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


def test_subclassed_models_and_what_is_switched_off_stay(monkeypatch):
    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    class Functional(type(small_network())):
        def call(self, inputs):
            return inputs

    inputs = keras.Input((2,))
    for network in (Own(), Functional(inputs, inputs), keras.Sequential([layers.Dense(1)])):
        assert accelerate(network) is network
    monkeypatch.setenv("COLORIZE_ACCELERATE", "0")
    network = small_network()
    assert accelerate(network) is network


def test_a_compiled_network_keeps_its_optimizer():
    network = small_network()
    network.compile("adam", "mse")
    optimizer = network.optimizer
    assert not accelerate(network).compiled
    assert network.optimizer is optimizer


@pytest.mark.parametrize("accelerated", [True, False])
def test_colorizer_takes_the_faster_ways_unless_told_otherwise(accelerated, monkeypatch):
    calls = []
    for name in ("upsampled_convolution", "adam"):
        kernel = getattr(kernels, name)
        monkeypatch.setattr(
            kernels, name, lambda *given, name=name, kernel=kernel: calls.append(name) or kernel(*given)
        )
    model = Colorizer(small_network(), "kth", accelerate=accelerated)
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    rgb = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype="uint8")
    model.fit(rgb, batch_size=2, verbose=0)
    taken = accelerated and keras.backend.backend() == "tensorflow"
    assert set(calls) == ({"upsampled_convolution", "adam"} if taken else set())


def test_a_colorizer_keeps_its_weights_once_and_in_its_network(tmp_path):
    model = Colorizer(small_network(), "kth")
    rgb = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype="uint8")
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    model.fit(rgb, batch_size=2, verbose=0)
    assert len(model.weights) == len(model.network.weights)
    expected = model.predict(rgb, verbose=0)["prediction"]
    model.network.save(tmp_path / "network.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    model.network.save_weights(tmp_path / "network.weights.h5")

    again = Colorizer(keras.models.load_model(tmp_path / "network.keras"), "kth")
    np.testing.assert_allclose(again.predict(rgb, verbose=0)["prediction"], expected, atol=1e-6)
    for part, name in (("self", "model"), ("network", "network")):
        again = Colorizer(small_network(), "kth")
        again(rgb)
        (again if part == "self" else again.network).load_weights(tmp_path / f"{name}.weights.h5")
        np.testing.assert_allclose(again.predict(rgb, verbose=0)["prediction"], expected, atol=1e-6)


def test_a_colorizer_says_what_to_save_instead(tmp_path):
    model = Colorizer(small_network(), "kth")
    model(np.zeros((1, 8, 8, 3), "uint8"))
    with pytest.raises(
        InputError, match=r"A Colorizer cannot be saved as a whole: save its network by network\.save\(path\)"
    ):
        model.save(tmp_path / "model.keras")


def test_the_bundled_weights_fit_the_plain_and_the_faster_network():
    network = models.build("polychromify")
    network.load_weights(WEIGHTS / "polychromify.weights.h5")
    lightness = 50 + 20 * images(network)
    expected = network.predict(lightness, verbose=0)
    network.set_weights([np.zeros(weight.shape) for weight in network.weights])
    faster = accelerate(network)
    faster.load_weights(WEIGHTS / "polychromify.weights.h5")
    np.testing.assert_allclose(faster.predict(lightness, verbose=0), expected, atol=1e-5)
    assert np.ptp(expected) > 0.05


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="messages of TensorFlow's graph optimizer")
@pytest.mark.parametrize("accelerated", [True, False])
def test_adversarial_training_prints_no_message_of_the_graph_optimizer(accelerated, capfd):
    parts = [models.build(name, size=16, width=0.05) for name in ("kth_generator", "patch_discriminator")]
    classifier = models.build("vac_classifier", size=16, width=0.05, classes=2)
    model = AdversarialColorizer(*parts, classifier, accelerate=accelerated)
    model.compile(**adam_optimizers())
    rgb = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype="uint8")
    model.fit(rgb, np.array([0, 1]), batch_size=2, verbose=0)
    messages = capfd.readouterr().err
    assert ("LeakyReluGrad" in messages) == (not accelerated), "plain layers show that the test would see a message"


@pytest.mark.parametrize("policy", ["float64", "bfloat16"])
def test_other_precisions_work(policy):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 2))
    x = layers.Conv2D(3, 3, padding="same", dtype=policy)(inputs)
    network = keras.Model(inputs, layers.BatchNormalization(dtype=policy)(x))
    batch = images(network)
    found, expected = (
        np.array(ops.cast(model(batch, training=True), "float32")) for model in (accelerate(network), network)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6 if policy == "float64" else 0.1)
