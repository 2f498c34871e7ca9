"""Datasets: splits of images, as `data_prep` opens them and training uses them.

Images are uint8 RGB, (n, height, width, 3), in memory or memory-mapped.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from colorize_lib.errors import InputError


@dataclass(frozen=True)
class Photograph:
    """A picture to be shown: its `name` in a collection, `title`, `credit`, and the `content` of its JPEG or PNG file."""

    name: str
    title: str
    credit: str
    content: bytes


class Images:
    """The images of a split in several files, with `len`, `shape`, and indexing by a slice or an array of row numbers.

    Indexing reads only the requested rows from disk and returns them as a uint8 array (rows, height, width, 3).
    """

    def __init__(self, shards):
        self._shards = shards
        self._starts = np.cumsum([0] + [len(shard) for shard in shards])
        self.shape = (int(self._starts[-1]), *shards[0].shape[1:])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        rows = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows)
        if len(self._shards) == 1:
            return np.asarray(self._shards[0][rows])
        result = np.empty((*rows.shape, *self.shape[1:]), "uint8")
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owner):
            chosen = owner == number
            result[chosen] = self._shards[number][rows[chosen] - self._starts[number]]
        return result


@dataclass
class Split:
    """One split: `images` (uint8 (n, h, w, 3), array or `Images`), `labels` (int32 (n,)), `files` (n names), and `gray` rows.

    A notebook shows it as one line.
    """

    images: object
    labels: np.ndarray
    files: list = field(default_factory=list)
    gray: np.ndarray = field(default_factory=lambda: np.array([], int))

    @classmethod
    def from_arrays(cls, images, labels=None):
        """A split of an array (n, height, width, 3) of uint8 RGB, and of the whole numbers of its images' classes, (n,).

        Without labels, all are -1. Raises InputError for another type or shape.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
            raise InputError(
                f"An array of {images.dtype} and shape {images.shape} is not a set of images: give uint8 RGB, "
                "(images, height, width, 3)."
            )
        labels = np.full(len(images), -1) if labels is None else np.asarray(labels)
        if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
            raise InputError(
                f"Labels of {labels.dtype} and shape {labels.shape} do not belong to {len(images):,} images: give a whole number "
                "for each."
            )
        return cls(
            images,
            labels.astype("int32"),
            gray=np.flatnonzero([np.ptp(image, axis=-1).max() == 0 for image in images]),
        )

    def __len__(self):
        return len(self.images)

    def __repr__(self):
        return f"{len(self):,} images of {self.images.shape[1]}×{self.images.shape[2]}, {len(self.gray)} without colour"

    def fingerprint(self):
        """SHA-256 of the split's shapes, file names, labels, and at most 256 of its images, evenly spread."""
        some = np.linspace(0, len(self) - 1, min(len(self), 256)).astype(int)
        labels = self.labels if len(self.labels.shape) == 1 else self.labels[some]  # labels can be images, too
        digest = hashlib.sha256(repr((tuple(self.images.shape), tuple(self.labels.shape), self.files)).encode())
        for part in (self.images[some], labels):
            digest.update(np.ascontiguousarray(part))
        return digest.hexdigest()

    def take(self, rows):
        """A split of only these rows, read into memory."""
        rows = np.asarray(rows)
        return Split(
            self.images[rows],
            self.labels[rows],
            [self.files[row] for row in rows] if self.files else [],
            np.flatnonzero(np.isin(rows, self.gray)),
        )

    def divide(self, share, seed):
        """Divide into two splits: `share` of the photographs, drawn with `seed`, and the others.

        Patches of one photograph (FILE#LEFT,TOP,SIDE) stay together. With the same seed, a larger share contains a smaller one.
        Raises InputError if one of the two would be empty.
        """
        sources = [file.partition("#")[0] for file in self.files] or range(len(self))
        _, source = np.unique(sources, return_inverse=True)
        photographs = source.max() + 1
        count = round(share * photographs)
        if not 0 < count < photographs:
            raise InputError(f"{photographs} photographs cannot be divided {share:.0%} to {1 - share:.0%}: take more.")
        chosen = np.isin(source, np.random.default_rng(seed).permutation(photographs)[:count])
        return self.take(np.flatnonzero(chosen)), self.take(np.flatnonzero(~chosen))

    def limit(self, count, seed):
        """`count` rows drawn with `seed`, in their order; the split itself if it has no more, or if `count` is None."""
        if count is None or count >= len(self):
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))


def joined(*splits):
    """Join several splits to one, read into memory."""
    starts = np.cumsum([0] + [len(split) for split in splits])
    return Split(
        np.concatenate([split.images[:] for split in splits]),
        np.concatenate([split.labels for split in splits]),
        [file for split in splits for file in split.files],
        np.concatenate([split.gray + start for split, start in zip(splits, starts[:-1], strict=True)]),
    )


@dataclass
class Dataset:
    """A prepared dataset: `splits` by name ("train", "validation", "test"), `classes`, `manifest`, and its `folder`."""

    splits: dict
    classes: list
    manifest: dict
    folder: Path | None = None

    @property
    def fingerprint(self):
        """SHA-256 of all images and labels."""
        return self.manifest["fingerprint"]

    def __getitem__(self, split):
        return self.splits[split]

    def __repr__(self):
        lines = [f"{name:<12}{split!r}" for name, split in self.splits.items()]
        classes = [f"{len(self.classes)} classes"] if self.classes else []
        return "\n".join([self.manifest.get("name", "dataset"), *lines, *classes])

    def require(self, classes=1, **least):
        """Raise `InputError` unless the dataset has enough images for training and scoring.

        Args:
            classes: smallest number of classes among the training images.
            least: smallest number of images in colour by split, such as train=16, validation=2, test=4.
        """
        name = self.manifest.get("name", "given")
        for split, count in least.items():
            found = self.splits.get(split, ())
            colour = len(found) - len(found.gray) if len(found) else 0
            if colour < count:
                raise InputError(
                    f"{colour} of the {len(found)} images in the split {split!r} of the dataset {name!r} are in colour, and at "
                    f"least {count} must be: choose a folder with more photographs in colour."
                )
        shown = len(np.unique(self["train"].labels[self["train"].labels >= 0])) if "train" in self.splits else 0
        if classes > 1 and shown < classes:
            raise InputError(
                f"The dataset {name!r} has training images of {shown} classes, and {classes} are needed: choose a folder whose "
                "subfolders are classes, or a system that needs none."
            )
