import numpy as np
import pandas as pd
import pytest
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

from colorize_lib import color, models
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.evaluation import evaluate, judges
from colorize_lib.training.colorizer import Colorizer

tf = pytest.importorskip("tensorflow", reason="TensorFlow's PSNR and SSIM are the reference")


@pytest.fixture(scope="module")
def split():
    random = np.random.default_rng(0)
    images = tf.image.resize(random.integers(0, 256, (23, 5, 5, 3)), (16, 16)).numpy().astype("uint8")
    images[7] = images[7][..., :1]
    return Split(images, np.zeros(23, "int32"), gray=np.array([7]))


@pytest.mark.parametrize("batch_size", [5, 250])
def test_scores_equal_a_plain_loop(split, batch_size):
    constant = np.array([7.0, -3.0])
    table = evaluate.score(evaluate.ConstantColor(constant), split, batch_size)
    assert len(table) == 23
    assert list(np.flatnonzero(table["gray"])) == [7]
    for row, image in enumerate(split.images):
        lab = rgb2lab(image)
        predicted_lab = np.concatenate([lab[..., :1], np.broadcast_to(constant, (16, 16, 2))], -1)
        predicted = lab2rgb(predicted_lab)
        found = table.loc[row]
        truth = (image / 255).astype("float32")
        assert found["psnr_rgb"] == pytest.approx(
            float(tf.image.psnr(truth, predicted.astype("float32"), 1.0)), abs=1e-3
        )
        assert found["ssim"] == pytest.approx(float(tf.image.ssim(truth, predicted.astype("float32"), 1.0)), abs=1e-4)
        scaled = (lab[..., 1:] / 128).astype("float32")
        plain = (constant / 128 + 0 * scaled).astype("float32")
        assert found["psnr_ab"] == pytest.approx(float(tf.image.psnr(scaled, plain, 1.0)), abs=1e-3)
        assert found["mae_ab"] == pytest.approx(np.abs(lab[..., 1:] - constant).mean(), abs=1e-3)
        assert found["delta_e2000"] == pytest.approx(deltaE_ciede2000(lab, rgb2lab(predicted)).mean(), abs=1e-2)


def test_truncation_is_of_the_truth_and_never_brightens(split):
    changed = evaluate.truncated(split)
    expected = (lab2rgb(rgb2lab(split.images)) * 255).astype("uint8")
    assert np.array_equal(changed.images, expected)
    lower = split.images.astype(int) - changed.images
    assert set(np.unique(lower)) == {0, 1}
    assert 0.1 < lower.mean() < 0.9
    assert list(changed.gray) == [7]
    many = np.random.default_rng(1).integers(0, 256, (502, 2, 2, 3), "uint8")  # more than are converted at once
    expected = (lab2rgb(rgb2lab(many)) * 255).astype("uint8")
    np.testing.assert_array_equal(evaluate.truncated(Split.from_arrays(many)).images, expected)


def test_predictions_stay_float_and_arrays_are_scored_as_splits(split):
    system = evaluate.ConstantColor((9.0, 4.0))
    table = evaluate.score(system, split)
    exact = np.concatenate([rgb2lab(split.images)[..., :1], np.broadcast_to([9.0, 4.0], (23, 16, 16, 2))], -1)
    error = np.square(lab2rgb(exact) - split.images / 255).mean((1, 2, 3))
    assert np.allclose(table["psnr_rgb"], -10 * np.log10(error), atol=1e-3)  # rounded to uint8 it would be off by more
    rounded = np.square(np.round(255 * lab2rgb(exact)) / 255 - split.images / 255).mean((1, 2, 3))
    assert np.abs(-10 * np.log10(rounded) + 10 * np.log10(error)).max() > 2e-3
    pd.testing.assert_frame_equal(evaluate.score(system, split.images), table)


def test_constants_are_those_of_the_training_images(split):
    found = evaluate.constants(split, median=True)
    assert list(found) == ["gray (ab = 0)", "mean colour", "median colour"]
    assert np.allclose(found["mean colour"].ab, evaluate.mean_ab(split))
    assert np.allclose(found["median colour"].ab, evaluate.median_ab(split))
    assert found["gray (ab = 0)"].ab.tolist() == [0, 0]


def test_truth_has_its_own_colorfulness(split):
    truth = evaluate.score_truth(split)
    gray = evaluate.score(evaluate.ConstantColor(), split)
    assert truth["colorfulness"].drop(7).min() > 5
    assert gray["colorfulness"].max() < 0.1
    assert truth["chroma"][7] < 0.1
    assert evaluate.score_truth(split, columns=["mae_ab", "psnr_ab"])["mae_ab"].max() < 1e-4


