"""The training of the bundled colorizer, `models.natural`: `make reproduce-natural PROFILE=paper`.

One network learns at increasing sizes from two kinds of photographs in equal parts: objects (Tiny ImageNet) and natural scenes.
Each size is one system of the run, `size64`, `size96`, …, which starts with the weights of the size before. Every image is a random
part of a photograph, mirrored half of the time. The loss is the rebalanced cross entropy over colour bins of Zhang, Isola and Efros
2016, section 2.2.

The quick profile does the same with the bundled photographs, a quarter of the filters, and a few steps. It shows that the training
works; its network is of no use.

`train` takes opened datasets; the command line opens them. In addition to the files of every run, the run folder holds

    natural/             the whole trained network: network.json, and best.weights.h5 with kernels in float16, which is bundled
    validation.csv       the numbers that `chosen_range` chooses from
    figures/photos.jpg   some bundled photographs: gray, careful, default, vivid, original
    figures/photographs.jpg   test photographs, if PHOTOS names a folder of them; their numbers are in metrics.json
"""

import functools
import hashlib
import itertools
import re
import tempfile
from pathlib import Path

import keras
import numpy as np
from keras import ops
from PIL import Image

from colorize_lib import color, files, models
from colorize_lib.color import bins, metrics
from colorize_lib.dataset import Split, joined
from colorize_lib.errors import InputError
from colorize_lib.evaluation import photographs as measure
from colorize_lib.evaluation import plots
from colorize_lib.images import decode
from colorize_lib.models.natural import STEP, classifier
from colorize_lib.reproduction import parameters, rescore
from colorize_lib.training import distribution, machine, runs
from colorize_lib.training.colorizer import describe
from colorize_lib.training.data import Batches, RandomResizedCrop

_QUICK = dict(dataset="photos", scenes=None, stages="32x1,64x1", epoch_images=256, validation_images=64)
_PAPER = dict(dataset="tiny-imagenet", scenes="scenes/seg_train", stages="64x24,96x6", epoch_images=20_480)
_BOTH = dict(learning_rate=2e-3, lam=0.5, dtype="auto", photos=None)
PROFILES = {
    "quick": _QUICK | dict(batch_size=32, width=0.25) | _BOTH,
    "paper": _PAPER | dict(validation_images=512, batch_size=64, width=1.0) | _BOTH,
}
PRIOR_IMAGES = 5000  # of each dataset: enough for the shares of 199 colours
CROP_AREA = (0.4, 1.0)  # of a photograph
# Each size starts at this share of the learning rate of the size before, and a cosine lowers the rate to a share of its start.
RATE_DECAY, LAST_RATE = 0.5, 0.02

# Pairs of the share of the rebalancing that decoding takes back, and the temperature.
GRID = tuple(itertools.product((0.0, 0.25, 0.5, 0.75, 1.0), (0.25, 0.38, 0.5, 0.6, 0.8, 1.0)))
VALIDATION_PHOTOGRAPHS, VALIDATION_SIDE = 100, 200  # of each dataset, at its own size; side of the bundled photographs
CAREFUL_CHROMA, VIVID_CHROMA, DEFAULT_DELTA_E = 0.3, 1.1, 1.0  # of `chosen_range`
# The test photographs: how many, their longer side in pixels, and their least mean chroma.
TEST_PHOTOGRAPHS, TEST_SIDE, TEST_CHROMA = 30, 400, 6.0
# Of a picture of results: photographs, and about how many of the bundled photographs.
SHEET_ROWS, SHEET_BUNDLED = 20, 6
SHEET_SIDES = {"photos": 150, "photographs": 100}  # shorter sides: the latter may be twice as wide


def resolve(assignments):
    """["PROFILE=paper", …] → the run's `Parameters`. Raises InputError for a wrong one."""
    return parameters.resolve(PROFILES, parameters.parse(assignments))


def stages(text):
    """ "64x6,96x1" → [(64, 6), (96, 1)], sizes in pixels and their epochs. Raises InputError for another form."""
    found = [re.fullmatch(r"(\d+)x(\d+)", part.strip()) for part in text.split(",")]
    pairs = [(int(match[1]), int(match[2])) for match in found if match]
    if len(pairs) < len(found) or any(size < STEP or size % STEP or not epochs for size, epochs in pairs):
        raise InputError(
            f"STAGES is {text!r}: it must be sizes and their epochs, such as 64x6,96x1, each size a multiple of {STEP}."
        )
    if len({size for size, _ in pairs}) < len(pairs):
        raise InputError(f"STAGES is {text!r}: each size may occur only once.")
    return pairs


