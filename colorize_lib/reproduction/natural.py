"""The training of the bundled colorizer, `models.natural`: `make reproduce-natural PROFILE=paper`.

One network learns at growing sizes, from two kinds of photographs in equal parts: those of objects (Tiny ImageNet) and natural
scenes. Each size is one system of the run, `size64`, `size96`, …, which starts with the weights of the size before; every image
is a random part of a photograph, mirrored half of the time. The loss is the rebalanced cross entropy over the colour bins of
Zhang, Isola and Efros 2016, section 2.2.

The quick profile does the same with the bundled photographs, a fourth of the filters, and a few steps: it shows that the training
works, and its network is of no use.

`train` takes opened datasets; the command line opens them. Its run folder holds, next to what every run has,

    natural.weights.h5   the last size's best weights, kernels in float16: the file that is bundled
"""

import functools
import re

import h5py
import keras
import numpy as np
from PIL import Image

from colorize_lib import files, models
from colorize_lib.color import bins
from colorize_lib.dataset import Split, joined
from colorize_lib.errors import InputError
from colorize_lib.models.natural import STEP, classifier
from colorize_lib.reproduction import parameters
from colorize_lib.training import distribution, runs
from colorize_lib.training.data import Batches, RandomResizedCrop

PROFILES = {
    "quick": {
        "dataset": "photos",
        "scenes": None,
        "stages": "32x1,64x1",
        "epoch_images": 256,
        "validation_images": 64,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "lam": 0.5,
        "width": 0.25,
        "dtype": "auto",
    },
    "paper": {
        "dataset": "tiny-imagenet",
        "scenes": "scenes/seg_train",
        "stages": "64x9,96x4,128x2",
        "epoch_images": 20_480,
        "validation_images": 512,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "lam": 0.5,
        "width": 1.0,
        "dtype": "auto",
    },
}
PRIOR_IMAGES = 5000  # of each dataset: enough for the shares of 199 colours
CROP_AREA = (0.4, 1.0)  # of a photograph
# Each size starts at a lower rate than the one before, and ends at this share of its own by a cosine.
RATE_DECAY, LAST_RATE = 0.5, 0.02


def resolve(assignments):
    """["PROFILE=paper", …] → the run's `Parameters`. Raises InputError."""
    return parameters.resolve(PROFILES, parameters.parse(assignments))


def stages(text):
    """ "64x9,96x4" → [(64, 9), (96, 4)]: sizes in pixels and their epochs. Raises InputError."""
    found = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in text.split(",")]
    pairs = [(int(match[1]), int(match[2])) for match in found if match]
    if len(pairs) < len(found) or any(size < STEP or size % STEP or not epochs for size, epochs in pairs):
        raise InputError(
            f"STAGES is {text!r}: it must be sizes and their epochs, such as 64x9,96x4, each size a multiple of {STEP}."
        )
    if len({size for size, _ in pairs}) < len(pairs):
        raise InputError(f"STAGES is {text!r}: each size may stand there once.")
    return pairs


class Mixture(Batches):
    """Batches of equal parts of several splits, whose images may be of different sizes; each image is cropped to one size.

    An epoch has `images` images, drawn by (`seed`, epoch, batch) alone.

    Args:
        splits: of `colorize_lib.dataset`.
        images: of an epoch, rounded down to whole batches.
        batch_size: images a batch.
        seed: of the draws and the crops.
        transform: as in `Batches`; must give all images one size.
    """

    def __init__(self, splits, images, batch_size, seed, transform):
        self.splits, self.images = splits, images
        super().__init__(splits[0], batch_size, seed, transform=transform)

    def __len__(self):
        return max(1, self.images // self.batch_size)

    def __getitem__(self, index):
        generator = np.random.default_rng([self.seed, self.epoch, index])
        count = self.batch_size + -self.batch_size % self.multiple
        parts = np.array_split(np.arange(count), len(self.splits))
        rows = [
            np.sort(generator.integers(len(split), size=len(part)))
            for split, part in zip(self.splits, parts, strict=True)
        ]
        images = [
            self.transform(split.images[chosen], generator) for split, chosen in zip(self.splits, rows, strict=True)
        ]
        return (np.concatenate(images),)


def coloured(split):
    """The split's rows that are not gray, as a view: `Split` whose `images` are an `_Rows`."""
    return Split(_Rows(split.images, np.setdiff1d(np.arange(len(split)), split.gray)), split.labels)


class _Rows:
    """Some rows of an array of images, read when they are asked for."""

    def __init__(self, images, rows):
        self._images, self._rows = images, rows

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, chosen):
        return self._images[self._rows[chosen]]


