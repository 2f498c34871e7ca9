"""What turns one item of a plan into one image: files of photographs, records of CIFAR-10, patches of a photograph.

A reader is a small object that goes to the workers. Called with an item it returns uint8 (*shape, 3), or raises InputError with the
reason why there is no such image. Its `repr` leaves out `root`: where the source lies does not change the bytes.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from colorize_lib import preprocess
from colorize_lib.errors import InputError
from colorize_lib.images import decode


def _as_is(image, size):
    if image.shape[:2] != (size, size):
        raise InputError(f"it has {image.shape[1]} × {image.shape[0]} pixels instead of {size} × {size}")
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def _centre(image, size):
    # 256 of which 224 are cut out (George 2022), or the same proportion of another size
    return preprocess.resize_shorter_side(image, round(size * 256 / 224), crop=size)


GEOMETRIES = {
    "as-is": (_as_is, "pixels as stored, no resizing"),
    "imagemagick": (
        preprocess.resize_and_crop,
        "the convert command of Matos et al. 2020: Mitchell up, Lanczos down, centre crop",
    ),
    "square": (preprocess.square, "largest centred square, bicubic with antialiasing"),
    "centre": (_centre, "shorter side to 8/7 of the size, bilinear with antialiasing, centre crop"),
}


@dataclass(frozen=True)
class Photos:
    """Image files: the item is a path relative to `root`.

    `managed=False` keeps stored RGB values whatever the file's profile, as the papers' tools do.
    """

    root: Path = field(repr=False)
    size: int
    geometry: str
    managed: bool = False

    @property
    def shape(self):
        return self.size, self.size

    def __call__(self, item):
        _check_name(item)
        return GEOMETRIES[self.geometry][0](_decoded(self.root / item, self.managed), self.size)


def _check_name(name):
    """A row is named by one line of UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InputError("its name is not UTF-8; rename it") from error
    if name.splitlines() != [name]:
        raise InputError("its name holds a line break; rename it")


def _decoded(path, managed):
    try:
        return decode(path, managed)
    except OSError as error:
        raise InputError(f"it cannot be opened: {error.strerror or error}") from error


@dataclass(frozen=True)
class Records:
    """CIFAR-10's binary batches: the item is FILE:NUMBER; a record is the label's byte and 1024 bytes each of R, G and B."""

    root: Path = field(repr=False)
    shape = (32, 32)
    bytes = 1 + 3 * 32 * 32

    def __call__(self, item):
        file, number = item.split(":")
        with open(self.root / file, "rb") as records:
            records.seek(int(number) * self.bytes + 1)
            return np.frombuffer(records.read(self.bytes - 1), np.uint8).reshape(3, 32, 32).transpose(1, 2, 0)


@dataclass(frozen=True)
class Patches:
    """Squares of photographs, resized: the item is FILE#LEFT,TOP,SIDE in pixels of the upright photograph."""

    root: Path = field(repr=False)
    size: int

    @property
    def shape(self):
        return self.size, self.size

    def __call__(self, item):
        file, box = item.rsplit("#", 1)
        left, top, side = map(int, box.split(","))
        photo = _last_photo(self.root / file)
        return preprocess.square(photo[top : top + side, left : left + side], self.size)


@lru_cache(maxsize=1)  # patches of one photograph follow each other
def _last_photo(path):
    return _decoded(path, managed=True)
