"""Networks of distributions: trained on pictures whose answer is known, and decoded by hand."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from skimage.color import rgb2lab

from colorize_lib import color, models
from colorize_lib.color import bins
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.evaluation import evaluate
from colorize_lib.models.zhang import classifier
from colorize_lib.training import distribution
from colorize_lib.training.data import Batches

CENTRES = np.array([(60, 40), (-50, 50), (0, 0), (20, -60)], "float32")


def pictures(count=8, size=32):
    """Dark is red and light is green, half and half, on either side."""
    red, green = np.array((150, 40, 40), "uint8"), np.array((120, 220, 120), "uint8")
    images = np.empty((count, size, size, 3), "uint8")
    for number, image in enumerate(images):
        image[:, : size // 2], image[:, size // 2 :] = (red, green) if number % 2 else (green, red)
    return Split(images, np.full(count, -1, "int32"))


def fixed(logits):
    """A network that gives these logits whatever it sees, at a quarter of the size."""
    rows, columns, count = logits.shape
    inputs = keras.Input((4 * rows, 4 * columns, 1))
    x = layers.Flatten()(inputs)
    x = layers.Dense(
        logits.size, kernel_initializer="zeros", bias_initializer=keras.initializers.Constant(logits.ravel())
    )(x)
    return keras.Model(inputs, layers.Reshape((rows, columns, count))(x))


def networks(name, count):
    if name == "eccv16":
        return classifier(models.build("eccv16", size=32, width=0.1, centres=bins.gamut_bins())), "zhang"
    return models.build("colornet_distribution", size=32, width=0.25, bins=count), "places"


@pytest.mark.parametrize(
    ("name", "learning_rate", "epochs"), [("colornet_distribution", 1e-2, 20), ("eccv16", 3e-3, 36)]
)
def test_a_trained_network_paints_what_it_was_shown(name, learning_rate, epochs):
    centres, split = bins.gamut_bins(), pictures()
    keras.utils.set_random_seed(0)
    network, convention = networks(name, len(centres))
    weights = bins.rebalancing_weights(bins.color_prior(split.images, centres), centres)
    model = distribution.DistributionColorizer(network, convention, centres)
    loss = bins.BinCrossEntropy(centres, weights, convention)
    model.compile(keras.optimizers.Adam(learning_rate), loss=loss)
    history = model.fit(Batches(split, 4, seed=0), epochs=epochs, validation_data=Batches(split, 4), verbose=0).history
    assert history["val_loss"][-1] < history["val_loss"][0] / 2
    ab = np.asarray(color.rgb_to_lab(split.images))[..., 1:]
    error = np.abs(ab - ops.convert_to_numpy(model.predict_color(split.images)[0])).mean()
    assert error < np.abs(ab).mean() / 2


@pytest.mark.long
def test_every_decoding_can_be_scored():
    logits = np.random.default_rng(3).normal(0, 2, (4, 4, 4)).astype("float32")
    split = pictures(3, 16)
    model = distribution.DistributionColorizer(fixed(logits), "places", CENTRES, distribution.RandomField(sweeps=2))
    ab = ops.convert_to_numpy(model.predict_color(split.images)[0])
    expected = np.abs(ab - np.asarray(color.rgb_to_lab(split.images))[..., 1:]).mean((1, 2, 3))
    scores = evaluate.score(model, split, batch_size=2, columns=["mae_ab"])
    np.testing.assert_allclose(scores["mae_ab"], expected, rtol=1e-4)


def test_the_loss_is_that_of_every_fourth_pixel_with_the_weights_given():
    logits = np.random.default_rng(1).normal(size=(8, 8, 4)).astype("float32")
    split, weights = pictures(2), np.array((1, 2, 3, 4), "float32")
    model = distribution.DistributionColorizer(fixed(logits), "places", CENTRES)
    model.compile("adam", loss=bins.BinCrossEntropy(CENTRES, weights, "places", neighbours=2))
    got = model.evaluate(Batches(split, 2), verbose=0)
    ab = np.asarray(color.rgb_to_lab(split.images))[:, ::4, ::4, 1:]
    bin_of = np.argmin(((ab[..., None, :] - CENTRES) ** 2).sum(-1), axis=-1)
    log_p = np.broadcast_to(logits - np.log(np.exp(logits).sum(-1, keepdims=True)), (2, 8, 8, 4))
    indices, nearest = map(np.array, bins.soft_code(bins.squared_distances(ab, CENTRES), 2, 5.0))
    code = (np.eye(4)[indices] * nearest[..., None]).sum(-2)
    expected = -(weights[bin_of] * (code * log_p).sum(-1)).mean()
    assert got == pytest.approx(expected, rel=1e-4)


def test_decodings_against_numpy():
    logits = np.random.default_rng(2).normal(0, 2, (3, 3, 4)).astype("float32")
    rgb = pictures(1, 12).images
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    sharp = p ** (1 / 0.38) / (p ** (1 / 0.38)).sum(-1, keepdims=True)
    expected = {"mean": p @ CENTRES, "annealed_mean": sharp @ CENTRES, "mode": CENTRES[p.argmax(-1)]}
    model = distribution.DistributionColorizer(fixed(logits), "places", CENTRES)
    for decoding, colours in expected.items():
        ab, predicted = (ops.convert_to_numpy(x) for x in model.decoded(decoding).predict_color(rgb))
        np.testing.assert_allclose(
            ab[0, 6, 6], (colours[1, 1] * 49 + 7 * (colours[1, 2] + colours[2, 1]) + colours[2, 2]) / 64, atol=1e-3
        )
        lab = np.concatenate([np.asarray(color.rgb_to_lab(rgb))[..., :1], ab], -1)
        np.testing.assert_allclose(predicted, np.asarray(color.lab_to_rgb(lab)), atol=1e-5)


def test_the_field_sees_the_lightness_of_the_picture():
    """The network hesitates everywhere and is wrong in specks; the two halves of the picture differ in lightness."""
    logits = np.zeros((8, 8, 4), "float32")
    logits[:, :4, 0] = logits[:, 4:, 1] = 1.0
    logits[2, [1, 6]] = (0, 0, 0, 1.5)
    image = np.full((1, 32, 32, 3), 60, "uint8")
    image[:, :, 16:] = 200
    model = distribution.DistributionColorizer(fixed(logits), "places", CENTRES, distribution.RandomField(strength=2.0))
    ab = ops.convert_to_numpy(model.predict_color(image)[0])[0, 2::4, 2::4]
    speckled = ops.convert_to_numpy(model.decoded("mode").predict_color(image)[0])[0, 2::4, 2::4]
    assert np.ptp(speckled[:, 1], axis=0).max() > 30
    np.testing.assert_allclose(ab[:, 1], np.broadcast_to(ab[0, 1], (8, 2)), atol=1e-3)
    np.testing.assert_allclose(ab[:, 6], np.broadcast_to(ab[0, 6], (8, 2)), atol=1e-3)
    assert np.linalg.norm(ab[0, 1] - ab[0, 6]) > 100


def test_photos_are_colorized_at_their_own_size():
    logits = np.zeros((8, 8, 4), "float32")
    logits[..., 3] = 9
    model = distribution.DistributionColorizer(fixed(logits), "places", CENTRES, "mode")
    result = model.colorize(np.full((40, 70), 128, "uint8"))
    assert result.shape == (40, 70, 3)
    assert (result[..., 2] > result[..., 1] + 60).all()


def test_what_does_not_fit_is_one_sentence():
    network = fixed(np.zeros((2, 2, 4), "float32"))
    with pytest.raises(InputError, match=r"maps \(8, 8\) pixels to \(2, 2\) .* over 4 bins, and there are 309 centres"):
        distribution.DistributionColorizer(network, "places", bins.gamut_bins())
    inputs = keras.Input((None, None, 1))
    free = keras.Model(inputs, keras.layers.Conv2D(4, 1)(inputs))
    with pytest.raises(InputError, match=r"maps \(None, None\) pixels .*: build it .* at a fixed size"):
        distribution.DistributionColorizer(free, "places", CENTRES)
    with pytest.raises(InputError, match="no decoding 'median': the decodings are mean, mode, annealed_mean"):
        distribution.DistributionColorizer(network, "places", CENTRES, "median")


def natural(width=0.1):
    """An untrained natural, whose loss had weights that favour its last colours."""
    network = models.build("natural", size=32, width=width)
    network.get_layer("rebalancing").moving_mean.assign(np.linspace(-2, 2, len(bins.common_bins())))
    return network


def test_taking_the_rebalancing_back_changes_the_logits_by_the_weights():
    logits = np.log(np.array([[[[0.5, 0.2, 0.2, 0.1]]]], "float32"))
    log_weights = np.log(np.array([0.5, 1, 1, 4], "float32"))
    careful = distribution.Rebalanced(log_weights, 1.0, 1.0)(logits, None, CENTRES)
    rebalanced = distribution.Rebalanced(log_weights, 0.0, 1.0)(logits, None, CENTRES)
    expected = np.array([0.25, 0.2, 0.2, 0.4]) / 1.05
    np.testing.assert_allclose(careful[0, 0, 0], [0.5, 0.2, 0.2, 0.1] @ CENTRES, rtol=1e-4)
    np.testing.assert_allclose(rebalanced[0, 0, 0], expected @ CENTRES, rtol=1e-4)
    cold = distribution.Rebalanced(log_weights, 0.0, 0.01)(logits, None, CENTRES)
    np.testing.assert_allclose(cold[0, 0, 0], CENTRES[3], atol=0.1)


def test_vivid_decodes_the_same_network_otherwise():
    colorizer = distribution.VividColorizer(natural())
    photo = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype="uint8")
    ends = [colorizer.at(vivid) for vivid in (0, 1)]
    assert [end.decode.taken_back for end in ends] == [distribution.CAREFUL[0], distribution.VIVID[0]]
    careful, vivid = (end.colorize(photo) for end in ends)
    assert (careful != vivid).any()
    np.testing.assert_array_equal(colorizer.colorize(photo, vivid=1), vivid)
    np.testing.assert_array_equal(
        colorizer.colorize(photo), colorizer.colorize(photo, vivid=distribution.DEFAULT_VIVID)
    )
    # Compiled, as the third call of a colorizer is, or not.
    np.testing.assert_allclose(colorizer.predict_ab(photo, vivid=0), ends[0].predict_ab(photo), rtol=1e-5)
    with pytest.raises(InputError, match="from 0, careful, to 1, vivid"):
        colorizer.at(1.5)


def test_another_vividness_is_built_once_and_keeps_the_settings():
    """Each new colorizer would compile its functions again, which takes far longer than a photograph."""
    colorizer = distribution.VividColorizer(natural())
    assert colorizer.at(None) is colorizer.at(distribution.DEFAULT_VIVID) is colorizer
    careful = colorizer.at(0)
    assert careful is colorizer.at(0.0) is not colorizer.at(1)
    assert not careful.guided
    colorizer.guided = True
    assert colorizer.at(0).guided


def test_the_lightness_of_a_wide_picture_is_the_mean_of_each_place():
    logits = np.zeros((2, 3, 4), "float32")
    model = distribution.DistributionColorizer(fixed(logits), "places", CENTRES)
    rgb = np.random.default_rng(4).integers(0, 256, (1, 8, 12, 3), "uint8")
    found, lightness = (ops.convert_to_numpy(value) for value in model.distribution(rgb))
    assert found.shape == (1, 2, 3, 4)
    expected = rgb2lab(rgb)[0, ..., 0].reshape(2, 4, 3, 4).mean((1, 3))
    np.testing.assert_allclose(lightness[0, ..., 0], expected, atol=1e-2)


def test_from_careful_to_vivid_by_the_published_numbers():
    """Those of results/natural: careful takes three quarters of the rebalancing back, vivid nothing, and 0.7 is the default."""
    network, centres = natural(), bins.common_bins()
    logits = np.random.default_rng(5).normal(0, 2, (1, 2, 2, len(centres))).astype("float32")
    for options, taken_back, temperature in (
        ({"vivid": 0}, 0.75, 0.38),
        ({"vivid": 1}, 0.0, 0.25),
        ({"vivid": 0.25}, 0.5625, 0.3475),
        ({}, 0.225, 0.289),
    ):
        p = np.exp((logits + (1 - taken_back) * np.linspace(-2, 2, len(centres))) / temperature)
        expected = p / p.sum(-1, keepdims=True) @ centres
        decode = distribution.VividColorizer(network, **options).decode
        found = ops.convert_to_numpy(decode(ops.convert_to_tensor(logits), None, centres))
        np.testing.assert_allclose(found, expected, atol=0.02)