class Mixture(Batches):
    """Batches of equal parts of several splits, whose images may differ in size; `transform` crops them to one size.

    Args:
        splits: list of `Split`.
        images: number of images in an epoch, rounded down to whole batches; (`seed`, epoch, batch) alone decides which.
        batch_size: images a batch.
        seed: of the draws and the crops.
        transform: as in `Batches`; must return images of one size.
    """

    def __init__(self, splits, images, batch_size, seed, transform):
        self.splits = splits
        super().__init__(splits[0], batch_size, seed, transform=transform, epoch_images=images)
        self.split = _Together(splits)

    def set_epoch(self, epoch):
        self.epoch = epoch

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
    """What a run records of several splits: the number of images, and their fingerprint."""

    def __init__(self, splits):
        self._splits = splits

    def __len__(self):
        return sum(map(len, self._splits))

    def fingerprint(self):
        return hashlib.sha256("".join(split.fingerprint() for split in self._splits).encode()).hexdigest()


def coloured(split):
    """The rows of a split that are not gray, as a view: they are read when they are asked for."""
    return Split(_Rows(split.images, np.setdiff1d(np.arange(len(split)), split.gray)), split.labels)


class _Rows:
    """Some rows of an array of images."""

    def __init__(self, images, rows):
        self._images, self._rows = images, rows
        self.shape = (len(rows), *images.shape[1:])

    def __len__(self):
        return len(self._rows)

    def __getitem__(self, chosen):
        return self._images[self._rows[chosen]]


def prior(splits, centres, seed):
    """Shares of the bins in equal parts of the splits, (Q,)."""
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
    """Train the network, or resume the training, with the parameters `settings`.

    Args:
        settings: as returned by `resolve`.
        datasets: name → `Dataset` with "train" and "validation"; each makes up an equal part.
        photographs: group → uint8 images (n, height, width, 3) for `decodings`, not among the training images.
        test: name → uint8 image, photographs to `score` the network on; None: none.
        others: name → `Colorizer`, scored on the same photographs.

    Returns:
        The finished `runs.Run`.

    Raises:
        InputError: as `runs.Run` and `runs.Run.fit`.
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
    networks = {size: complete(network, weights, settings.width, size) for size, _ in plan}
    size = chosen_size(networks, photographs["bundled"])
    whole = networks[size]
    save(whole, run.folder / "natural")
    table, found = chosen_range(whole, photographs)
    run.metrics["range"] = found | {"size": size}
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
    """Write a picture with one row a photograph: gray, every system's result, and the truth."""
    columns = {"gray": [measure.without_colour(image) for image in truths], **results, "truth": truths}
    columns = {title: images[:SHEET_ROWS] for title, images in columns.items()}
    run.figure(plots.image_grid(columns, side=SHEET_SIDES[name], across=False), name)


def _model(settings, size, former, centres, weights, rate):
    network = classifier(
        models.build("natural", size=size, width=settings.width, dtype=machine.dtype_policy(settings.dtype))
    )
    if former is not None:
        network.set_weights(former.get_weights())
    model = distribution.DistributionColorizer(network, "zhang", centres)
    model.compile(keras.optimizers.Adam(rate), loss=bins.BinCrossEntropy(centres, weights, "zhang"))
    return model


def complete(trained, weights, width, size):
    """The whole network, in float32, which sees photographs at `size`.

    Args:
        trained: the trained `classifier`.
        weights: (Q,), of the bins in the loss, which the layer "rebalancing" takes back.
        width: of the network.
        size: in pixels; the weights do not depend on it.
    """
    network = models.build("natural", size=size, width=width, dtype="float32")
    classifier(network).set_weights(trained.get_weights())
    network.get_layer("rebalancing").moving_mean.assign(np.log(weights))
    return network


