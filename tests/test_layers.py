import keras
import numpy as np
import pytest
from keras import ops

from colorize_lib import fusion
from colorize_lib.models.layers import BatchNormalization


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
    kernel = fusion.batch_normalization
    monkeypatch.setattr(fusion, "batch_normalization", lambda *given: calls.append(1) or kernel(*given))
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
