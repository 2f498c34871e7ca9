import keras
import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2gray, rgb2lab

from colorize_lib import color
from colorize_lib.errors import InputError


def every_third_color():
    """Every third value of each channel: 86³ = 636,056 colours, (636056, 3) uint8."""
    values = np.arange(0, 256, 3, dtype="uint8")
    return np.stack(np.meshgrid(values, values, values, indexing="ij"), -1).reshape(-1, 3)


def compiled(function):
    """`function` as it is in a compiled step, on the backend of this process."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function)


@pytest.mark.parametrize("way", [lambda function: function, compiled])
def test_lab_equals_scikit_image_and_no_color_is_lost(way):
    to_lab, to_rgb = way(color.rgb_to_lab), way(color.lab_to_rgb)
    rgb = every_third_color()
    expected = rgb2lab(rgb)
    for given in (rgb, (rgb / 255).astype("float32")):
        lab = np.asarray(to_lab(given))
        assert lab.dtype == np.float32
        assert np.abs(lab - expected).max() <= 2e-4
    back = np.asarray(color.to_uint8(to_rgb(lab)))
    assert np.array_equal(back, rgb)


@pytest.mark.parametrize("function", [color.rgb_to_lab, color.lab_to_rgb, color.lightness])
def test_fast_passes_have_the_results_of_the_textbook(function, monkeypatch):
    random = np.random.default_rng(0)
    rgb = random.uniform(0, 1, (4, 16, 16, 3)).astype("float32")
    rgb[0] = random.choice([0, 1e-4, 0.0031, 0.0405, 1], rgb[0].shape)  # where the formulas change over, and their ends
    given = np.asarray(color.rgb_to_lab(rgb)) + random.normal(0, 20, rgb.shape) if function is color.lab_to_rgb else rgb
    fast = np.asarray(compiled(lambda values: function(values))(given.astype("float32")))
    monkeypatch.setenv("COLORIZE_ACCELERATE", "0")
    textbook = np.asarray(function(given.astype("float32")))
    assert np.abs(fast - textbook).max() <= (1e-5 if function is color.lab_to_rgb else 1e-4)
    assert not np.array_equal(fast, textbook), "else the textbook is compared with itself"


def test_out_of_gamut_is_clipped_as_scikit_image_does():
    lab = np.random.default_rng(0).uniform([0, -120, -120], [100, 120, 120], (5000, 3))
    with np.errstate(all="ignore"):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = lab2rgb(lab)
    found = np.asarray(color.lab_to_rgb(lab))
    assert found.min() >= 0
    assert found.max() <= 1
    assert np.abs(found - expected).max() < 1e-4


def gradient(function, given):
    """Of the sum of all that `function` returns, on the backend of this process."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(lambda values: function(values).sum())(given)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(given)
        result = function(given)
    return tape.gradient(result, given)


@pytest.mark.parametrize("rgb", [(0, 0, 0), (255, 255, 255), (255, 0, 0), (1, 1, 1)])
@pytest.mark.parametrize("way", [lambda function: function, compiled])
def test_gradients_are_finite(rgb, way):
    given = keras.ops.convert_to_tensor([rgb], "float32") / 255
    out_of_gamut = np.array([[0, 200, -200]], "float32")

    def gradients(given):
        return [
            gradient(color.rgb_to_lab, given),
            gradient(lambda values: color.lab_to_rgb(color.rgb_to_lab(values)), given),
            gradient(lambda values: color.lab_to_rgb(color.rgb_to_lab(values) + out_of_gamut), given),
        ]

    assert all(np.isfinite(np.asarray(found)).all() for found in way(gradients)(given))


@pytest.mark.parametrize("way", [lambda function: function, compiled])
def test_gradients_of_there_and_back_cancel(way):
    rgb = keras.ops.convert_to_tensor(np.random.default_rng(3).uniform(0.1, 0.9, (50, 3)), "float32")
    found = way(lambda given: gradient(lambda values: color.lab_to_rgb(color.rgb_to_lab(values)), given))(rgb)
    assert np.allclose(np.asarray(found), 1, atol=1e-3)


