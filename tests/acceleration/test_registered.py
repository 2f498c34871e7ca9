"""Every registered network: the accelerated one equals the plain one, and its file opens without this project."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from colorize_lib import models
from colorize_lib.acceleration import accelerate

SIZES = {"resnet50_autoencoder": 30, "vgg16_decoder": 64, "pix2pix_unet": 128, "yosemite_unet": 64}
CLASSIFIERS = ("resnet18_gray", "vac_classifier")
# Networks of layers that one of the others has as well, and large ones.
LONG = {f"polychromify_{version}" for version in ("a", "b", "overfit", "v1", "v2", "v4", "v5", "v6")}
LONG |= {"colornet_distribution", "kth_generator", "vac_classifier", "vgg16_features"}
LONG |= {"resnet50_autoencoder", "resnet18_gray", "eccv16", "siggraph17", "pix2pix_unet"}
NAMES = [pytest.param(name, marks=[pytest.mark.soak] * (name in LONG)) for name in models.names()]


def build(name, dtype="float32"):
    """A small network without dropout, whose layers are those of both ways anyway, and with trained offsets."""
    options = {"size": SIZES.get(name, 32), "dtype": dtype, "width": 0.1, "weights": None} | (
        {"classes": 5} if name in CLASSIFIERS else {}
    )
    keras.utils.set_random_seed(1)
    network = models.build(
        name, **{key: options[key] for key in ("dtype", *models.option_names(name)) if key in options}
    )
    random = np.random.default_rng(1)
    for layer in network._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    for variable in network.weights:
        if variable.name in ("bias", "beta"):  # so that no unit lies at the kink of its ReLU
            variable.assign(random.normal(0, 0.1, variable.shape))
    return network


def data(network, count=4, seed=0):
    random = np.random.default_rng(seed)
    images, targets = (
        random.uniform(low, 1, (count, *of[0].shape[1:])) for low, of in ((0, network.inputs), (0.5, network.outputs))
    )
    return images.astype("float32"), targets.astype("float32")


def results(networks):
    """A compiled function of (images, targets) → for each network its outputs, and its gradients as {path: array}."""
    paths = [variable.path for variable in networks[0].trainable_variables]
    step = _jax_step(networks) if keras.backend.backend() == "jax" else _tensorflow_step(networks)

    def found(images, targets):
        outputs, gradients = step(images, targets)
        named = [{path: np.array(g, "float64") for path, g in zip(paths, each, strict=True)} for each in gradients]
        return list(zip(map(np.array, outputs), named, strict=True))

    return found


def _tensorflow_step(networks):
    import tensorflow as tf

    @tf.function
    def step(images, targets):
        outputs, gradients = [network(images, training=False) for network in networks], []
        for network in networks:
            with tf.GradientTape() as tape:
                loss = ops.mean(ops.square(network(images, training=True) - targets))
            gradients.append(tape.gradient(loss, [variable.value for variable in network.trainable_variables]))
        return outputs, gradients

    return lambda *given: step(*map(tf.constant, given))


def _jax_step(networks):
    import jax

    def loss(values, network, fixed, images, targets):
        return ops.mean(ops.square(network.stateless_call(values, fixed, images, training=True)[0] - targets))

    @jax.jit
    def step(states, images, targets):
        pairs = list(zip(networks, states, strict=True))
        outputs = [network.stateless_call(*state, images, training=False)[0] for network, state in pairs]
        return outputs, [jax.grad(loss)(values, network, fixed, images, targets) for network, (values, fixed) in pairs]

    def current():
        return [
            tuple([v.value for v in group] for group in (network.trainable_variables, network.non_trainable_variables))
            for network in networks
        ]

    return lambda images, targets: step(current(), images, targets)


def before_normalization(network):
    """Paths of the biases whose gradient is 0, because batch normalization follows: what is left of it is rounding."""
    found = []
    for layer in network._flatten_layers():
        for node in layer._outbound_nodes:
            if isinstance(node.operation, keras.layers.BatchNormalization) and node.operation.trainable:
                found += [variable.path for variable in layer.weights if variable.name == "bias"]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_accelerated_equals_plain(name, tmp_path):
    network = build(name)
    network.trainable = True  # also what is frozen
    faster = accelerate(network)
    assert any(type(layer).__module__.startswith("colorize_lib") for layer in faster._flatten_layers())
    images, targets = data(network)
    exact = build(name, "float64")
    exact.trainable = True
    exact.set_weights(network.get_weights())
    (plain_outputs, plain), (outputs, gradients), (_, true) = results([network, faster, exact])(images, targets)
    np.testing.assert_allclose(outputs, plain_outputs, rtol=0, atol=1e-6 * max(1, np.abs(plain_outputs).max()))
    exempt, allowed = before_normalization(network), {}
    for path, gradient in plain.items():
        layer = path.rpartition("/")[0]
        # Deep networks with batch normalization of four images magnify roundings: plain float32 is off, too.
        rounding = np.abs(true[path] - gradient).max()
        allowed[layer] = max(allowed.get(layer, 0), 1e-4 * np.abs(gradient).max(), 4 * rounding)
    for path, gradient in plain.items():
        if path not in exempt:
            error = np.abs(gradients[path] - gradient).max()
            assert error <= allowed[path.rpartition("/")[0]], f"{path}: {error}"

    # Weights files of both fit both.
    values = [weight + weight.dtype.type(0.125) for weight in network.get_weights()]
    for source, target in ((network, build(name)), (faster, build(name))):
        network.set_weights(values)
        source.save_weights(tmp_path / "w.weights.h5")
        accelerate(target).load_weights(tmp_path / "w.weights.h5")
        assert all(np.array_equal(*pair) for pair in zip(target.get_weights(), values, strict=True))
        target.set_weights([0 * value for value in values])
        target.load_weights(tmp_path / "w.weights.h5")
        assert all(np.array_equal(*pair) for pair in zip(target.get_weights(), values, strict=True))


def distances(found, expected):
    """How far gradients lie from others, relative to them, variable by variable."""
    norms = {path: np.linalg.norm(gradient) for path, gradient in expected.items()}
    return [np.linalg.norm(found[path] - expected[path]) / norm + 1e-9 for path, norm in norms.items() if norm]


@pytest.mark.parametrize("name", NAMES)
def test_accelerated_bfloat16_is_as_near_to_float32_as_plain_bfloat16(name):
    """Over several draws of weights and images, because a single draw decides by chance which of the two is rounded better.

    There are as many pixels as in a real batch: the gradients of biases are then long sums, which plain Keras adds up in bfloat16.
    Where there are none, both ways round alike: the 5 % are for chance.
    """
    exact, rounded = build(name), build(name, "mixed_bfloat16")
    exact.trainable = rounded.trainable = True
    exempt = before_normalization(exact)
    count = max(8, 64 * 32**2 // SIZES.get(name, 32) ** 2)
    step, random, of_plain, of_ours = results([exact, rounded, accelerate(rounded)]), np.random.default_rng(2), [], []
    weights = exact.get_weights()
    for draw in range(3):
        for network in (exact, rounded):
            network.set_weights(weights)
        truth, plain, ours = (
            {path: gradient for path, gradient in gradients.items() if path not in exempt}
            for _, gradients in step(*data(exact, count, draw))
        )
        of_plain += distances(plain, truth)
        of_ours += distances(ours, truth)
        weights = [random.permuted(weight) if weight.ndim else weight for weight in exact.get_weights()]
    ratios = np.divide(of_ours, of_plain)
    assert np.exp(np.mean(np.log(ratios))) < 1.05


CHECK = """
import sys
sys.modules["colorize_lib"] = None  # an import of it is an error
import keras, numpy as np, pathlib
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    network = keras.models.load_model(path)
    with np.load(path.with_suffix(".npz")) as kept:
        found = network(kept["images"])
        np.testing.assert_allclose(found, kept["outputs"], rtol=1e-5, atol=1e-6, err_msg=path.stem)
    print(path.stem)
"""


def test_files_of_all_networks_open_without_this_project(tmp_path):
    for name in models.names():
        network = build(name)
        accelerate(network)
        images, _ = data(network)
        np.savez(tmp_path / f"{name}.npz", images=images, outputs=network(images))
        network.save(tmp_path / f"{name}.keras")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK, tmp_path], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == models.names()
