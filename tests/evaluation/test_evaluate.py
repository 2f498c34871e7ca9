import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, lab2rgb, rgb2lab

from colorize_lib import color, models
from colorize_lib.dataset import Split
from colorize_lib.evaluation import evaluate

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


def test_round_trip_is_what_writing_uint8_does(split):
    system = evaluate.ConstantColor((9.0, 4.0))
    exact, rounded = (evaluate.score(system, split, round_trip=on)["psnr_rgb"] for on in (False, True))
    assert 0 < np.abs(exact - rounded).max() < 0.5


def test_truth_has_its_own_colorfulness(split):
    truth = evaluate.score_truth(split)
    gray = evaluate.score(evaluate.ConstantColor(), split)
    assert truth["colorfulness"].drop(7).min() > 5
    assert gray["colorfulness"].max() < 0.1
    assert truth["chroma"][7] < 0.1


def test_mean_ab(split):
    assert np.allclose(evaluate.mean_ab(split, 5), rgb2lab(split.images)[..., 1:].mean((0, 1, 2)), atol=1e-3)


def test_the_mean_color_is_the_best_constant_by_squared_error(split):
    best = evaluate.mean_ab(split)

    def squared_error(ab):
        return ((rgb2lab(split.images)[..., 1:] - ab) ** 2).mean()

    assert all(squared_error(best) < squared_error(best + step) for step in ([1, 0], [-1, 0], [0, 1], [0, -1]))


def test_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        _, low, high = evaluate.interval(random.normal(3, 1, 200), resamples=400)
        hits += low <= 3 <= high
    assert 85 <= hits <= 100
    assert evaluate.interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_paper_vs_here(split):
    summary = evaluate.summary(evaluate.score(evaluate.ConstantColor(), split))
    table = evaluate.paper_vs_here({"cnn": ({"ssim": 0.9061}, summary), "eccv16": ({"ssim": 0.923}, None)}, ["ssim"])
    assert table.loc["cnn", ("ssim", "paper")] == "0.9061"
    assert table.loc["cnn", ("ssim", "here")].startswith(f"{summary['ssim']['mean']:.4g} [")
    assert table.loc["eccv16", ("ssim", "here")] == "not run"


def test_published_numbers_name_known_systems():
    for table in ("table1", "table2"):
        known = {*models.names("polychromify"), "polychromify_ab", "eccv16", "siggraph17"}
        assert set(evaluate.published("polychromify", table)) <= known
    assert evaluate.published("polychromify", "table2", "polychromify_ab", "psnr_rgb") == 22.444


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


def test_intervals_over_seeds_are_student_s():
    mean, low, high = evaluate.seed_interval([1.0, 2.0, 3.0])
    assert mean == pytest.approx(2.0)
    assert (low, high) == pytest.approx((2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert np.isnan(evaluate.seed_interval([1.0])[1:]).all()


@pytest.mark.parametrize(
    ("advantages", "said"),
    [
        ([1.0, 1.1, 0.9], "for"),
        ([-1.0, -1.1, -0.9], "against"),
        ([1.0, 2.0, 3.0], "undecided"),
        ([1.0, 1.1], "undecided"),
        ([1.0], "undecided"),
    ],
)
def test_verdict(advantages, said):
    assert evaluate.verdict(advantages) == said


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


def test_the_median_color_is_the_best_constant_by_absolute_error(split):
    best = evaluate.median_ab(split, 5)
    assert np.allclose(best, np.median(rgb2lab(split.images)[..., 1:].reshape(-1, 2), axis=0), atol=1e-3)

    def absolute_error(ab):
        return np.abs(rgb2lab(split.images)[..., 1:] - ab).mean()

    assert all(absolute_error(best) < absolute_error(best + step) for step in ([1, 0], [-1, 0], [0, 1], [0, -1]))


@pytest.mark.parametrize(("shift", "said"), [(0.5, "for"), (-0.5, "against"), (0.0, "undecided")])
def test_verdict_over_images(shift, said):
    advantages = np.random.default_rng(0).normal(0, 1, 300)
    assert evaluate.image_verdict(advantages - advantages.mean() + shift) == said