def test_gray():
    rgb = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype="uint8")
    assert np.allclose(np.asarray(color.gray(rgb, color.GRAY_BT709))[..., 0], rgb2gray(rgb), atol=1e-6)


# Written out from the papers, independently of color.py: input and target for one image.
EXPECTED = {
    "miu": lambda rgb, lab: (lab[..., :1] / 100, (lab[..., 1:] + 128) / 255),
    "miu_255": lambda rgb, lab: (lab[..., :1] / 100 * 255, (lab[..., 1:] + 128) / 255),
    "polychromify": lambda rgb, lab: (lab[..., :1], lab[..., 1:] / 128),
    "yosemite": lambda rgb, lab: (rgb @ [[0.299], [0.587], [0.114]] * 2 - 1, rgb * 2 - 1),
    "places": lambda rgb, lab: (rgb2gray(rgb)[..., None], (lab[..., 1:] + 128) / 255),
    "kth": lambda rgb, lab: ((lab[..., :1] - 50) / 50, (lab[..., 1:] + 0.5) / 127.5),
    "zhang": lambda rgb, lab: ((lab[..., :1] - 50) / 100, lab[..., 1:] / 110),
    "unit_rgb": lambda rgb, lab: (rgb @ [[0.299], [0.587], [0.114]], rgb),
}


def test_every_convention_is_tested():
    assert set(EXPECTED) == set(color.CONVENTIONS)


@pytest.mark.parametrize("name", EXPECTED)
def test_convention(name):
    rgb = np.random.default_rng(1).integers(0, 256, (2, 6, 5, 3), dtype="uint8")
    convention = color.CONVENTIONS[name]
    network_input, target = convention.encode(rgb)
    expected_input, expected_target = EXPECTED[name](rgb / 255, rgb2lab(rgb))
    assert np.allclose(np.asarray(network_input), expected_input, rtol=1e-5, atol=1e-4)
    assert np.allclose(np.asarray(target), expected_target, atol=1e-4)
    assert target.shape[-1] == convention.channels
    assert np.array_equal(np.asarray(color.to_uint8(convention.decode(rgb, target))), rgb)
    assert np.allclose(np.asarray(convention.ab(target)), rgb2lab(rgb)[..., 1:], atol=1e-2)
    lightness = color.rgb_to_lab(rgb)[..., :1]
    assert np.array_equal(np.asarray(color.to_uint8(convention.decode(lightness, target))), rgb)


def test_rgb_networks_can_keep_the_given_lightness():
    rgb = np.random.default_rng(2).integers(60, 200, (1, 4, 4, 3), dtype="uint8")
    prediction = np.full((1, 4, 4, 3), 0.1, "float32")
    kept = color.CONVENTIONS["unit_rgb"].decode(rgb, prediction, keep_lightness=True)
    assert np.allclose(np.asarray(color.rgb_to_lab(kept))[..., 0], rgb2lab(rgb)[..., 0], atol=0.01)


def test_the_meaning_of_rgb_is_sure_or_it_is_refused():
    levels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), "uint8")
    expected = rgb2lab(levels)
    for same in (levels, levels.astype("int64"), levels.tolist(), levels / 255):
        np.testing.assert_allclose(color.rgb_to_lab(same), expected, atol=2e-3)
        np.testing.assert_allclose(color.lightness(same), expected[..., :1], atol=2e-3)
    for wrong in (levels.astype("float32"), levels.astype("int64") + 100, levels > 9, np.full((2, 2, 3), np.nan)):
        with pytest.raises(InputError, match="give uint8 of 0 to 255, or float of 0 to 1"):
            color.rgb_to_lab(wrong)
    with pytest.raises(InputError, match="convert it to uint8"):
        color.rgb_to_lab(keras.ops.convert_to_tensor(levels.astype("int32")))