def save(network, folder):
    """Write a `complete` network: `network.json`, and `best.weights.h5` with kernels in float16."""
    files.write_json(folder / "network.json", describe(distribution.VividColorizer(network)))
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "whole.weights.h5"
        network.save_weights(whole)
        rescore.halve_weights(whole, folder / "best.weights.h5")


def validation(settings, datasets, bundled):
    """Coloured photographs that are not among the training images: group → uint8 images (n, height, width, 3).

    Args:
        settings, datasets: as in `train`.
        bundled: `Dataset` of the bundled photographs; if they are trained on, only their validation and test splits are used.
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
    """The numbers of each decoding on photographs, at half of the network's input size.

    Args:
        network: as returned by `complete`.
        photographs: group → uint8 images (n, height, width, 3), such as `validation` returns.
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
            rgb = color.with_ab(true_lab[..., :1], ab)  # only colours that a screen can show
            found = measure.summary(measure.table(true_lab, color.rgb_to_lab(rgb)))
            rows.append({"group": group, "taken_back": taken_back, "temperature": temperature, **found})
    return pd.DataFrame(rows)


def chosen_size(networks, bundled):
    """The size at which photographs are seen: the one whose nearest decoding has the lowest ΔE2000 on the bundled photographs.

    Only these validation photographs are reductions of large ones, as the photographs of users are; the others are no larger than
    what the network sees.

    Args:
        networks: {size: network}, as returned by `complete`.
        bundled: uint8 images (n, height, width, 3).
    """
    return min(networks, key=lambda size: decodings(networks[size], {"bundled": bundled})["delta_e2000"].min())


def chosen_range(network, photographs, grid=GRID):
    """The range from careful to vivid, by a rule that was written down before the test photographs were looked at.

    All numbers are means over the groups of photographs, each of which counts the same.

    - careful: the decoding that is most often nearer to the truth than gray, among those with at least `CAREFUL_CHROMA` of the
      truth's chroma;
    - vivid: the decoding with the most chroma, among those with at most `VIVID_CHROMA` of the truth's;
    - default: of the tenths between both, the one with the lowest `hue_distance` among those whose ΔE2000 exceeds gray's by at
      most `DEFAULT_DELTA_E`; careful if there is none.

    Returns:
        The tables of `decodings` for the grid and for the tenths, joined, and a dictionary of "careful" and "vivid", pairs as in
        `grid`, and "default", from 0 to 1.
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
    """Coloured photographs of classes that are not in the training data, drawn with `seed`: name → uint8 image.

    Args:
        folder: folder of photographs whose names begin with their class and "_", as ImageNet's do.
        classes: classes of the training data, whose photographs may be among the training images.
        count: number of photographs; those with a mean chroma below `TEST_CHROMA` are left out.

    Raises:
        InputError: there is no such folder, it has fewer, or a file is not a photograph.
    """
    if not Path(folder).is_dir():
        raise InputError(
            f"There is no folder {folder}, here or in the data home: PHOTOS names a folder of photographs."
        )
    paths = sorted(
        path for path in Path(folder).glob("*_*") if path.is_file() and path.name.partition("_")[0] not in classes
    )
    found = {}
    for number in np.random.default_rng(seed).permutation(len(paths)):
        try:
            pixels = decode(paths[number])
        except InputError as error:
            raise InputError(f"Cannot read {paths[number]}: {error}.") from error
        image = Image.fromarray(pixels).convert("RGB")  # files without colour have one channel
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
    """The numbers of `photographs.summary` for gray and for `results`, name → images, next to the images `truths`."""
    gray = [measure.without_colour(image) for image in truths]
    return {
        name: measure.summary(measure.compare(truths, images)) for name, images in ({"gray": gray} | results).items()
    }


def edges(colorizer, truths):
    """Mean ΔE2000 near strong edges and of all pixels, with the guided enlargement of colour and without it."""
    found = {}
    for name, guided in (("guided", True), ("plain", False)):
        colorizer.guided = guided
        results = [colorizer.colorize(image) for image in truths]
        near = [measure.edge_delta_e2000(truth, result) for truth, result in zip(truths, results, strict=True)]
        everywhere = measure.compare(truths, results)["delta_e2000"]
        found[name] = {"near_edges": float(np.mean(near)), "everywhere": float(everywhere.mean())}
    colorizer.guided = type(colorizer).guided
    return found
