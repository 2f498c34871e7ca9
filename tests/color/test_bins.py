import keras
import numpy as np
import pytest
from keras import ops
from scipy.spatial import cKDTree
from scipy.special import log_softmax

from colorize_lib.color import bins
from colorize_lib.errors import InputError

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def centres():
    return bins.gamut_bins()


@pytest.fixture(scope="module")
def srgb():
    """ab of random and of extreme colours of sRGB, by scikit-image."""
    from skimage.color import rgb2lab

    colours = RNG.integers(0, 256, (1, 300_000, 3)).astype("uint8")
    extreme = RNG.integers(0, 256, (1, 300_000, 3)).astype("uint8")
    extreme[0, np.arange(300_000), RNG.integers(0, 3, 300_000)] = RNG.choice([0, 255], 300_000)
    return rgb2lab(np.concatenate([colours, extreme], axis=1))[0, :, 1:]


def encode_by_tree(ab, centres, neighbours, sigma):
    distances, indices = cKDTree(centres).query(ab, neighbours)
    weights = np.exp(-(distances**2) / (2 * sigma**2))
    code = np.zeros((*ab.shape[:-1], len(centres)))
    np.put_along_axis(code, indices, weights / weights.sum(-1, keepdims=True), -1)
    return code


def test_number_of_bins():
    assert len(bins.gamut_bins()) == 309
    assert len(bins.released_bins()) == 313
    for made in (bins.gamut_bins(), bins.released_bins()):
        assert (made % 10 == 0).all()


def test_every_colour_lies_between_four_bins(centres, srgb):
    held = set(map(tuple, centres))
    low = np.unique(np.floor(srgb / 10) * 10, axis=0)
    assert {(a + i, b + j) for a, b in low for i in (0, 10) for j in (0, 10)} <= held


def test_every_bin_has_a_colour_within_one_step(centres, srgb):
    distance, _ = cKDTree(srgb).query(centres, p=np.inf)
    assert distance.max() < 10.1  # the sample misses the very tips of the gamut


def test_released_bins_beyond_the_gamut_are_far_from_every_colour(srgb):
    extra = set(map(tuple, bins.released_bins())) - set(map(tuple, bins.gamut_bins()))
    assert extra == set(bins.BEYOND_GAMUT)
    distance, _ = cKDTree(srgb).query(sorted(extra))
    assert distance.min() > 13


@pytest.mark.parametrize("make", [bins.gamut_bins, bins.released_bins])
def test_bins_are_ordered_by_a_then_b(make):
    centres = make()
    np.testing.assert_array_equal(centres, np.unique(centres, axis=0))


def test_bins_cannot_be_changed_by_accident(centres):
    with pytest.raises(ValueError, match="read-only"):
        centres[0] = 0


def soft_encode(ab, centres, neighbours=5, sigma=5.0):
    """`bins.soft_code` as a distribution over all bins."""
    indices, weights = bins.soft_code(bins.squared_distances(ab, centres), neighbours, sigma)
    return ops.sum(ops.one_hot(indices, len(centres)) * weights[..., None], axis=-2)


@pytest.mark.parametrize(("neighbours", "sigma"), [(5, 5.0), (10, 5.0), (3, 2.0)])
def test_soft_encode_against_a_search_tree(centres, srgb, neighbours, sigma):
    ab = srgb[:60].reshape(3, 4, 5, 2)
    code = ops.convert_to_numpy(soft_encode(ab, centres, neighbours, sigma))
    np.testing.assert_allclose(code, encode_by_tree(ab, centres, neighbours, sigma), atol=1e-5)


def test_soft_encode_far_outside_the_gamut_is_a_distribution(centres):
    code = ops.convert_to_numpy(soft_encode([[400.0, -400.0]], centres))
    np.testing.assert_allclose(code.sum(-1), 1, rtol=1e-6)


def test_mean_of_the_code_is_near_the_colour(centres, srgb):
    ab = srgb[:2000]
    error = np.abs(ops.convert_to_numpy(bins.mean(soft_encode(ab, centres), centres)) - ab)
    assert error.mean() < 1
    assert error.max() < 5


def test_nearest_is_the_heaviest_bin_of_the_code(centres, srgb):
    ab = srgb[:500]
    np.testing.assert_array_equal(ops.convert_to_numpy(bins.nearest(ab, centres)), cKDTree(centres).query(ab)[1])


def test_mean_mode_and_annealed_mean_against_numpy(centres):
    p = RNG.dirichlet(np.full(len(centres), 0.05), (2, 3)).astype("float32")
    np.testing.assert_allclose(bins.mean(p, centres), p @ centres, atol=1e-4)
    np.testing.assert_array_equal(bins.mode(p, centres), centres[p.argmax(-1)])
    annealed = p.astype("float64") ** (1 / 0.38)
    annealed /= annealed.sum(-1, keepdims=True)
    np.testing.assert_allclose(bins.annealed_mean(p, centres), annealed @ centres, atol=1e-3)


def test_annealed_mean_goes_from_mean_to_mode(centres):
    p = RNG.dirichlet(np.full(len(centres), 0.05), 4).astype("float32")
    np.testing.assert_allclose(bins.annealed_mean(p, centres, 1.0), bins.mean(p, centres), atol=1e-3)
    np.testing.assert_allclose(bins.annealed_mean(p, centres, 0.001), bins.mode(p, centres), atol=1e-3)


