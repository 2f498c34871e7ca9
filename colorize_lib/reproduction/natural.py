"""The training of the bundled colorizer, `models.natural`: `make reproduce-natural PROFILE=paper`.

One network learns at growing sizes, from two kinds of photographs in equal parts: those of objects (Tiny ImageNet) and natural
scenes. Each size is one system of the run, `size64`, `size96`, …, which starts with the weights of the size before; every image
is a random part of a photograph, mirrored half of the time. The loss is the rebalanced cross entropy over the colour bins of
Zhang, Isola and Efros 2016, section 2.2.

The quick profile does the same with the bundled photographs, a fourth of the filters, and a few steps: it shows that the training
works, and its network is of no use.

`train` takes opened datasets; the command line opens them. Its run folder holds, next to what every run has,

    natural/             the trained network as a system of its own: network.json, and best.weights.h5 with kernels in float16,
                         the file that is bundled
    validation.csv       what each decoding makes of validation photographs: `chosen_range`
    figures/photos.jpg   some bundled photographs in gray, careful, default, vivid, and as they are
    figures/photographs.jpg   test photographs, where PHOTOS names a folder of them; their numbers are in metrics.json
"""

import functools
import hashlib
import itertools
import re
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import ops
from PIL import Image, ImageDraw

from colorize_lib import color, files, models
from colorize_lib.color import bins, metrics
from colorize_lib.dataset import Split, joined
from colorize_lib.errors import InputError
from colorize_lib.evaluation import photographs as measure
from colorize_lib.images import decode, save_jpeg
from colorize_lib.models.natural import STEP, classifier
from colorize_lib.reproduction import parameters
from colorize_lib.training import distribution, machine, runs
from colorize_lib.training.colorizer import describe
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
        "photos": None,
    },
    "paper": {
        "dataset": "tiny-imagenet",
        "scenes": "scenes/seg_train",
        "stages": "64x6,96x1",
        "epoch_images": 20_480,
        "validation_images": 512,
        "batch_size": 64,
        "learning_rate": 2e-3,
        "lam": 0.5,
        "width": 1.0,
        "dtype": "auto",
        "photos": None,
    },
}
PRIOR_IMAGES = 5000  # of each dataset: enough for the shares of 199 colours
CROP_AREA = (0.4, 1.0)  # of a photograph
# Each size starts at a lower rate than the one before, and ends at this share of its own by a cosine.
RATE_DECAY, LAST_RATE = 0.5, 0.02

# Share of the rebalancing that decoding takes back, and temperature.
GRID = tuple(itertools.product((0.0, 0.25, 0.5, 0.75, 1.0), (0.38, 0.6)))
VALIDATION_PHOTOGRAPHS, VALIDATION_SIDE = 100, 200  # of each dataset, at its own size; side of the bundled photographs
CAREFUL_CHROMA, VIVID_CHROMA, DEFAULT_DELTA_E = 0.3, 1.1, 1.0  # of `chosen_range`
# The test photographs: how many, their longer side in pixels, and their least mean chroma.
TEST_PHOTOGRAPHS, TEST_SIDE, TEST_CHROMA = 30, 400, 6.0
# Of a contact sheet: photographs, pixels of their longer side, and about how many of the bundled photographs.
SHEET_ROWS, SHEET_SIDE, SHEET_BUNDLED = 20, 150, 6


def resolve(assignments):
    """["PROFILE=paper", …] → the run's `Parameters`. Raises InputError."""
    return parameters.resolve(PROFILES, parameters.parse(assignments))


