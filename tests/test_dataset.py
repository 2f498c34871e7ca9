import numpy as np
import pytest

from colorize_lib.dataset import Dataset, Split
from colorize_lib.errors import InputError
from colorize_lib.training.data import Batches

IMAGES = np.random.default_rng(0).integers(0, 256, (9, 4, 6, 3)).astype("uint8")


def test_a_split_of_plain_arrays():
    images = IMAGES.copy()
    images[4] = images[4][..., :1]
    split = Split.from_arrays(images, range(9))
    assert split.labels.tolist() == list(range(9))
    assert split.gray.tolist() == [4]
    assert Split.from_arrays(images).labels.tolist() == [-1] * 9
    assert np.array_equal(split.take([4, 5]).images, images[4:6])


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (IMAGES / 255, r"An array of float64 and shape \(9, 4, 6, 3\)"),
        (IMAGES[..., 0], r"shape \(9, 4, 6\)"),
        (IMAGES[:0], r"shape \(0, 4, 6, 3\)"),
    ],
)
def test_arrays_of_another_kind_are_said(images, said):
    with pytest.raises(InputError, match=said + r".*give uint8 RGB"):
        Split.from_arrays(images)


def test_labels_are_one_an_image():
    with pytest.raises(InputError, match="9 images and 8 labels"):
        Split.from_arrays(IMAGES, range(8))


def test_batches_take_an_array():
    batches = Batches(IMAGES, 4)
    assert [len(batches[index][0]) for index in range(len(batches))] == [4, 4, 1]
    assert np.array_equal(np.concatenate([batches[index][0] for index in range(3)]), IMAGES)


def test_the_last_line_of_a_cell_prints_a_short_table():
    split = Split.from_arrays(IMAGES)
    dataset = Dataset({"train": split, "test": split.take([0, 1])}, ["cat", "dog"], {"name": "pets"})
    assert repr(split) == "9 images of 4×6, 0 without colour"
    assert repr(dataset).splitlines() == [
        "pets",
        "train       9 images of 4×6, 0 without colour",
        "test        2 images of 4×6, 0 without colour",
        "2 classes",
    ]