def test_mean_ab(split):
    assert np.allclose(evaluate.mean_ab(split, 5), rgb2lab(split.images)[..., 1:].mean((0, 1, 2)), atol=1e-3)


class _Tinted:
    """Predicts RGB that is darker than the image and red."""

    def predict_color(self, rgb):
        predicted = color.unit_rgb(rgb) * np.array([0.5, 0.4, 0.4], "float32")
        return color.rgb_to_lab(predicted)[..., 1:], predicted


def test_given_lightness_keeps_the_predicted_color(split):
    own = evaluate.score(_Tinted(), split)
    given = evaluate.score(evaluate.GivenLightness(_Tinted()), split)
    lab = rgb2lab(split.images)
    darker = rgb2lab(split.images / 255 * np.array([0.5, 0.4, 0.4]))
    assert np.allclose(own["mae_lightness"], np.abs(lab - darker)[..., 0].mean((1, 2)), atol=1e-2)
    assert given["mae_lightness"].max() < 0.1 * own["mae_lightness"].min()
    assert np.allclose(own["mae_ab"], given["mae_ab"], atol=1e-3)


class _Seen:
    """Predicts a = mean lightness of each half of what it sees, and remembers the shape of that."""

    def predict_color(self, rgb):
        self.shape = rgb.shape
        lab = np.array(color.rgb_to_lab(rgb))
        half = lab.shape[2] // 2
        ab = np.zeros((*lab.shape[:3], 2), "float32")
        ab[:, :, :half, 0] = lab[:, :, :half, :1].mean((1, 2, 3))[:, None, None]
        ab[:, :, half:, 0] = lab[:, :, half:, :1].mean((1, 2, 3))[:, None, None]
        return ab, rgb


@pytest.mark.parametrize("size", [8, 16, 40])
def test_a_system_at_its_own_size_keeps_place_and_lightness(size):
    images = np.zeros((3, 16, 16, 3), "uint8")
    images[:, :, 8:] = 119  # L = 50
    seen = _Seen()
    ab, rgb = (np.asarray(value) for value in evaluate.AtSize(seen, size).predict_color(images))
    assert tuple(seen.shape) == (3, size, size, 3)
    assert ab.shape == (3, 16, 16, 2)
    assert np.abs(ab[:, :, :5, 0]).max() < 2
    assert np.abs(ab[:, :, 11:, 0] - 50).max() < 2
    assert np.abs(rgb2lab(rgb[:, :, 11:])[..., 0] - 50).max() < 0.1


def test_a_system_at_the_images_size_is_the_system_itself(split):
    tinted = evaluate.GivenLightness(_Tinted())
    own, same = evaluate.score(tinted, split), evaluate.score(evaluate.AtSize(tinted, 16), split)
    for column in evaluate.METRICS:
        assert np.allclose(own[column], same[column], atol=1e-2)


def test_only_the_columns_asked_for_are_scored(split):
    everything = evaluate.score(evaluate.ConstantColor((9.0, 4.0)), split)
    table = evaluate.score(evaluate.ConstantColor((9.0, 4.0)), split, columns=["mae_ab", "chroma_gradient"])
    assert list(table) == ["mae_ab", "chroma_gradient", "gray"]
    assert np.allclose(table["mae_ab"], everything["mae_ab"])
    assert table["chroma_gradient"].max() < 0.5  # clipped at the edge of sRGB only
    assert evaluate.score_truth(split, columns=["chroma_gradient"])["chroma_gradient"].drop(7).min() > 1


def test_median_ab(split):
    best = evaluate.median_ab(split, 5)
    assert np.allclose(best, np.median(rgb2lab(split.images)[..., 1:].reshape(-1, 2), axis=0), atol=1e-3)


class _Uneven:
    """Predicts colours that differ from pixel to pixel, from the truth, and in brightness."""

    def __init__(self):
        random = np.random.default_rng(5)
        self.ab = random.uniform(-30, 30, (16, 16, 2)).astype("float32")
        self.rgb = random.uniform(0, 1, (16, 16, 3)).astype("float32")

    def predict_color(self, rgb):
        gray = 0 * color.unit_rgb(rgb)
        return gray[..., :2] + self.ab, gray + self.rgb


