import keras
import numpy as np
import pytest
import small_models

from colorize_lib import color, models
from colorize_lib.dataset import Dataset, Split
from colorize_lib.errors import InputError
from colorize_lib.models.colornet import load_backbone
from colorize_lib.training import classification
from colorize_lib.training.data import Batches


def striped(count=32):
    """Class 0 has horizontal stripes, class 1 vertical ones, in any colour."""
    rng = np.random.default_rng(0)
    labels = np.arange(count, dtype="int32") % 2
    stripes = np.tile(np.array((0, 0, 0, 0, 1, 1, 1, 1)), 4)
    pattern = [np.broadcast_to(stripes[:, None], (32, 32)), np.broadcast_to(stripes, (32, 32))]
    colours = rng.integers(40, 120, (count, 1, 1, 3))
    images = np.stack([pattern[label][..., None] for label in labels]) * 100 + colours
    return Split(images.astype("uint8"), labels)


def test_classes_are_learned_from_gray_and_the_features_move_to_a_colorizer():
    split = striped()
    keras.utils.set_random_seed(0)
    classifier = small_models.classifier(2, learning_rate=3e-3, size=32, width=0.1)
    classifier.fit(Batches(split, 8, seed=0, labels=True), epochs=12, verbose=0)
    assert classifier.evaluate(Batches(split, 16, labels=True), verbose=0, return_dict=True)["accuracy"] > 0.9

    grays = Split(np.repeat(split.images.mean(-1, keepdims=True).astype("uint8"), 3, axis=-1), split.labels)
    recoloured = classifier.predict(Batches(grays, 16), verbose=0).argmax(-1)
    assert (recoloured == split.labels).mean() > 0.9

    colornet = models.build("colornet", size=32, width=0.1)
    load_backbone(colornet, classifier.network)
    np.testing.assert_array_equal(
        *(network.get_layer("layer2_block2_conv2").get_weights()[0] for network in (colornet, classifier.network))
    )


@pytest.mark.parametrize(("classes", "labels"), [(["a", "b"], [0, -1]), (["a"], [0, 0]), ([], [-1, -1])])
def test_images_without_classes_are_refused(classes, labels):
    split = Split(np.zeros((2, 8, 8, 3), "uint8"), np.array(labels, "int32"))
    dataset = Dataset({"train": split}, classes, {"name": "places"})
    with pytest.raises(InputError, match=r"'places' have no class labels.* with classes, such as tiny-imagenet, or"):
        classification.require_labels(dataset, "train")


def test_images_with_classes_pass():
    split = Split(np.zeros((2, 8, 8, 3), "uint8"), np.array([1, 0], "int32"))
    classification.require_labels(Dataset({"train": split}, ["a", "b"], {"name": "any"}), "train")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_classifier_sees_lightness_and_colour_if_it_has_inputs_for_both(channels):
    """The network's logits are the means of its inputs."""
    inputs = keras.Input((8, 8, channels))
    network = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), "uint8")
    lightness, ab = (np.asarray(part).mean((1, 2)) for part in color.CONVENTIONS["kth"].encode(images))
    expected = np.concatenate([lightness, ab], -1) if channels == 3 else lightness
    model = classification.Classifier(network, "kth")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model(images)), expected, atol=1e-5)
