"""Each faster layer has the results of Keras' own, and leaves to Keras what it cannot do."""

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

from colorize_lib.acceleration import accelerate, kernels
from colorize_lib.acceleration.layers import twin


def plain(network):
    return network


def trained(way, images, policy):
    """Outputs, gradients of scale and offset, and moving statistics of one training step of a layer on top of a convolution."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(images.shape[1:])
    x = layers.Conv2D(3, 1, dtype=policy)(inputs)
    model = way(keras.Model(inputs, layers.BatchNormalization(momentum=0.7, epsilon=1e-3, dtype=policy)(x)))
    model.compile(keras.optimizers.SGD(1.0), loss=lambda target, found: ops.mean(ops.square(found - target) * target))
    target = np.random.default_rng(1).normal(size=(*images.shape[:3], 3)).astype("float32")
    outputs = np.array(ops.cast(model(images, training=True), "float32"))
    model.train_on_batch(images, target)
    return [outputs, *model.get_weights()]


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 1, 1, 2), (4, 5, 6, 2)])
@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 2e-5), ("mixed_bfloat16", 0.05)])
def test_batch_normalization_trains_as_keras_layer(shape, policy, tolerance):
    images = np.random.default_rng(0).normal(3, 2, shape).astype("float32")
    ours, theirs = (trained(way, images, policy) for way in (accelerate, plain))
    assert len(ours) == 7
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def counted(monkeypatch, name):
    """A list that grows with every call of a kernel, which works as before."""
    calls, kernel = [], getattr(kernels, name)
    monkeypatch.setattr(kernels, name, lambda *given: calls.append(1) or kernel(*given))
    return calls


def normalization(shape, **options):
    layer = layers.BatchNormalization(**options)
    layer.build(shape)
    return twin(layer)


def test_batch_normalization_uses_the_kernel_only_where_there_is_one(monkeypatch):
    calls = counted(monkeypatch, "batch_normalization")
    images = np.ones((2, 4, 4, 3), "float32")
    on_tensorflow = keras.backend.backend() == "tensorflow"
    layer = normalization(images.shape)
    layer(images, training=True)
    assert len(calls) == on_tensorflow
    layer(images, training=False)
    normalization((2, 3))(images[:, 0, 0], training=True)
    normalization(images.shape, axis=1)(images, training=True)
    frozen = normalization(images.shape, trainable=False)
    frozen(images, training=True)
    assert len(calls) == on_tensorflow
    assert np.array(frozen.moving_mean).tolist() == [0, 0, 0]
    assert np.array(layer.moving_mean) == pytest.approx([0.01] * 3)


def in_integers(way, chains, size, channels):
    """Outputs of chains of layers side by side, and all weights after one compiled training step, all numbers small integers.

    bfloat16 computes with those exactly.
    """
    random = np.random.default_rng(0)
    inputs = keras.Input((*size, channels))
    ends = [functools.reduce(lambda x, layer: layer(x), chain, inputs) for chain in chains]
    network = way(keras.Model(inputs, ends))
    losses = [lambda target, found: ops.sum(found * target)] * len(ends)
    network.compile(keras.optimizers.SGD(1.0), loss=losses, jit_compile=False)
    network.set_weights([random.integers(-1, 2, weight.shape) for weight in network.weights])
    images = random.integers(-1, 2, (2, *size, channels)).astype("float32")
    outputs = network.predict(images, verbose=0)
    network.train_on_batch(images, [random.integers(-1, 2, output.shape).astype("float32") for output in outputs])
    return [np.asarray(output, "float32") for output in outputs], network.get_weights()


def assert_same(ours, theirs):
    for group, other in zip(ours, theirs, strict=True):
        assert len(group) == len(other) > 1
        for number, (found, expected) in enumerate(zip(group, other, strict=True)):
            np.testing.assert_array_equal(found, expected, err_msg=f"number {number}")


@pytest.mark.long  # on JAX, Keras' own layers compute
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("size", [(3, 4), (9, 8)])
def test_a_convolution_takes_over_the_upsampling_before_it(size, policy, monkeypatch):
    calls = counted(monkeypatch, "convolution")
    kinds = [(1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (3, 3), (2, 5)]

    def chain(kernel, factor):
        convolution = layers.Conv2D(3, kernel, padding="same", activation="relu", dtype=policy)
        # The first layer rounds: an upsampling that does would not be taken over.
        return [layers.Identity(dtype=policy), layers.UpSampling2D(factor, dtype=policy), convolution]

    # More channels than the smaller map has positions.
    ours, theirs = (
        in_integers(way, [chain(*kind) for kind in kinds], size, channels=20) for way in (accelerate, plain)
    )
    shapes = [(2, factor * size[0], factor * size[1], 3) for _, factor in kinds]
    assert [output.shape for output in ours[0]] == shapes
    assert_same(ours, theirs)
    assert bool(calls) == kernels.tensorflow_cpu()


@pytest.mark.long
@pytest.mark.skipif(keras.backend.backend() != "jax", reason="is about JAX")
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_jax_can_compute_on_the_smaller_map(policy, monkeypatch):
    calls = counted(monkeypatch, "upsampled_convolution")
    monkeypatch.setattr(kernels, "SMALLER_MAP_ON_JAX", True)
    test_a_convolution_takes_over_the_upsampling_before_it((9, 8), policy, monkeypatch)
    assert len(calls) >= 6  # one for each kernel that is larger than 1×1


@pytest.mark.long
@pytest.mark.parametrize("kind", [layers.Conv2D, layers.Conv2DTranspose])
@pytest.mark.parametrize("size", [(4, 4), (7, 5), (17, 16)])
def test_convolutions_learn_as_keras_layers(kind, size, monkeypatch):
    calls = counted(monkeypatch, "convolution" if kind is layers.Conv2D else "transposed_convolution")
    # Small maps have fewer positions than the larger number of these.
    channels, filters = (3, 40) if kind is layers.Conv2D else (40, 3)

    def chains():
        for kernel, strides in [(1, 1), (3, 1), (4, 2), (3, 2), (2, 3), ((2, 3), (2, 1))]:
            for padding in ("same", "valid"):
                options = dict(strides=strides, padding=padding, use_bias=padding == "same", dtype="mixed_bfloat16")
                yield [kind(filters, kernel, **options)]

    ours, theirs = (in_integers(way, chains(), size, channels) for way in (accelerate, plain))
    assert_same(ours, theirs)
    assert bool(calls) == kernels.tensorflow_cpu()


@pytest.mark.parametrize("options", [dict(dilation_rate=2), dict(data_format="channels_first"), dict(groups=2)])
def test_other_convolutions_are_left_to_keras(options, monkeypatch):
    monkeypatch.setattr(kernels, "convolution", None)
    images = np.ones((1, 6, 6, 6), "float32")
    layer = layers.Conv2D(4, 3, kernel_initializer="ones", **options)
    layer.build(images.shape)
    if "data_format" in options and keras.backend.backend() == "tensorflow":
        assert twin(layer).compute_output_shape(images.shape) == layer.compute_output_shape(images.shape)
    else:
        np.testing.assert_array_equal(np.array(twin(layer)(images)), np.array(layer(images)))


def up_and_convolve(upsampling=None, convolution=None, **options):
    """A network of an upsampling by 2 and a convolution, each with other options than the usual ones."""
    return keras.Sequential(
        [
            keras.Input(options.get("shape", (4, 4, 1))),
            layers.UpSampling2D(**{"size": 2} | (upsampling or {})),
            layers.Conv2D(2, **{"kernel_size": 3, "padding": "same"} | (convolution or {})),
        ]
    )


def test_sizes_may_be_unknown():
    network = accelerate(up_and_convolve(shape=(None, None, 1)))
    assert network.output_shape == (None, None, None, 2)
    for size in (3, 5):
        assert network.predict(np.ones((1, size, size, 1)), verbose=0).shape == (1, 2 * size, 2 * size, 2)


def blurred(x):
    return ops.average_pool(x, 3, 1, padding="same")


@pytest.mark.parametrize(
    ("upsampling", "convolution"),
    [
        ({}, dict(strides=2)),
        ({}, dict(padding="valid")),
        ({}, dict(dilation_rate=2)),
        ({}, dict(kernel_size=1, activation=blurred)),
        ({}, dict(activity_regularizer="l2")),
        (dict(interpolation="bilinear"), {}),
        (dict(size=(2, 1)), {}),
        (dict(dtype="bfloat16"), {}),
    ],
)
def test_another_upsampling_or_convolution_stays_as_it_is(upsampling, convolution):
    network = up_and_convolve(upsampling, convolution)
    faster = accelerate(network)
    assert [layer.name for layer in faster.layers[1:]] == [layer.name for layer in network.layers]
    images = np.random.default_rng(0).normal(size=(2, 4, 4, 1)).astype("float32")
    found, expected = (model.predict(images, verbose=0) for model in (faster, network))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def pad_and_convolve(padding, convolution=None, **options):
    return keras.Sequential(
        [
            keras.Input((5, 4, 2)),
            layers.Identity(),
            layers.ZeroPadding2D(padding, **options),
            layers.Conv2D(3, **{"kernel_size": 3} | (convolution or {})),
        ]
    )


@pytest.mark.parametrize(("padding", "kernel"), [(1, 3), (2, 5), ((1, 0), (3, 1)), ((0, 0), 1)])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_convolution_takes_over_the_zeros_before_it(padding, kernel, policy, monkeypatch):
    calls = counted(monkeypatch, "convolution")

    def chain():
        convolution = layers.Conv2D(3, kernel, activation="relu", dtype=policy)
        return [layers.Identity(dtype=policy), layers.ZeroPadding2D(padding, dtype=policy), convolution]

    ours, theirs = (in_integers(way, [chain(), chain()], (5, 4), channels=20) for way in (accelerate, plain))
    assert_same(ours, theirs)
    assert bool(calls) == kernels.tensorflow_cpu()
    network = pad_and_convolve(padding, dict(kernel_size=kernel))
    faster = accelerate(network)
    assert not any(isinstance(layer, layers.ZeroPadding2D) for layer in faster.layers)
    assert faster.output_shape == network.output_shape == (None, 5, 4, 3)


@pytest.mark.parametrize(
    ("padding", "convolution"),
    [
        (1, dict(strides=2)),
        (1, dict(padding="same")),
        (2, dict(dilation_rate=2)),
        (1, dict(kernel_size=2)),
        (1, dict(kernel_size=5)),
        (((1, 0), (1, 1)), {}),
        (1, dict(activity_regularizer="l2")),
    ],
)
def test_other_zeros_stay_as_they_are(padding, convolution):
    network = pad_and_convolve(padding, convolution)
    faster = accelerate(network)
    assert any(isinstance(layer, layers.ZeroPadding2D) for layer in faster.layers)
    images = np.random.default_rng(0).normal(size=(2, 5, 4, 2)).astype("float32")
    found, expected = (model.predict(images, verbose=0) for model in (faster, network))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_models_that_share_a_convolution_pad_it_in_their_own_ways():
    inputs, convolution = keras.Input((8, 8, 1)), layers.Conv2D(1, 3)
    padded, bare = (keras.Model(inputs, convolution(x)) for x in (layers.ZeroPadding2D(1)(inputs), inputs))
    faster = [accelerate(model) for model in (padded, bare)]
    images = np.ones((1, 8, 8, 1), "float32")
    assert [model(images).shape[1:3] for model in faster] == [(8, 8), (6, 6)]


def test_the_smaller_map_is_used_in_compiled_steps(monkeypatch):
    calls = counted(monkeypatch, "upsampled_convolution")
    network = accelerate(up_and_convolve())
    network(np.ones((1, 4, 4, 1)))
    assert not calls
    network.predict(np.ones((1, 4, 4, 1)), verbose=0)
    assert len(calls) == (keras.backend.backend() == "tensorflow")


@pytest.mark.parametrize("kind", [layers.Conv2D, layers.Conv2DTranspose, layers.Dense])
def test_the_gradient_of_a_bias_keeps_all_terms(kind):
    """65,536 of them, where bfloat16 stops counting at 256."""
    options = dict(filters=8, kernel_size=1) if kind is not layers.Dense else dict(units=8)
    found = []
    for policy in ("float32", "mixed_bfloat16"):
        layer = kind(dtype=policy, **options)
        network = accelerate(keras.Sequential([keras.Input((128, 128, 2)), layer]))
        network.compile(keras.optimizers.SGD(1.0), loss=lambda target, found: ops.mean(found), jit_compile=False)
        images = np.ones((4, 128, 128, 2), "float32")
        network.train_on_batch(images, np.zeros((4, *network.output_shape[1:]), "float32"))
        found.append(np.array(layer.bias))
    assert found[0] == pytest.approx(np.full(8, -1 / 8), rel=1e-4)
    assert found[1] == pytest.approx(found[0], rel=0.01)