def stages(text):
    """ "64x6,96x1" → [(64, 6), (96, 1)]: sizes in pixels and their epochs. Raises InputError."""
    found = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in text.split(",")]
    pairs = [(int(match[1]), int(match[2])) for match in found if match]
    if len(pairs) < len(found) or any(size < STEP or size % STEP or not epochs for size, epochs in pairs):
        raise InputError(
            f"STAGES is {text!r}: it must be sizes and their epochs, such as 64x6,96x1, each size a multiple of {STEP}."
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
        self.split = _Together(splits)

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


class _Together:
    """What a run records of several splits: how many images, and which."""

    def __init__(self, splits):
        self._splits = splits

    def __len__(self):
        return sum(map(len, self._splits))

    def fingerprint(self):
        return hashlib.sha256("".join(split.fingerprint() for split in self._splits).encode()).hexdigest()


def coloured(split):
    """The split's rows that are not gray, as a view: `Split` whose `images` are an `_Rows`."""
    return Split(_Rows(split.images, np.setdiff1d(np.arange(len(split)), split.gray)), split.labels)


class _Rows:
    """Some rows of an array of images, read when they are asked for."""

    def __init__(self, images, rows):
        self._images, self._rows = images, rows
        self.shape = (len(rows), *images.shape[1:])

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


def train(settings, datasets, photographs, test=None, others=None):
    """Train the network of the run that `settings` describe, or resume it.

    Args:
        settings: from `resolve`.
        datasets: name → `Dataset` with "train" and "validation"; all take an equal part.
        photographs: group → uint8 images (n, height, width, 3), not trained on, for `decodings`.
        test: photographs to `score` the network on, name → uint8 image; None: none.
        others: name → `Colorizer` to score next to it.

    Returns:
        The `runs.Run`, finished.

    Raises:
        InputError: of `runs`.
    """
    plan = stages(settings.stages)
    run = runs.Run("natural", settings, **datasets)
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
    whole = save(network, weights, settings.width, run.folder / "natural")
    table, found = chosen_range(whole, photographs)
    run.metrics["range"] = found
    with files.atomic(run.folder / "validation.csv") as path:
        table.to_csv(path, index=False, float_format="%.4f")
    colorizer = distribution.VividColorizer(whole, found["default"], (found["careful"], found["vivid"]))
    ends = {"careful": colorizer.at(0), "default": colorizer, "vivid": colorizer.at(1)}
    shown = photographs["bundled"][:: max(1, len(photographs["bundled"]) // SHEET_BUNDLED)]
    _write_sheet(run, "photos", shown, {name: [each.colorize(image) for image in shown] for name, each in ends.items()})
    if test:
        results = {
            name: [each.colorize(image) for image in test.values()] for name, each in ((others or {}) | ends).items()
        }
        run.metrics["test"] = score(list(test.values()), results) | {"edges": edges(colorizer, test.values())}
        _write_sheet(run, "photographs", list(test.values()), results)
    run.finish()
    return run


def _write_sheet(run, name, truths, results):
    with files.atomic(run.folder / "figures" / f"{name}.jpg") as path:
        save_jpeg(contact_sheet(truths, results), path, 88)


def _model(settings, size, former, centres, weights, rate):
    network = classifier(
        models.build("natural", size=size, width=settings.width, dtype=machine.dtype_policy(settings.dtype))
    )
    if former is not None:
        network.set_weights(former.get_weights())
    model = distribution.DistributionColorizer(network, "zhang", centres)
    model.compile(keras.optimizers.Adam(rate), loss=bins.BinCrossEntropy(centres, weights, "zhang"))
    return model


def save(trained, weights, width, folder):
    """Write the whole network as a system of the run: `network.json`, and `best.weights.h5` with kernels in float16.

    It sees photographs at the builder's own size, whatever the sizes of the training: the weights are the same.

    Args:
        trained: what `classifier` gave, trained.
        weights: (Q,) of the bins in the loss, which the layer "rebalancing" takes back.
        width: of the network.
        folder: where.

    Returns:
        The network, in float32.
    """
    network = models.build("natural", width=width, dtype="float32")
    classifier(network).set_weights(trained.get_weights())
    network.get_layer("rebalancing").moving_mean.assign(np.log(weights))
    colorizer = distribution.VividColorizer(network)
    files.write_json(folder / "network.json", describe(colorizer))
    with files.atomic(folder / "best.weights.h5") as path:
        network.save_weights(path)
        _halve(path)
    return network


def _halve(path):
    """Rewrite a file of weights with its kernels, the arrays of four dimensions, in float16."""
    halved = path.with_name(f"half-{path.name}")

    def copy(name, item):
        if isinstance(item, h5py.Group):
            group = target.require_group(name)
        else:
            group = target.create_dataset(name, data=item[()].astype("float16") if item.ndim == 4 else item[()])
        group.attrs.update(item.attrs)

    with h5py.File(path) as source, h5py.File(halved, "w") as target:
        target.attrs.update(source.attrs)
        source.visititems(copy)
    halved.replace(path)


def validation(settings, datasets, bundled):
    """Coloured photographs that were not trained on: group → uint8 images (n, height, width, 3), for `decodings`.

    Args:
        settings, datasets: of `train`.
        bundled: the bundled photographs, whole; where the training takes these, only their validation and test splits.
    """
    groups = {}
    for name, dataset in datasets.items():
        chosen = coloured(dataset["validation"])
        count = min(VALIDATION_PHOTOGRAPHS, len(chosen))
        rows = np.random.default_rng(settings.seed).choice(len(chosen), count, replace=False)
        groups[name] = chosen.images[np.sort(rows)]
    splits = ("validation", "test") if settings.dataset == "photos" else tuple(bundled.splits)
    return groups | {"bundled": np.concatenate([bundled[split].images[:] for split in splits])}


def decodings(network, photographs, grid=GRID):
    """What each decoding makes of photographs, at half of the network's size: what its range from careful to vivid is chosen from.

    Args:
        network: as `save` returns it.
        photographs: group → uint8 images (n, height, width, 3), such as those of each validation set.
        grid: pairs of the share of the rebalancing that is taken back, and the temperature.

    Returns:
        pandas DataFrame: group, taken_back, temperature, and the numbers of `photographs.summary`.
    """
    import pandas as pd

    colorizer, rows = distribution.VividColorizer(network), []
    for group, images in photographs.items():
        seen = np.concatenate([colorizer.resized(image) for image in images])
        true_lab = color.rgb_to_lab(seen[:, ::2, ::2])
        logits = np.concatenate(
            [ops.convert_to_numpy(colorizer.distribution(seen[i : i + 16])[0]) for i in range(0, len(seen), 16)]
        )
        for taken_back, temperature in grid:
            decoding = distribution.Rebalanced(colorizer.decode.log_weights, taken_back, temperature)
            ab = decoding(logits, None, colorizer.centres)
            ab = ops.image.resize(ab, true_lab.shape[1:3], interpolation="bilinear")
            rgb = color.lab_to_rgb(ops.concatenate([true_lab[..., :1], ab], axis=-1))  # what a screen can show
            found = measure.summary(measure.table(true_lab, color.rgb_to_lab(rgb)))
            rows.append({"group": group, "taken_back": taken_back, "temperature": temperature, **found})
    return pd.DataFrame(rows)


def chosen_range(network, photographs, grid=GRID):
    """The range from careful to vivid, by a rule that was written down before a test photograph was looked at.

    All numbers are means over the groups of photographs, of which each counts the same.

    - careful: of the decodings with at least `CAREFUL_CHROMA` of the truth's chroma, the one that is most often nearer to the
      truth than gray;
    - vivid: of those with at most `VIVID_CHROMA` of it, the one with the most;
    - default: of the tenths between both, the one with the lowest distance among those whose ΔE2000 is at most that of gray and
      `DEFAULT_DELTA_E`; careful if there is none.

    Returns:
        The tables of `decodings` for the grid and for the tenths, joined, and the dictionary of "careful" and "vivid", both
        (taken back, temperature), and "default", from 0 to 1.
    """
    import pandas as pd

    table = decodings(network, photographs, grid)
    means = table.groupby(["taken_back", "temperature"]).mean(numeric_only=True)
    coloured_enough = means[means["chroma_share"] >= CAREFUL_CHROMA]
    careful = (means if coloured_enough.empty else coloured_enough)["nearer_than_gray"].idxmax()
    pale_enough = means[means["chroma_share"] <= VIVID_CHROMA]
    vivid = (means if pale_enough.empty else pale_enough)["chroma_share"].idxmax()
    tenths = [i / 10 for i in range(11)]
    line = [tuple((1 - v) * low + v * high for low, high in zip(careful, vivid, strict=True)) for v in tenths]
    between = decodings(network, photographs, line).assign(vivid=tenths * len(photographs))
    along = between.groupby("vivid").mean(numeric_only=True)
    allowed = along[along["delta_e2000"] <= along["gray_delta_e2000"] + DEFAULT_DELTA_E]
    default = float(allowed["hue_distance"].idxmin()) if len(allowed) else 0.0
    found = {"careful": list(map(float, careful)), "vivid": list(map(float, vivid)), "default": default}
    return pd.concat([table, between], ignore_index=True), found


def unseen(folder, classes, count=TEST_PHOTOGRAPHS, seed=0):
    """Coloured photographs of classes that training never saw, drawn with `seed`: name → uint8 image.

    Args:
        folder: of photographs whose names begin with their class and "_", as ImageNet's do.
        classes: those of the training data, whose photographs may be among the training images.
        count: how many; those of a mean chroma below `TEST_CHROMA` are passed over.

    Raises:
        InputError: there are fewer.
    """
    paths = sorted(path for path in Path(folder).glob("*_*") if path.name.partition("_")[0] not in classes)
    found = {}
    for number in np.random.default_rng(seed).permutation(len(paths)):
        image = Image.fromarray(decode(paths[number]))
        image.thumbnail((TEST_SIDE, TEST_SIDE), Image.Resampling.LANCZOS)
        image = np.asarray(image)
        if float(metrics.chroma(color.rgb_to_lab(image[None]))[0]) >= TEST_CHROMA:
            found[paths[number].name] = image
        if len(found) == count:
            return found
    raise InputError(
        f"{folder} holds {len(found)} coloured photographs of classes that the training data does not have, fewer than {count}: "
        "name a folder of photographs called CLASS_NAME, such as ImageNet's."
    )


def score(truths, results):
    """The numbers of `photographs.summary` for gray, and for each system's `results`, name → images; truths: images."""
    gray = [measure.without_colour(image) for image in truths]
    return {
        name: measure.summary(measure.compare(truths, images)) for name, images in ({"gray": gray} | results).items()
    }


def edges(colorizer, truths):
    """Mean ΔE2000 near strong edges, and of all pixels, with colour enlarged along the edges of lightness and without."""
    found = {}
    for name, guided in (("guided", True), ("plain", False)):
        colorizer.guided = guided
        results = [colorizer.colorize(image) for image in truths]
        near = [measure.edge_delta_e2000(truth, result) for truth, result in zip(truths, results, strict=True)]
        everywhere = measure.compare(truths, results)["delta_e2000"]
        found[name] = {"near_edges": float(np.mean(near)), "everywhere": float(everywhere.mean())}
    colorizer.guided = type(colorizer).guided
    return found


def contact_sheet(truths, results):
    """The first `SHEET_ROWS` photographs as one `PIL.Image.Image`: a row each of gray, every system's result, and the truth."""
    columns = {"gray": [measure.without_colour(image) for image in truths], **results, "truth": truths}
    side, gap, head = SHEET_SIDE, 4, 16
    small = {}
    for name, images in columns.items():
        small[name] = [Image.fromarray(image) for image in images[:SHEET_ROWS]]
        for image in small[name]:
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
    heights = [image.height + gap for image in small["truth"]]
    sheet = Image.new("RGB", (len(columns) * (side + gap) + gap, head + sum(heights) + gap), "white")
    for number, (name, images) in enumerate(small.items()):
        left, top = gap + number * (side + gap), head + gap
        ImageDraw.Draw(sheet).text((left, 2), name, fill="black")
        for image, height in zip(images, heights, strict=True):
            sheet.paste(image, (left, top))
            top += height
    return sheet