def test_annealed_mean_of_certainty_is_that_colour(centres):
    certain = np.eye(len(centres), dtype="float32")[[7]]
    np.testing.assert_allclose(bins.annealed_mean(certain, centres), centres[[7]], atol=1e-4)


def test_color_prior_counts_every_fourth_pixel(centres):
    from skimage.color import rgb2lab

    images = RNG.integers(0, 256, (5, 16, 12, 3)).astype("uint8")
    _, index = cKDTree(centres).query(rgb2lab(images)[:, ::4, ::4, 1:])
    expected = np.bincount(index.ravel(), minlength=len(centres)) / index.size
    np.testing.assert_allclose(bins.color_prior(images, centres, batch_size=2), expected)


def test_rebalancing_weights_against_the_formula(centres):
    prior = RNG.dirichlet(np.full(len(centres), 0.1))
    smoothed = np.zeros(len(centres))
    for i, share in enumerate(prior):  # spread each bin's share over its neighbours
        spread = np.exp(-np.sum((centres - centres[i]) ** 2, -1) / (2 * 5.0**2))
        smoothed += share * spread / spread.sum()
    expected = 1 / (0.5 * smoothed + 0.5 / len(centres))
    expected /= (smoothed * expected).sum()
    weights = bins.rebalancing_weights(prior, centres)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    np.testing.assert_allclose(bins.rebalancing_weights(prior * 1000, centres), expected, rtol=1e-5)  # counts


def test_rebalancing_weighs_rare_colours_more(centres):
    distance = np.linalg.norm(centres, axis=-1)
    weights = bins.rebalancing_weights(np.exp(-distance / 10), centres)
    assert weights[distance > 80].min() > 5 * weights[distance < 10].max()


def test_rebalancing_with_lam_1_is_none(centres):
    prior = RNG.dirichlet(np.ones(len(centres)))
    np.testing.assert_allclose(bins.rebalancing_weights(prior, centres, lam=1), 1, rtol=1e-6)


@pytest.mark.parametrize("lam", [0, -0.5, 1.5, float("nan")])
def test_rebalancing_refuses_lam(centres, lam):
    with pytest.raises(InputError, match="lam"):
        bins.rebalancing_weights(np.ones(len(centres)), centres, lam=lam)


@pytest.mark.parametrize("prior", [np.ones(313), np.zeros(309), np.full(309, np.nan), np.full(309, -1.0)])
def test_rebalancing_refuses_a_prior(centres, prior):
    with pytest.raises(InputError, match="309 non-negative"):
        bins.rebalancing_weights(prior, centres)


@pytest.fixture(scope="module")
def batch(centres, srgb):
    logits = RNG.normal(0, 3, (2, 4, 6, len(centres))).astype("float32")
    return srgb[:48].reshape(2, 4, 6, 2).astype("float32"), logits


def expected_loss(ab, logits, centres, weights):
    pixels = -(encode_by_tree(ab, centres, 5, 5.0) * log_softmax(logits, -1)).sum(-1)
    return (pixels * weights[cKDTree(centres).query(ab)[1]]).mean()


def test_loss_against_scipy(centres, batch):
    loss = bins.BinCrossEntropy(centres)(*batch)
    np.testing.assert_allclose(float(loss), expected_loss(*batch, centres, np.ones(len(centres))), rtol=1e-5)


def test_rebalanced_loss_against_scipy(centres, batch):
    weights = bins.rebalancing_weights(RNG.dirichlet(np.full(len(centres), 0.1)), centres)
    loss = bins.BinCrossEntropy(centres, weights)(*batch)
    np.testing.assert_allclose(float(loss), expected_loss(*batch, centres, weights), rtol=1e-5)


def test_loss_takes_the_target_in_a_convention_and_at_full_size(centres, batch):
    ab, logits = batch
    fine = RNG.uniform(-1, 1, (2, 16, 24, 2)).astype("float32")
    fine[:, ::4, ::4] = ab / 110
    loss = bins.BinCrossEntropy(centres, convention="zhang")(fine, logits)
    np.testing.assert_allclose(float(loss), expected_loss(ab, logits, centres, np.ones(len(centres))), rtol=1e-4)


@pytest.mark.parametrize("shape", [(2, 4, 6, 313), (2, 4, 5, 309), (2, 3, 6, 309), (2, 8, 12, 309)])
def test_loss_refuses_shapes(centres, batch, shape):
    with pytest.raises(InputError, match="309 bins"):
        bins.BinCrossEntropy(centres)(batch[0], np.zeros(shape, "float32"))


def test_training_with_the_loss_finds_the_colours(centres):
    """A pixelwise network learns which of two colours a gray stands for, and says so in Lab units."""
    colours = np.array([[60.0, 40.0], [-30.0, -20.0]], "float32")
    gray = RNG.integers(0, 2, (64, 4, 4, 1))
    network = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Dense(len(centres))])
    weights = bins.rebalancing_weights(np.ones(len(centres)), centres)
    network.compile(keras.optimizers.Adam(0.1), bins.BinCrossEntropy(centres, weights, convention="zhang"))
    history = network.fit(gray, colours[gray[..., 0]] / 110, batch_size=16, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    ab = bins.annealed_mean(ops.softmax(network.predict(gray[:8], verbose=0)), centres)
    np.testing.assert_allclose(ab, colours[gray[:8, ..., 0]], atol=1.5)
