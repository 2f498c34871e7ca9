"""colorize_lib.dataset: how splits are divided and joined; what cannot train is refused before any training."""

import numpy as np
import pytest
from PIL import Image

from colorize_lib.dataset import Split, joined
from colorize_lib.errors import InputError
from data_prep import load


def folder(path, colour=0, gray=0, classes=1):
    """A folder of photographs, in as many subfolders as there are classes."""
    for number in range(colour + gray):
        place = path / f"class{number % classes}"
        place.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, 256, (9, 9, 3 if number < colour else 1), "uint8")
        Image.fromarray(np.broadcast_to(values, (9, 9, 3))).save(place / f"{number:02d}.png")
    return load("folder", path=path, size=8, jobs=1, home=path.parent / "home")


def test_enough_photographs_in_colour_pass(tmp_path):
    folder(tmp_path / "own", colour=30, classes=2).require(train=16, validation=2, test=2, classes=2)


def test_gray_photographs_teach_nothing(tmp_path):
    dataset = folder(tmp_path / "own", gray=20)
    with pytest.raises(
        InputError, match=r"0 of the \d+ images in the split 'train' .*'own' are in colour, and at least 8 must"
    ):
        dataset.require(train=8)


@pytest.mark.parametrize("count", [3, 5])
def test_a_few_photographs_are_too_few(tmp_path, count):
    with pytest.raises(InputError, match="at least 8 must be: choose a folder with more"):
        folder(tmp_path / "own", colour=count).require(train=8, test=1)


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_photographs_cannot_be_split(tmp_path, count):
    with pytest.raises(InputError, match="too few to split"):
        folder(tmp_path / "own", colour=count)


def test_a_single_class_is_too_few_for_a_classifier(tmp_path):
    dataset = folder(tmp_path / "own", colour=30)
    dataset.require(train=8)
    with pytest.raises(InputError, match="of 1 classes, and 2 are needed"):
        dataset.require(train=8, classes=2)
    with pytest.raises(InputError, match="in the split 'other'"):
        dataset.require(other=1)


def test_arrays_make_a_split_with_or_without_labels():
    images = np.zeros((3, 4, 5, 3), "uint8")
    images[1, 0, 0, 0] = 9
    split = Split.from_arrays(images, [2, 0, 1])
    assert (split.labels.dtype, split.labels.tolist(), split.gray.tolist()) == ("int32", [2, 0, 1], [0, 2])
    assert Split.from_arrays(images).labels.tolist() == [-1, -1, -1]
    assert repr(split) == "3 images of 4×5, 2 without colour"


@pytest.mark.parametrize("labels", [[1, 2], [[1], [2], [3]], [0.5, 1, 2], ["a", "b", "c"]])
def test_labels_that_do_not_belong_to_the_images_are_refused(labels):
    with pytest.raises(InputError, match="do not belong to 3 images: give a whole number for each"):
        Split.from_arrays(np.zeros((3, 4, 5, 3), "uint8"), labels)


@pytest.mark.parametrize(
    "images", [np.zeros((3, 4, 5, 3)), np.zeros((3, 4, 5), "uint8"), np.zeros((0, 4, 5, 3), "uint8")]
)
def test_what_is_no_set_of_images_is_refused(images):
    with pytest.raises(InputError, match="is not a set of images: give uint8 RGB"):
        Split.from_arrays(images)


# Dividing and joining


def patches(photographs, each=4, first=0):
    files = [f"{first + number}.jpg#{patch},0,8" for number in range(photographs) for patch in range(each)]
    images = np.arange(first * each, (first + photographs) * each, dtype="uint8")[:, None, None, None]
    return Split(np.broadcast_to(images, (len(files), 2, 2, 3)), np.arange(len(files)), files, np.array([1]))


def photographs(split):
    return {file.partition("#")[0] for file in split.files}


def test_patches_of_a_photograph_stay_together():
    whole = patches(10)
    first, second = whole.divide(0.7, seed=3)
    assert (len(photographs(first)), len(photographs(second))) == (7, 3)
    assert not photographs(first) & photographs(second)
    assert sorted(first.files + second.files) == sorted(whole.files)
    for part in (first, second):
        rows = [whole.files.index(file) for file in part.files]
        assert (part.images[:, 0, 0, 0] == rows).all()
        assert list(np.array(rows)[part.gray]) == [row for row in rows if row == 1]


def test_a_larger_share_holds_a_smaller_one():
    whole = patches(20)
    nested = [photographs(whole.divide(share, seed=1)[0]) for share in (0.7, 0.8, 0.9)]
    assert nested[0] < nested[1] < nested[2]
    assert photographs(whole.divide(0.7, seed=2)[0]) != nested[0]


def test_a_split_without_names_is_divided_by_image():
    first, second = Split(np.zeros((10, 2, 2, 3), "uint8"), np.zeros(10)).divide(0.9, seed=0)
    assert (len(first), len(second)) == (9, 1)


def test_nothing_is_left_empty():
    with pytest.raises(InputError, match="2 photographs cannot be divided 90% to 10%"):
        patches(2).divide(0.9, seed=0)


def test_joined_keeps_rows_and_what_belongs_to_them():
    both = joined(patches(2), patches(3, first=2))
    assert len(both) == len(both.files) == len(both.labels) == 20
    assert list(both.images[:, 0, 0, 0]) == list(range(20))
    assert list(both.gray) == [1, 9]
