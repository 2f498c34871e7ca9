"""The random field against exhaustive enumeration on small grids, and on pictures where the answer is known."""

import itertools
import time

import numpy as np
import pytest
from keras import ops

from colorize_lib.color import mrf
from colorize_lib.errors import InputError

RED, GREEN, GRAY = (60.0, 40.0), (-50.0, 50.0), (0.0, 0.0)
BINS = np.array([RED, GREEN, GRAY], "float32")


def infer(unary, lightness, bins=BINS, **options):
    marginals, energy = mrf.mean_field(unary, lightness, bins, **options)
    return ops.convert_to_numpy(marginals), ops.convert_to_numpy(energy)


def random_field(shape, seed=0):
    """Four images: distributions over three bins around the truncation apart, dark ones, with steps of the order of sigma."""
    rng = np.random.default_rng(seed)
    unary = rng.dirichlet(np.ones(3), (4, *shape)).astype("float32")
    lightness = rng.uniform(0, 15, (4, *shape, 1)).astype("float32")
    return unary, lightness, rng.uniform(-40, 40, (3, 2)).astype("float32")


def enumerate_exactly(unary, lightness, bins, *, strength, sigma=5.0, truncation=40.0):
    """Marginals (height, width, bins) and -log Z of one image, by summing over every colouring."""
    height, width, count = unary.shape
    pixels = list(itertools.product(range(height), range(width)))
    edges = [(p, q) for p, q in itertools.combinations(pixels, 2) if abs(p[0] - q[0]) + abs(p[1] - q[1]) == 1]
    colours = np.array(list(itertools.product(range(count), repeat=len(pixels)))).reshape(-1, height, width)
    energy = -sum(np.log(unary[p][colours[:, *p]]) for p in pixels)
    for p, q in edges:
        squared = np.sum((bins[colours[:, *p]] - bins[colours[:, *q]]) ** 2, axis=-1)
        weight = strength * np.exp(-((lightness[p] - lightness[q]).item() ** 2) / (2 * sigma**2))
        energy = energy + weight * np.minimum(squared / truncation**2, 1)
    weights = np.exp(-energy.astype("float64"))
    marginals = [(weights[:, None, None] * (colours == k)).sum(0) / weights.sum() for k in range(count)]
    return np.stack(marginals, -1), -np.log(weights.sum())


@pytest.mark.parametrize("shape", [(2, 2), (3, 3)])
@pytest.mark.parametrize(
    ("strength", "tolerance", "gap"),
    [
        (0.1, 0.002, 0.01),  # where mean field is good
        (0.3, 0.02, 0.06),  # its error grows with the square of the strength
    ],
)
def test_marginals_are_close_to_exhaustive_enumeration(shape, strength, tolerance, gap):
    unary, lightness, bins = random_field(shape)
    marginals, energy = infer(unary, lightness, bins, strength=strength)
    for i in range(4):
        exact, minus_log_z = enumerate_exactly(unary[i], lightness[i], bins, strength=strength)
        error = np.abs(marginals[i] - exact).max()
        assert error < tolerance
        assert error < np.abs(unary[i] - exact).max() / 2  # the field did something, and rightly
        assert minus_log_z - 1e-5 <= energy[i, -1] <= minus_log_z + gap


@pytest.mark.parametrize("strength", [0.5, 5.0, 50.0])
@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (5, 8)])
def test_free_energy_never_rises_and_bounds_the_partition_function(shape, strength):
    unary, lightness, bins = random_field(shape, seed=1)
    _, energy = infer(unary, lightness, bins, strength=strength)
    assert energy.shape == (4, 11)
    assert (np.diff(energy) <= 1e-6 * np.abs(energy).max()).all()
    assert (energy[:, -1] < energy[:, 0]).all()
    if shape != (5, 8):
        exact = [enumerate_exactly(u, x, bins, strength=strength)[1] for u, x in zip(unary, lightness, strict=True)]
        assert (energy[:, -1] >= np.array(exact) - 1e-4).all()


def test_converged_marginals_solve_the_mean_field_equations():
    """On an odd, oblong image, pixel by pixel in plain numpy, with its borders."""
    unary, lightness, bins = random_field((5, 8))
    marginals, _ = infer(unary, lightness, bins, strength=0.8, sweeps=30)
    u, x, q = unary[0], lightness[0, ..., 0], marginals[0]
    distance = np.minimum(((bins[:, None] - bins) ** 2).sum(-1) / 40**2, 1)
    for y, z in np.ndindex(5, 8):
        message = np.zeros(3)
        for dy, dz in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= y + dy < 5 and 0 <= z + dz < 8:
                weight = 0.8 * np.exp(-((x[y, z] - x[y + dy, z + dz]) ** 2) / 50)
                message += weight * distance @ q[y + dy, z + dz]
        expected = u[y, z] * np.exp(-message)
        np.testing.assert_allclose(q[y, z], expected / expected.sum(), atol=1e-4)


