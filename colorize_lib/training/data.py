"""Batches of images for training."""

import math

import keras
import numpy as np

from colorize_lib.dataset import Split


class Batches(keras.utils.PyDataset):
    """Batches of a split for `fit`, `evaluate` and `predict`: uint8 RGB, and labels if asked for.

    The order of epoch `e` depends on (`seed`, `e`) alone, so that a resumed run sees the same batches as an uninterrupted one. The
    last, smaller batch is kept: no image is dropped.

    Args:
        split: `Split`, or uint8 RGB array (n, height, width, 3).
        batch_size: images a batch.
        seed: None keeps the order of the rows; a number shuffles them.
        labels: also yield the labels.
        transform: function (images, numpy Generator) → images, such as random crops; its randomness depends on
            (`seed`, epoch, batch).
        epoch_images: images in an epoch, which begins where the previous one ended in an endless sequence of passes over the
            split; None: one pass.
    """

    def __init__(self, split, batch_size, seed=None, labels=False, transform=None, epoch_images=None):
        super().__init__()
        self.split = split if isinstance(split, Split) else Split.from_arrays(split)
        self.batch_size, self.seed = batch_size, seed
        self.labels, self.transform, self.epoch_images = labels, transform, epoch_images
        self.multiple = 1  # batch sizes are rounded up to multiples of this, by repeating images: see `devices`
        self.set_epoch(0)

    def set_epoch(self, epoch):
        """Choose the order of `epoch`."""
        self.epoch = epoch
        count = len(self.split)
        start = epoch * self.images
        first, last = start // count, (start + self.images - 1) // count
        order = np.concatenate([self._pass(number) for number in range(first, last + 1)])
        self._order = order[start - first * count :][: self.images]

    def _pass(self, number):
        """All rows in the order of one pass over the split."""
        count = len(self.split)
        return np.arange(count) if self.seed is None else np.random.default_rng([self.seed, number]).permutation(count)

    @property
    def images(self):
        """Images of an epoch."""
        return self.epoch_images or len(self.split)

    def __len__(self):
        return -(-self.images // self.batch_size)

    def rows(self, index, multiple=1):
        """Row numbers of batch `index`, repeated from the first until their number is a multiple of `multiple`."""
        rows = np.sort(self._order[index * self.batch_size : (index + 1) * self.batch_size])
        return np.resize(rows, len(rows) + -len(rows) % multiple)

    def __getitem__(self, index):
        rows = self.rows(index, self.multiple)
        images = self.split.images[rows]
        if self.transform is not None:
            images = self.transform(images, np.random.default_rng([self.seed or 0, self.epoch, index]))
        return (images, self.split.labels[rows]) if self.labels else (images,)


def feed(batches):
    """`Batches` in the form that is fastest for Keras' `fit`, `evaluate` and `predict`; anything else is returned as it is.

    On TensorFlow this is a `tf.data.Dataset` that differs from Keras' own in two ways. It does without autotuning, whose thread
    sleeps for 10, 20, 40 … milliseconds between two looks at the pipeline: an epoch ends only when the thread wakes up, which
    lengthened about half of the timed epochs, one of them from 1.7 to 2.6 seconds. And it is not a `Dataset.from_generator`, with
    which, on Python 3.11, the process requests each larger piece of memory from the system again, for up to a tenth of a
    training step.
    """
    if keras.backend.backend() != "tensorflow" or not isinstance(batches, Batches):
        return batches
    import tensorflow as tf

    types, shapes = zip(*((part.dtype, (None, *part.shape[1:])) for part in batches[0]), strict=True)

    def batch(index):
        return tuple(map(tf.ensure_shape, tf.numpy_function(lambda i: batches[i], [index], types), shapes))

    options = tf.data.Options()
    options.autotune.enabled = False
    return tf.data.Dataset.range(len(batches)).map(batch).prefetch(2).with_options(options)


class RandomResizedCrop:
    """`transform` of `Batches`: a random part of each image, resized to `size` × `size` (George 2022 trains at 224).

    The part's share of the image's area is drawn from `area`, and its width over its height log-uniformly from `aspect`; after ten
    draws that do not fit, it is the largest square in the middle. Half of the parts are mirrored. The filter is bilinear with
    antialiasing. These are the rules and defaults of torchvision's transform, which the paper's code uses.
    """

    def __init__(self, size, area=(0.08, 1.0), aspect=(3 / 4, 4 / 3), flip=True):
        self.size, self.area, self.aspect, self.flip = size, area, aspect, flip

    def __call__(self, images, generator):
        """uint8 (n, h, w, 3), numpy Generator → uint8 (n, size, size, 3)."""
        from PIL import Image

        results = np.empty((len(images), self.size, self.size, 3), "uint8")
        for image, result in zip(images, results, strict=True):
            box = self._box(*image.shape[:2], generator)
            crop = Image.fromarray(image).resize((self.size, self.size), Image.Resampling.BILINEAR, box)
            result[:] = crop
            if self.flip and generator.random() < 0.5:
                result[:] = result[:, ::-1].copy()
        return results

    def _box(self, height, width, generator):
        low, high = map(math.log, self.aspect)
        for _ in range(10):
            area = height * width * generator.uniform(*self.area)
            aspect = math.exp(generator.uniform(low, high))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                left, top = generator.integers(width - w + 1), generator.integers(height - h + 1)
                break
        else:
            w = h = min(width, height)
            left, top = (width - w) // 2, (height - h) // 2
        return int(left), int(top), int(left) + w, int(top) + h
