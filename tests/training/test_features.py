"""Cached features: computed once, never read half-written, and made anew when anything they depend on changes."""

import json

import keras
import numpy as np
import pytest
from keras import layers

from colorize_lib import color, models
from colorize_lib.color import metrics
from colorize_lib.dataset import Images, Split
from colorize_lib.errors import InputError
from colorize_lib.training.colorizer import Colorizer
from colorize_lib.training.data import Batches
from colorize_lib.training.features import FeatureColorizer, cached_features, feature_batches


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, layers.Conv2D(3, 3, 4, activation="relu")(inputs), name="tiny")


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (10, 8, 8, 3), "uint8")


def forbid_computing(network, monkeypatch):
    def refuse(x):
        raise AssertionError("computed although the cache was there")

    monkeypatch.setattr(network, "predict_on_batch", refuse)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-3), ("float32", 1e-6)])
def test_features_are_the_networks_in_the_order_of_the_images(network, images, tmp_path, dtype, tolerance):
    features = cached_features(network, images, tmp_path, dtype=dtype, batch_size=4)  # the last batch has two
    lightness, _ = color.CONVENTIONS["miu"].encode(images)
    expected = network.predict_on_batch(lightness)
    assert features.values.dtype == dtype
    assert expected.std() > 0.01
    np.testing.assert_allclose(features.values, expected, atol=tolerance)
    assert features.seconds > 0
    record = json.loads(features.path.with_suffix(".json").read_text())
    described = {"network": "tiny", "input_shape": [8, 8, 1], "convention": "miu", "dtype": dtype}
    assert record.items() >= described.items()


def test_features_are_computed_once(network, images, tmp_path, monkeypatch):
    first = cached_features(network, images, tmp_path)
    forbid_computing(network, monkeypatch)
    in_two_files = Images([images[:3], images[3:]])
    for again in (
        cached_features(network, images, tmp_path, batch_size=3),
        cached_features(network, in_two_files, tmp_path),
    ):
        np.testing.assert_array_equal(again.values, first.values)
        assert (again.path, again.seconds) == (first.path, first.seconds)


def test_other_images_weights_or_types_are_other_features(network, images, tmp_path):
    paths = {cached_features(network, images, tmp_path).path}
    paths.add(cached_features(network, images, tmp_path, dtype="float32").path)
    paths.add(cached_features(network, images, tmp_path, convention="kth").path)
    paths.add(cached_features(network, images[::-1], tmp_path).path)
    for changed in (0, 5, 9):
        images[changed, 0, 0, 0] ^= 1
        paths.add(cached_features(network, images, tmp_path).path)
    network.set_weights([array + 0.1 for array in network.get_weights()])
    paths.add(cached_features(network, images, tmp_path).path)
    assert len(paths) == 8


def test_an_interrupted_computation_leaves_nothing_that_is_read(network, images, tmp_path, monkeypatch):
    computed = []

    def interrupted(x, compute=network.predict_on_batch):
        computed.append(len(x))
        if len(computed) == 2:
            raise KeyboardInterrupt
        return compute(x)

    with monkeypatch.context() as patch:
        patch.setattr(network, "predict_on_batch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cached_features(network, images, tmp_path, batch_size=4)
    assert list(tmp_path.iterdir()) == []
    assert len(cached_features(network, images, tmp_path).values) == len(images)


def test_features_without_their_record_are_computed_anew(network, images, tmp_path):
    first = cached_features(network, images, tmp_path)
    expected = first.values.copy()
    first.path.with_suffix(".json").unlink()
    first.path.write_bytes(b"another run's")
    np.testing.assert_array_equal(cached_features(network, images, tmp_path).values, expected)


def test_a_damaged_cache_is_named(network, images, tmp_path):
    path = cached_features(network, images, tmp_path).path
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=rf"{path.name} is damaged .*: delete it"):
        cached_features(network, images, tmp_path)


def test_bad_input(network, images, tmp_path):
    with pytest.raises(InputError, match="float16 or float32, not int8"):
        cached_features(network, images, tmp_path, dtype="int8")
    with pytest.raises(InputError, match=r"tiny takes images of \(8, 8\), not \(4, 8\)"):
        cached_features(network, images[:, :4], tmp_path)


@pytest.fixture
def parts(network):
    """A frozen first part, 8×8 → 2×2, and a decoder of its features back to 8×8."""
    inputs = keras.Input(network.output_shape[1:])
    outputs = layers.UpSampling2D(4)(layers.Conv2D(2, 1, activation="tanh")(inputs))
    return network, keras.Model(inputs, outputs, name="decoder")


def test_training_on_features_is_training_the_whole(parts, images, tmp_path):
    backbone, decoder = parts
    backbone.trainable = False
    split = Split(images, np.zeros(len(images), "int32"))
    features = cached_features(backbone, images, tmp_path, dtype="float32")
    start = decoder.get_weights()
    histories = []
    for model, batches in (
        (FeatureColorizer(backbone, decoder), feature_batches(features, split, 4, seed=1)),
        (Colorizer(keras.Sequential([backbone, decoder], name="whole"), "miu"), Batches(split, 4, seed=1)),
    ):
        decoder.set_weights(start)
        model.compile(keras.optimizers.RMSprop(0.01), loss="mse", metrics=[metrics.larger_channel_accuracy])
        histories.append(model.fit(batches, epochs=3, verbose=0).history)
    first, second = histories
    assert first["loss"][-1] < 0.9 * first["loss"][0]
    for name in ("loss", "larger_channel_accuracy"):
        np.testing.assert_allclose(first[name], second[name], rtol=1e-4)


def test_a_colorizer_of_features_colorizes_photos_and_keeps_only_the_decoder(parts, images):
    backbone, decoder = parts
    model = FeatureColorizer(backbone, decoder)
    whole = Colorizer(keras.Sequential([backbone, decoder], name="whole"), "miu")
    for found, expected in zip(model.predict_color(images), whole.predict_color(images), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3)
    assert len(model.weights) == len(decoder.weights)
    assert model.colorize(np.zeros((20, 30, 3), "uint8")).shape == (20, 30, 3)


def test_vgg16_decoder_on_cached_features_is_the_whole_colorizer(tmp_path):
    keras.utils.set_random_seed(0)
    backbone = models.build("vgg16_features", size=32, weights=None)
    decoder = models.build("vgg16_decoder", size=32, width=0.25)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "uint8")
    features = cached_features(backbone, images, tmp_path, dtype="float32")
    lightness, _ = color.CONVENTIONS["miu"].encode(images)
    whole = keras.Sequential([backbone, decoder])
    assert whole.input_shape == (None, 32, 32, 1)
    np.testing.assert_allclose(whole.predict_on_batch(lightness), decoder.predict_on_batch(features.values), atol=1e-6)
