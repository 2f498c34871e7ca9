import keras
import numpy as np
import pytest
from keras import ops

from colorize_lib.acceleration import kernels
from colorize_lib.acceleration.layers import BatchNormalization, Conv2D, Conv2DTranspose, Dense


def trained(layer, images, policy):
    """Outputs, gradients of scale and offset, and moving statistics of one training step of a layer on top of a convolution."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(images.shape[1:])
    x = keras.layers.Conv2D(3, 1, dtype=policy)(inputs)
    layer = layer(momentum=0.7, epsilon=1e-3, dtype=policy)
    model = keras.Model(inputs, layer(x))
    model.compile(keras.optimizers.SGD(1.0), loss=lambda target, found: ops.mean(ops.square(found - target) * target))
    target = np.random.default_rng(1).normal(size=(*images.shape[:3], 3)).astype("float32")
    outputs = np.array(ops.cast(model(images, training=True), "float32"))
    model.train_on_batch(images, target)
    return [outputs, *model.get_weights()]


@pytest.mark.parametrize("shape", [(1, 1, 1, 2), (2, 1, 1, 2), (4, 5, 6, 2)])
@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 2e-5), ("mixed_bfloat16", 0.05)])
def test_batch_normalization_trains_as_keras_layer(shape, policy, tolerance):
    images = np.random.default_rng(0).normal(3, 2, shape).astype("float32")
    ours, theirs = (trained(layer, images, policy) for layer in (BatchNormalization, keras.layers.BatchNormalization))
    assert len(ours) == 7
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_batch_normalization_uses_the_kernel_only_where_there_is_one(monkeypatch):
    calls = []
    kernel = kernels.batch_normalization
    monkeypatch.setattr(kernels, "batch_normalization", lambda *given: calls.append(1) or kernel(*given))
    images = np.ones((2, 4, 4, 3), "float32")
    on_tensorflow = keras.backend.backend() == "tensorflow"
    layer = BatchNormalization()
    layer(images, training=True)
    assert len(calls) == on_tensorflow
    layer(images, training=False)
    BatchNormalization()(images[:, 0, 0], training=True)
    BatchNormalization(axis=1)(images, training=True)
    frozen = BatchNormalization(trainable=False)
    frozen(images, training=True)
    assert len(calls) == on_tensorflow
    assert np.array(frozen.moving_mean).tolist() == [0, 0, 0]
    assert np.array(layer.moving_mean) == pytest.approx([0.01] * 3)


def test_weights_of_both_layers_are_the_same_files(tmp_path):
    paths = tmp_path / "ours.weights.h5", tmp_path / "keras.weights.h5"
    models = []
    for layer, path in zip((BatchNormalization, keras.layers.BatchNormalization), paths, strict=True):
        models.append(keras.Sequential([keras.Input((4, 4, 2)), layer()]))
        models[-1].set_weights([np.full(2, value, "float32") for value in range(4)])
        models[-1].save_weights(path)
    models[0].set_weights([np.zeros(2, "float32")] * 4)
    models[0].load_weights(paths[1])
    assert [weight[0] for weight in models[0].get_weights()] == [0, 1, 2, 3]
    models[1].load_weights(paths[0])


def in_integers(chain, size, channels):
    """Outputs, and weights after one compiled training step, of layers one after the other where all numbers are small integers:
    bfloat16 computes with those exactly."""
    random = np.random.default_rng(0)
    network = keras.Sequential([keras.Input((*size, channels)), *chain])
    network.compile(keras.optimizers.SGD(1.0), loss=lambda target, found: ops.sum(found * target), jit_compile=False)
    network.set_weights([random.integers(-1, 2, weight.shape) for weight in network.weights])
    images = random.integers(-1, 2, (2, *size, channels)).astype("float32")
    outputs = network.predict(images, verbose=0)
    network.train_on_batch(images, random.integers(-1, 2, outputs.shape).astype("float32"))
    return [np.asarray(outputs, "float32"), *network.get_weights()]


def assert_same(ours, theirs):
    assert len(ours) == len(theirs) > 1
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("kernel", "factor"), [(1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (3, 3), (2, 5)])
@pytest.mark.parametrize("size", [(3, 4), (9, 8)])
def test_upsampling_within_a_convolution_is_that_before_it(size, kernel, factor, policy):
    options = dict(padding="same", activation="relu", dtype=policy)
    channels = 20  # more than the smaller map has positions
    ours = in_integers([Conv2D(3, kernel, upsampling=factor, **options)], size, channels)
    plain = [keras.layers.UpSampling2D(factor, dtype=policy), keras.layers.Conv2D(3, kernel, **options)]
    assert ours[0].shape == (2, factor * size[0], factor * size[1], 3)
    assert_same(ours, in_integers(plain, size, channels))


@pytest.mark.parametrize("layer", [Conv2D, Conv2DTranspose])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(("kernel", "strides"), [(1, 1), (3, 1), (4, 2), (3, 2), (2, 3), ((2, 3), (2, 1))])
@pytest.mark.parametrize("size", [(4, 4), (7, 5), (17, 16)])
def test_convolutions_learn_as_keras_layers(layer, size, kernel, strides, padding):
    options = dict(strides=strides, padding=padding, use_bias=padding == "same", dtype="mixed_bfloat16")
    few, many = (
        (3, 40) if layer is Conv2D else (40, 3)
    )  # filters, so that small maps have fewer positions than the many
    of_keras = getattr(keras.layers, layer.__name__)
    assert_same(*(in_integers([kind(many, kernel, **options)], size, channels=few) for kind in (layer, of_keras)))


@pytest.mark.parametrize("options", [dict(dilation_rate=2), dict(data_format="channels_first"), dict(groups=2)])
def test_other_convolutions_are_left_to_keras(options, monkeypatch):
    monkeypatch.setattr(kernels, "convolution", None)
    images = np.ones((1, 6, 6, 6), "float32")
    ours, theirs = (kind(4, 3, kernel_initializer="ones", **options) for kind in (Conv2D, keras.layers.Conv2D))
    if "data_format" in options and keras.backend.backend() == "tensorflow":
        assert ours.compute_output_shape(images.shape) == theirs.compute_output_shape(images.shape)
    else:
        np.testing.assert_array_equal(np.array(ours(images)), np.array(theirs(images)))


def test_sizes_may_be_unknown():
    network = keras.Sequential([keras.Input((None, None, 1)), Conv2D(2, 3, padding="same", upsampling=2)])
    assert network.output_shape == (None, None, None, 2)
    for size in (3, 5):
        assert network.predict(np.ones((1, size, size, 1)), verbose=0).shape == (1, 2 * size, 2 * size, 2)


@pytest.mark.parametrize("options", [dict(strides=2), dict(padding="valid"), dict(data_format="channels_first")])
def test_upsampling_goes_with_plain_convolutions(options):
    with pytest.raises(ValueError, match="strides of 1, same padding"):
        Conv2D(2, 3, **{"padding": "same", "upsampling": 2} | options)


def test_the_smaller_map_is_used_in_compiled_steps(monkeypatch):
    calls = []
    kernel = kernels.upsampled_convolution
    monkeypatch.setattr(kernels, "upsampled_convolution", lambda *given: calls.append(1) or kernel(*given))
    network = keras.Sequential([keras.Input((4, 4, 1)), Conv2D(2, 3, padding="same", upsampling=2)])
    network(np.ones((1, 4, 4, 1)))
    assert not calls
    network.predict(np.ones((1, 4, 4, 1)), verbose=0)
    assert len(calls) == (keras.backend.backend() == "tensorflow")


@pytest.mark.parametrize("layer", [Conv2D(8, 1, name="c"), Conv2DTranspose(8, 2, 2, name="t"), Dense(8, name="d")])
def test_the_gradient_of_a_bias_keeps_all_terms(layer):
    """65,536 of them, where bfloat16 stops to count at 256."""
    found = []
    for policy in ("float32", "mixed_bfloat16"):
        twin = type(layer).from_config(layer.get_config() | {"dtype": policy})
        network = keras.Sequential([keras.Input((128, 128, 2)), twin])
        network.compile(keras.optimizers.SGD(1.0), loss=lambda target, found: ops.mean(found), jit_compile=False)
        images = np.ones((4, 128, 128, 2), "float32")
        network.train_on_batch(images, np.zeros((4, *network.output_shape[1:]), "float32"))
        found.append(np.array(twin.bias))
    assert found[0] == pytest.approx(np.full(8, -1 / 8), rel=1e-4)
    assert found[1] == pytest.approx(found[0], rel=0.01)
