import keras
import numpy as np
import overfitting
import pytest
from keras import ops

from colorize_lib import models
from colorize_lib.color import bins
from colorize_lib.errors import InputError
from colorize_lib.models import zhang

RNG = np.random.default_rng(0)


def test_decoder_is_fixed():
    network = zhang.eccv16(size=64, width=0.05)
    assert sum(np.prod(v.shape) for v in network.trainable_variables if "decoder" in v.path) == 0
    assert network.get_layer("decoder").count_params() == 2 * 313


@pytest.mark.parametrize("name", ["eccv16", "siggraph17"])
@pytest.mark.parametrize("size", [8, 64, 72])
def test_output_is_as_large_as_the_input(name, size):
    network = models.build(name, size=size, width=0.05)
    assert network.input_shape == (None, size, size, 1)
    assert network.output_shape == (None, size, size, 2)


@pytest.mark.parametrize("name", ["eccv16", "siggraph17"])
@pytest.mark.parametrize("size", [0, 60, -8])
def test_other_sizes_are_refused(name, size):
    with pytest.raises(InputError, match="multiple of 8"):
        models.build(name, size=size)


def same_weights(source, target):
    """Gives `target` the weights of the layers of `source` that have its layers' names."""
    available = {layer.name: layer.get_weights() for layer in source.layers}
    for layer in target.layers:
        layer.set_weights(available[layer.name] if layer.weights else [])


def lively(network):
    """Random statistics and offsets, so that no channel is dead or centred by accident."""
    for variable in network.weights:
        if variable.name in ("bias", "beta", "moving_mean"):
            variable.assign(RNG.normal(0, 0.1, variable.shape))
    return network


@pytest.fixture(scope="module")
def guided():
    return lively(zhang.siggraph17(size=None, width=0.1, hints=True, classes=True))


@pytest.fixture(scope="module")
def automatic(guided):
    network = zhang.siggraph17(size=None, width=0.1)
    same_weights(guided, network)
    return network


def lightness(*shape):
    return RNG.uniform(-0.5, 0.5, (*shape, 1)).astype("float32")


def test_no_hints_is_hints_of_zero(guided, automatic):
    light = lightness(2, 16, 24)
    inputs = {"lightness": light, "hints_ab": np.zeros((2, 16, 24, 2)), "hints_mask": np.zeros_like(light)}
    np.testing.assert_allclose(automatic(light), guided(inputs)["ab"], atol=1e-6)


def test_classes_are_those_of_the_square_grid(guided):
    light = lightness(1, 16, 24)
    inputs = {"lightness": light, "hints_ab": np.zeros((1, 16, 24, 2)), "hints_mask": np.zeros_like(light)}
    assert guided(inputs)["class_logits"].shape == (1, 4, 6, 529)


def test_hint_maps():
    ab, mask = zhang.hint_maps([(5, 6, 55, -110), (0, 0, 11, 22), (5, 8, -11, 0)], 10, 12, radius=1)
    assert ab.shape == (1, 10, 12, 2)
    assert mask.shape == (1, 10, 12, 1)
    assert mask.sum() == 9 + 4 + 9 - 3  # the corner's square is cut, the others share a column
    np.testing.assert_allclose(ab[0, 5, 5:10], [[0.5, -1], [0.5, -1], [-0.1, 0], [-0.1, 0], [-0.1, 0]], atol=1e-7)
    np.testing.assert_allclose(ab[0, 1, 1], [0.1, 0.2], atol=1e-7)
    assert not ab[mask[..., 0] == 0].any()


@pytest.mark.parametrize("point", [(-1, 0, 0, 0), (0, 12, 0, 0), (10, 0, 0, 0)])
def test_hints_outside_are_refused(point):
    with pytest.raises(InputError, match="outside the image of 10×12"):
        zhang.hint_maps([point], 10, 12)


@pytest.fixture(scope="module")
def guided_ab(guided):
    return keras.Model(guided.input, guided.output["ab"])


