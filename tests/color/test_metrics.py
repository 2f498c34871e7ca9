import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from colorize_lib import color
from colorize_lib.color import metrics
from colorize_lib.errors import InputError

tf = pytest.importorskip("tensorflow", reason="TensorFlow's PSNR and SSIM are the reference")


@pytest.fixture(scope="module")
def pair():
    """Smooth images and distorted ones, (6, 48, 40, 3) float32 in [0, 1]; the last two pairs are equal and black/white."""
    random = np.random.default_rng(0)
    small = tf.image.resize(random.random((6, 8, 8, 3)), (48, 40)).numpy()
    other = np.clip(
        small + random.normal(0, [[[[0.01]]], [[[0.05]]], [[[0.2]]], [[[0.4]]], [[[0]]], [[[0]]]], small.shape), 0, 1
    )
    small[5], other[5] = 0, 1
    return small.astype("float32"), other.astype("float32")


def test_psnr_equals_tensorflow(pair):
    for max_value in (1.0, 2.0):
        expected = tf.image.psnr(*pair, max_val=max_value).numpy()
        assert np.allclose(np.asarray(metrics.psnr(*pair, max_value)), expected, atol=1e-4)
    assert np.isinf(np.asarray(metrics.psnr_rgb(*pair))[4])


def test_ssim_equals_tensorflow(pair):
    expected = tf.image.ssim(*pair, max_val=1.0).numpy()
    assert np.allclose(np.asarray(metrics.ssim(*pair)), expected, atol=1e-4)


def test_ssim_needs_eleven_pixels():
    with pytest.raises(ValueError, match="11 pixels"):
        metrics.ssim(np.zeros((1, 10, 30, 3)), np.zeros((1, 10, 30, 3)))


def test_delta_e2000_equals_scikit_image(pair):
    random = np.random.default_rng(1)
    first, second = random.uniform([0, -100, -100], [100, 100, 100], (2, 1, 200, 200, 3))
    for truth, prediction in [(rgb2lab(pair[0]), rgb2lab(pair[1])), (first, second), (first, first * [1, 0, 0])]:
        expected = deltaE_ciede2000(truth, prediction).mean((1, 2))
        assert np.allclose(np.asarray(metrics.delta_e2000(truth, prediction)), expected, atol=2e-3)


def test_mean_errors(pair):
    difference = pair[0] - pair[1]
    assert np.allclose(np.asarray(metrics.mae(*pair)), np.abs(difference).mean((1, 2, 3)), atol=1e-6)
    assert np.allclose(np.asarray(metrics.mse(*pair)), (difference**2).mean((1, 2, 3)), atol=1e-6)


def test_the_two_psnrs_differ_as_the_docstring_says():
    ab = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 8, 8, 2))
    whole_range = np.asarray(metrics.psnr(ab, 0 * ab, max_value=2))
    assert np.allclose(whole_range - np.asarray(metrics.psnr_ab(ab, 0 * ab)), 6.0206, atol=1e-3)