def test_every_column_is_of_the_prediction_in_lab_units(split):
    system, lab = _Uneven(), rgb2lab(split.images)
    found = evaluate.score(system, split, columns=[*evaluate.METRICS, *evaluate.MORE_METRICS])
    predicted = rgb2lab(system.rgb)
    a, b = predicted[..., 1], predicted[..., 2]
    red, green, blue = np.moveaxis(255 * system.rgb, -1, 0)
    opponents = red - green, (red + green) / 2 - blue
    down, right = (np.diff(predicted[..., 1:], axis=axis) for axis in (0, 1))
    gradient = np.sqrt((down[:, :-1] ** 2 + right[:-1] ** 2).sum(-1)).mean()
    blocks = predicted[..., 1:].reshape(4, 4, 4, 4, 2)
    expected = {  # the same for all images, as the prediction is
        "chroma": np.hypot(a, b).mean(),
        "chroma_spread": np.sqrt(a.var() + b.var()),
        "chroma_gradient": gradient,
        "chroma_detail": blocks.var((1, 3)).sum(-1).mean() / (a.var() + b.var()),
        "colorfulness": np.hypot(*(each.std() for each in opponents))
        + 0.3 * np.hypot(*(each.mean() for each in opponents)),
    }
    for column, value in expected.items():
        assert np.allclose(found[column], value, rtol=1e-3), column
    error = lab[..., 1:] - system.ab
    assert np.allclose(found["mae_ab"], np.abs(error).mean((1, 2, 3)), rtol=1e-4)
    assert np.allclose(found["mse_ab"], (error**2).mean((1, 2, 3)), rtol=1e-4)
    assert np.allclose(found["psnr_ab"], -10 * np.log10((error**2).mean((1, 2, 3)) / 128**2), rtol=1e-4)
    assert np.allclose(found["mae_lightness"], np.abs(lab - predicted)[..., 0].mean((1, 2)), rtol=1e-3)


def test_colorized_images_score_as_the_system_that_colorized_them(split):
    """Except for the rounding to 8 bits, in batches of any size, and with the shares of hues."""
    system = evaluate.ConstantColor((12.0, -9.0))
    columns = [*evaluate.METRICS, "mae_lightness", *evaluate.HUES]
    expected = evaluate.score(system, split, columns=columns)
    colorized = judges.colorized(system, split).images
    found = evaluate.score_colorized(split, colorized, batch_size=3, columns=columns)
    assert list(found) == list(expected)
    assert (found["gray"] == expected["gray"]).all()
    tolerances = {"psnr_rgb": 0.1, "ssim": 0.01, "delta_e2000": 0.3, "chroma": 0.3, "red": 0.01}
    tolerances |= {"mae_ab": 0.3, "psnr_ab": 0.2, "mae_lightness": 0.3, "colorfulness": 0.5}
    for column, tolerance in tolerances.items():
        np.testing.assert_allclose(found[column], expected[column], atol=tolerance)
    assert found["red"].mean() > 0.5
    assert found[["yellow_brown", "green"]].to_numpy().max() < 0.1
    exact = evaluate.score_colorized(split, split.images[:], columns=["delta_e2000", "psnr_rgb"])
    assert exact["delta_e2000"].max() < 1e-3
    assert np.isinf(exact["psnr_rgb"]).all()


class _Checkered:
    """Predicts a of 50 and -50 in columns that take turns."""

    def predict_color(self, rgb):
        a = np.broadcast_to(np.resize([50.0, -50.0], rgb.shape[2])[:, None], (*rgb.shape[:3], 1))
        return np.concatenate([a, 0 * a], -1).astype("float32"), rgb


def test_colour_that_is_finer_than_the_images_is_averaged():
    """Not sampled, which would give colours that stripes and images make together."""
    images = np.full((1, 16, 16, 3), 119, "uint8")
    ab = np.asarray(evaluate.AtSize(_Checkered(), 40).predict_color(images)[0])
    assert np.abs(ab[:, :, 2:-2]).max() < 10


def test_an_image_that_is_finer_than_the_network_sees_is_averaged():
    images = np.zeros((1, 16, 16, 3), "uint8")
    images[:, :, 1::4] = images[:, :, 2::4] = 255
    seen = _Brightness()
    evaluate.AtSize(seen, 4).predict_color(images)
    assert np.abs(seen.rgb[:, :, 1:-1] - 0.5).max() < 0.05


class _Brightness:
    """Keeps what it is asked to colorize."""

    def predict_color(self, rgb):
        self.rgb = np.asarray(rgb)
        return 0 * rgb[..., :2], rgb


def test_images_of_another_size_than_the_network_sees_are_refused():
    images = np.zeros((2, 96, 96, 3), "uint8")
    colorizer = Colorizer(models.build("natural", width=0.05), "zhang")
    with pytest.raises(InputError, match="sees images of 64×64 pixels, and these have 96×96"):
        evaluate.score(colorizer, images)