def test_a_hint_changes_the_colour_around_it(guided_ab):
    light = lightness(1, 64, 64)
    with_hint = zhang.predict(guided_ab, light, *zhang.hint_maps([(20, 40, 80, 60)], 64, 64))
    change = np.abs(ops.convert_to_numpy(with_hint - zhang.predict(guided_ab, light))).max(axis=-1)[0]
    assert change[17:24, 37:44].mean() > 3 * np.median(change)
    assert change[17:24, 37:44].mean() > 0.01


def test_predict_leaves_whole_sizes_alone(automatic):
    light = lightness(2, 16, 24)
    np.testing.assert_allclose(zhang.predict(automatic, light), automatic(light), atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (13, 21), (16, 9)])
def test_predict_takes_any_size(automatic, guided_ab, size):
    light = lightness(2, *size)
    assert zhang.predict(automatic, light).shape == (2, *size, 2)
    ab = zhang.predict(guided_ab, light, *zhang.hint_maps([(0, 0, 50, 50)], *size))
    assert ab.shape == (2, *size, 2)


def test_predict_continues_an_even_image_evenly():
    """Padding must not be seen: the border of an even gray is as when the gray goes on."""
    network = lively(zhang.eccv16(size=None, width=0.1))
    whole = np.full((1, 24, 24, 1), 0.2, "float32")
    padded = ops.convert_to_numpy(zhang.predict(network, whole[:, :19, :17]))
    np.testing.assert_allclose(padded, ops.convert_to_numpy(network(whole))[:, :19, :17], atol=1e-6)


def test_hints_for_a_network_without_are_refused(automatic):
    with pytest.raises(InputError, match="hints=True"):
        zhang.predict(automatic, lightness(1, 16, 16), *zhang.hint_maps([], 16, 16))


@pytest.mark.parametrize("temperature", [1.0, 0.38])
def test_eccv16_decodes_its_logits_by_the_annealed_mean(temperature):
    """Against bins.annealed_mean and an independent bilinear interpolation."""
    from scipy.ndimage import zoom

    network = lively(zhang.eccv16(size=16, width=0.1, temperature=temperature))
    light = lightness(1, 16, 16)
    logits = ops.convert_to_numpy(zhang.classifier(network)(light))
    assert logits.shape == (1, 4, 4, 313)
    ab = ops.convert_to_numpy(bins.annealed_mean(ops.softmax(logits), bins.released_bins(), temperature)) / 110
    expected = zoom(ab, (1, 4, 4, 1), order=1, grid_mode=True, mode="nearest")
    np.testing.assert_allclose(network(light), expected, atol=1e-5)


def test_eccv16_of_other_bins():
    network = zhang.eccv16(size=16, width=0.1, centres=bins.gamut_bins())
    assert zhang.classifier(network).output_shape == (None, 4, 4, 309)


def test_mixed_precision_keeps_outputs_in_float32():
    for name in ("eccv16", "siggraph17"):
        assert models.build(name, dtype="mixed_bfloat16", size=16, width=0.1).output.dtype == "float32"


def test_training_the_classifier_trains_the_colorizer():
    centres = bins.gamut_bins()
    keras.utils.set_random_seed(0)
    network = zhang.eccv16(size=16, width=0.1, centres=centres, temperature=0.38)
    inputs, targets = overfitting.batch((16, 16, 1), (16, 16, 2), -0.33, 0.27)
    weights = bins.rebalancing_weights(np.ones(len(centres)), centres)
    trained = zhang.classifier(network)
    trained.compile(keras.optimizers.Adam(3e-3), bins.BinCrossEntropy(centres, weights, convention="zhang"))
    trained.fit(np.tile(inputs, (80, 1, 1, 1)), np.tile(targets, (80, 1, 1, 1)), 2, shuffle=False, verbose=0)
    error = np.square(ops.convert_to_numpy(network(inputs, training=False)) - targets).mean()
    assert error < 0.2 * targets.var()  # the interpolated border between the halves is never right
