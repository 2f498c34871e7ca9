import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from colorize_lib import color
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.evaluation import evaluate, judges
from colorize_lib.training.data import Batches

SMALL = dict(size=16, width=1 / 16)


@pytest.fixture(scope="module")
def split():
    """Three classes of a colour each, on random lightness."""
    lightness = np.random.default_rng(0).uniform(40, 70, (90, 16, 16, 1))
    labels = np.arange(90, dtype="int32") % 3
    ab = np.array([[30, 0], [-25, 25], [0, -30]])[labels][:, None, None] + 0 * lightness
    images = np.asarray(color.to_uint8(color.lab_to_rgb(np.concatenate([lightness, ab], -1))))
    return Split(images, labels, [f"image{number}" for number in range(90)])


@pytest.fixture(scope="module")
def classifier(split):
    judge = judges.judge(3, 3e-3, **SMALL)
    judge.fit(Batches(split, 15, seed=0, labels=True), epochs=12, verbose=0)
    return judge


def test_a_judge_learns_by_the_cross_entropy_of_its_logits(split):
    judge = judges.judge(3, 0.02, **SMALL)
    logits = 10 * np.asarray(judge(split.images))
    judge.network.layers[-1].set_weights([10 * weight for weight in judge.network.layers[-1].get_weights()])
    found = judge.evaluate(Batches(split, 90, labels=True), verbose=0, return_dict=True)
    expected = -log_softmax(logits, axis=-1)[np.arange(90), split.labels].mean()
    assert found["loss"] == pytest.approx(expected, rel=1e-3)
    assert isinstance(judge.optimizer, keras.optimizers.Adam)
    assert float(judge.optimizer.learning_rate) == pytest.approx(0.02)


class Perfect:
    """Knows the true colours."""

    def predict_color(self, rgb):
        return color.rgb_to_lab(rgb)[..., 1:], color.unit_rgb(rgb)


def test_colorized_images_keep_labels_and_lightness(split):
    gray = judges.colorized(evaluate.ConstantColor(), split, batch_size=40)
    assert gray.images.dtype == "uint8"
    assert (np.ptp(gray.images.astype(int), axis=-1) <= 1).all()
    assert np.array_equal(gray.labels, split.labels)
    assert gray.files == split.files
    lightness = [np.asarray(color.rgb_to_lab(images))[..., 0] for images in (gray.images, split.images)]
    assert np.abs(lightness[0] - lightness[1]).max() < 0.5
    assert np.array_equal(judges.colorized(Perfect(), split, batch_size=40).images, split.images)


def test_classifier_recognises_colours_and_misses_them_in_gray_images(split, classifier):
    right = judges.right(classifier, split)
    assert right.shape == (90,)
    assert right.mean() > 0.9
    assert judges.right(classifier, judges.colorized(evaluate.ConstantColor(), split)).mean() < 0.6


def test_detector_tells_gray_images_from_real_ones_and_sees_no_colorized_image_that_is_not_there(split):
    learn, held = split.take(np.arange(60)), split.take(np.arange(60, 90))

    def pairs(system, part):
        return judges.real_and_colorized(part, judges.colorized(system, part))

    train = pairs(evaluate.ConstantColor(), learn)
    assert train.labels.tolist() == [0] * 60 + [1] * 60
    detector = judges.judge(2, 3e-3, **SMALL)
    detector.fit(Batches(train, 15, seed=0, labels=True), epochs=8, verbose=0)
    assert judges.right(detector, pairs(evaluate.ConstantColor(), held)).mean() > 0.9
    equal = pairs(Perfect(), learn).images[:]
    np.testing.assert_array_equal(equal[:60], equal[60:])


def test_a_detector_needs_as_many_real_as_colorized_images(split):
    with pytest.raises(InputError, match="90 real and 30 colorized images"):
        judges.real_and_colorized(split, split.take(np.arange(30)))