def test_weight_zero_returns_the_unaries():
    unary, lightness, bins = random_field((5, 8))
    marginals, energy = infer(unary, lightness, bins, strength=0.0)
    np.testing.assert_allclose(marginals, unary, atol=1e-6)
    np.testing.assert_allclose(energy, 0, atol=1e-5)


def test_logits_and_probabilities_give_the_same():
    unary, lightness, bins = random_field((5, 8))
    from_probabilities, _ = infer(unary, lightness, bins)
    from_logits, _ = infer(np.log(unary) + 7, lightness, bins, from_logits=True)
    np.testing.assert_allclose(from_logits, from_probabilities, atol=1e-5)


def test_impossible_colours_are_no_trouble():
    unary = np.zeros((4, 2, 2, 3), "float32")
    unary[..., 0] = 1
    marginals, energy = infer(unary, np.full((4, 2, 2, 1), 50.0), strength=10.0)
    np.testing.assert_allclose(marginals, unary, atol=1e-6)
    np.testing.assert_allclose(energy, 0, atol=1e-5)


def test_images_of_a_batch_do_not_touch():
    unary, lightness, bins = random_field((3, 3))
    marginals, energy = infer(unary, lightness, bins, strength=2.0)
    order = [2, 0, 0, 3]
    again, energy_again = infer(unary[order], lightness[order], bins, strength=2.0)
    np.testing.assert_allclose(again, marginals[order], atol=1e-5)
    np.testing.assert_allclose(energy_again, energy[order], rtol=1e-4)


def test_regions_of_equal_lightness_become_one_colour_and_an_edge_keeps_two():
    """A red wall with specks of green, and on it a patch that hesitates between green and red, with a speck of red."""
    unary = np.tile(np.array((0.9, 0.05, 0.05), "float32"), (1, 8, 8, 1))
    unary[:, [1, 4, 6, 6], [6, 6, 1, 4]] = (0.05, 0.9, 0.05)
    patch = np.zeros((1, 8, 8), bool)
    patch[:, 1:4, 1:4] = True
    unary[patch] = (0.3, 0.6, 0.1)
    unary[:, 2, 1] = (0.6, 0.3, 0.1)
    flat = np.full((1, 8, 8, 1), 50.0, "float32")
    kept, _ = infer(unary, np.where(patch[..., None], 80.0, flat), strength=5.0)
    merged, _ = infer(unary, flat, strength=5.0)
    np.testing.assert_array_equal(kept.argmax(-1), patch)
    np.testing.assert_array_equal(merged.argmax(-1), 0)


def test_truncation_keeps_a_torn_pixel_from_turning_gray():
    """Neighbours are red on one side and green on the other: the mean of both is gray, which the pixel hardly believes."""
    unary = np.array([[[(1, 0, 0), (0.45, 0.45, 0.1), (0, 1, 0)]]], "float32")
    lightness = np.full((1, 1, 3, 1), 50.0)
    squared, _ = infer(unary, lightness, strength=100.0, truncation=300.0)
    truncated, _ = infer(unary, lightness, strength=100.0, truncation=40.0)
    assert squared[0, 0, 1].argmax() == 2
    assert truncated[0, 0, 1].argmax() != 2


@pytest.mark.long
def test_a_photo_takes_less_than_two_seconds_of_one_core():
    """256×256 at a quarter of the size, 313 bins, 10 sweeps; time of all cores together."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (1, 64, 64, 313)).astype("float32")
    lightness, bins = rng.uniform(0, 100, (1, 64, 64, 1)), rng.uniform(-100, 100, (313, 2))
    seconds = []
    for _ in range(3):
        begun = time.process_time()
        infer(logits, lightness, bins, from_logits=True)
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lightness": np.zeros((1, 2, 3, 1))}, "height, width, 1"),
        ({"bins": np.zeros((4, 2))}, "bins, 2"),
        ({"unary": np.zeros((2, 2, 3))}, "batch, height, width, bins"),
        ({"strength": -1.0}, "strength -1.0"),
        ({"sigma": 0.0}, "sigma 0.0"),
        ({"truncation": float("inf")}, "truncation inf"),
        ({"truncation": 0.0}, "truncation 0.0"),
        ({"sweeps": -1}, "sweeps are -1"),
    ],
)
def test_bad_parameters_are_named(change, message):
    good = dict(unary=np.full((1, 2, 2, 3), 1 / 3), lightness=np.zeros((1, 2, 2, 1)), bins=BINS)
    with pytest.raises(InputError, match=message):
        mrf.mean_field(**{**good, **change})