def test_colorfulness(pair):
    images = np.concatenate([pair[0], np.full((1, 48, 40, 3), 0.3, "float32")])
    red, green, blue = np.moveaxis(255 * images, -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = np.hypot(rg.std((1, 2)), yb.std((1, 2)))
    expected = spread + 0.3 * np.hypot(rg.mean((1, 2)), yb.mean((1, 2)))
    found = np.asarray(metrics.colorfulness(images))
    assert np.allclose(found, expected, atol=1e-2)
    assert found[-1] == pytest.approx(0, abs=1e-3)


def test_chroma():
    lab = np.zeros((1, 2, 2, 3))
    lab[0, 0, 0] = 50, 3, -4
    assert np.asarray(metrics.chroma(lab))[0] == pytest.approx(5 / 4)


def test_larger_channel_accuracy_is_what_keras_calls_accuracy():
    import keras

    truth, prediction = np.random.default_rng(0).random((2, 4, 8, 8, 2))
    keras_metric = keras.metrics.CategoricalAccuracy()
    keras_metric.update_state(truth, prediction)
    assert np.mean(metrics.larger_channel_accuracy(truth, prediction)) == pytest.approx(float(keras_metric.result()))


def test_blur_lowers_gradient_and_detail_of_color_but_paleness_the_gradient_only():
    random = np.random.default_rng(2)
    sharp = np.concatenate([np.full((3, 16, 18, 1), 50), random.uniform(-40, 40, (3, 16, 18, 2))], -1).astype("float32")
    blurred = sharp.copy()
    blurred[..., 1:] = tf.nn.avg_pool2d(sharp[..., 1:], 3, 1, "SAME").numpy()
    pale = sharp * [1, 0.5, 0.5]
    plain = sharp * [1, 0, 0] + [0, 20, -10]
    gradient, detail, spread = (
        {
            name: np.asarray(function(lab))
            for name, lab in dict(sharp=sharp, blurred=blurred, pale=pale, plain=plain).items()
        }
        for function in (metrics.chroma_gradient, metrics.chroma_detail, metrics.chroma_spread)
    )
    assert (gradient["blurred"] < 0.6 * gradient["sharp"]).all()
    assert (detail["blurred"] < 0.95 * detail["sharp"]).all()
    assert np.allclose(gradient["pale"], gradient["sharp"] / 2, rtol=1e-4)
    assert np.allclose(detail["pale"], detail["sharp"], rtol=1e-4)
    assert np.allclose(spread["sharp"], np.sqrt(sharp[..., 1:].var((1, 2)).sum(-1)), rtol=1e-4)
    for values in (gradient, detail, spread):
        assert np.allclose(values["plain"], 0, atol=1e-3)


def test_color_that_changes_from_block_to_block_only_has_no_detail():
    lab = np.zeros((1, 8, 10, 3), "float32")
    lab[:, :4, :4, 1], lab[:, 4:, 4:8, 2] = 30, -20
    assert np.asarray(metrics.chroma_detail(lab))[0] == pytest.approx(0, abs=1e-6)
    lab[:, ::2, :, 1] = -lab[:, ::2, :, 1]
    assert np.asarray(metrics.chroma_detail(lab))[0] > 0.3


def test_gradient_is_in_lab_units_per_pixel():
    lab = np.zeros((1, 12, 12, 3), "float32")
    lab[..., 1] += 3 * np.arange(12)
    lab[..., 2] += 4 * np.arange(12)[:, None]
    assert np.asarray(metrics.chroma_gradient(lab))[0] == pytest.approx(5, rel=1e-5)


def test_predicted_ab_is_in_lab_units_whatever_the_convention(pair):
    rgb = pair[1][:2]
    expected = rgb2lab(rgb)[..., 1:].mean((1, 2))
    for name in ("miu", "unit_rgb", "zhang"):
        convention = color.CONVENTIONS[name]
        _, target = convention.encode(rgb)
        a, b = (np.asarray(function(None, target)) for function in metrics.predicted_ab(convention))
        assert np.allclose(np.stack([a, b], axis=-1), expected, atol=1e-2)


def test_uint8_is_rgb_in_255_levels():
    generator = np.random.default_rng(0)
    truth, prediction = generator.integers(0, 256, (2, 2, 16, 16, 3), "uint8")
    for metric in (metrics.psnr_rgb, metrics.mse, metrics.mae, metrics.ssim):
        np.testing.assert_allclose(metric(truth, prediction), metric(truth / 255, prediction / 255), rtol=1e-4)
    assert 0 < float(np.asarray(metrics.psnr_rgb(truth, prediction))[0]) < 20


def test_the_meaning_of_other_numbers_is_sure_or_they_are_refused():
    generator = np.random.default_rng(0)
    truth, prediction = generator.integers(0, 256, (2, 1, 16, 16, 3), "uint8")
    lists = truth.tolist(), prediction.tolist()
    for metric in (metrics.psnr_rgb, metrics.mse, metrics.ssim):
        expected = np.asarray(metric(truth, prediction))
        for given in ((truth.astype("int64"), prediction.astype("int32")), lists):
            np.testing.assert_allclose(metric(*given), expected, rtol=1e-4)
    np.testing.assert_allclose(metrics.colorfulness(lists[0]), metrics.colorfulness(truth), rtol=1e-4)
    for metric in (metrics.psnr_rgb, lambda rgb, _: metrics.colorfulness(rgb)):
        with pytest.raises(InputError, match="float of 0 to 1"):
            metric(truth.astype("float32"), prediction.astype("float32"))
    lab = np.array([[[[50, -20, 30]]]])
    np.testing.assert_allclose(metrics.chroma(lab), np.hypot(20, 30), rtol=1e-5)
    with pytest.raises(InputError, match="Lab of uint8"):
        metrics.delta_e2000(truth, prediction)


def test_hue_shares_at_their_borders():
    chroma, hue = 20, np.radians([39.9, 40.1, 109.9, 110.1, 199.9, 200.1, 309.9, 310.1, 359.9, 0.1])
    lab = np.stack([50 + 0 * hue, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)[None, None].astype("float32")
    assert np.allclose(np.asarray(metrics.hue_shares(lab)), [[0.2, 0.2, 0.2, 0.4]])
    pale = lab * (1, 7.9 / chroma, 7.9 / chroma)
    assert np.allclose(np.asarray(metrics.hue_shares(pale)), 0)


def test_the_largest_channel_of_three_is_the_largest():
    """RGB: what is largest says nothing about what is smallest."""
    truth = np.array([[3, 2, 1], [3, 1, 2], [1, 2, 3], [1, 3, 2]], float)[None, None]
    prediction = np.array([[3, 1, 2], [2, 1, 3], [2, 1, 3], [2, 3, 1]], float)[None, None]
    assert np.asarray(metrics.larger_channel_accuracy(truth, prediction))[0] == 0.75
