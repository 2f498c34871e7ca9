import numpy as np
import pytest

from colorize_lib.dataset import Split, joined
from colorize_lib.errors import InputError


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