def prior(splits, centres, seed):
    """Shares of the bins in a mixture of equal parts of the splits, (Q,)."""
    generator = np.random.default_rng(seed)
    shares = []
    for split in splits:
        rows = generator.choice(len(split), min(PRIOR_IMAGES, len(split)), replace=False)
        shares.append(bins.color_prior(split.images[np.sort(rows)], centres))
    return np.mean(shares, axis=0)


def at_size(split, size, count, seed):
    """`count` images of a split, drawn with `seed`, resized to `size` × `size`."""
    chosen = coloured(split)
    rows = np.sort(np.random.default_rng(seed).choice(len(chosen), min(count, len(chosen)), replace=False))
    images = [
        np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS))
        for image in chosen.images[rows]
    ]
    return Split(np.stack(images), np.zeros(len(images), "int32"))


def train(settings, datasets):
    """Train the network of the run that `settings` describe, or resume it.

    Args:
        settings: from `resolve`.
        datasets: name → `Dataset` with "train" and "validation"; all take an equal part.

    Returns:
        The `runs.Run`, finished.

    Raises:
        InputError: of `runs`.
    """
    plan = stages(settings.stages)
    run = runs.start("natural", settings, **datasets)
    splits = [coloured(dataset["train"]) for dataset in datasets.values()]
    centres = bins.common_bins()
    weights = bins.rebalancing_weights(prior(splits, centres, settings.seed), centres, settings.lam)
    network, seen = None, 0
    for number, (size, epochs) in enumerate(plan):
        batches = Mixture(
            splits, settings.epoch_images, settings.batch_size, settings.seed, RandomResizedCrop(size, CROP_AREA)
        )
        validation = [
            at_size(dataset["validation"], size, settings.validation_images, settings.seed)
            for dataset in datasets.values()
        ]
        rate = keras.optimizers.schedules.CosineDecay(
            settings.learning_rate * RATE_DECAY**number, epochs * len(batches), alpha=LAST_RATE
        )
        make = functools.partial(_model, settings, size, network, centres, weights, rate)
        model, history = run.fit(
            f"size{size}", make, batches, Batches(joined(*validation), settings.batch_size), epochs=epochs
        )
        network = model.network
        seen += epochs * len(batches) * settings.batch_size
        run.metrics[f"size{size}"] = {"images": seen, "val_loss": min(row["val_loss"] for row in history)}
    save(network, weights, plan[-1][0], settings.width, run.folder / "natural.weights.h5")
    run.finish()
    return run


def _model(settings, size, former, centres, weights, rate):
    network = classifier(
        models.build("natural", size=size, width=settings.width, dtype=runs.dtype_policy(settings.dtype))
    )
    if former is not None:
        network.set_weights(former.get_weights())
    return distribution.compiled(network, "zhang", centres, weights, learning_rate=rate)


def save(trained, weights, size, width, path):
    """Write the weights of the whole network, kernels in float16, atomically.

    Args:
        trained: what `classifier` gave, trained.
        weights: (Q,) of the bins in the loss, which the layer "rebalancing" takes back.
        size, width: of the network.
        path: ends with .weights.h5.
    """
    network = models.build("natural", size=size, width=width, dtype="float32")
    classifier(network).set_weights(trained.get_weights())
    rebalancing = network.get_layer("rebalancing")
    rebalancing.adapt_mean.assign(np.log(weights))
    rebalancing.finalize_state()
    with files.atomic(path) as partial:
        network.save_weights(partial)
        with h5py.File(partial, "r+") as file:
            kernels = []
            file.visititems(lambda name, item: kernels.append(name) if getattr(item, "ndim", 0) == 4 else None)
            for name in kernels:
                values = file[name][()].astype("float16")
                del file[name]
                file[name] = values
