"""What is in the source folders: list the images of each dataset, check their counts, split them as the papers do.

Every function takes (home, size, options) and returns a `Plan`. Rows of every split are in the order of their source files: of the
path as text, or, for CIFAR-10, of the batches. Nothing is decoded here except CIFAR-10's pixels, whose hues make one of its splits.
"""

import csv
from pathlib import Path

import numpy as np

from colorize_lib import files
from colorize_lib.errors import InputError
from colorize_lib.images import READABLE
from data_prep.arrays import Plan, Rows
from data_prep.readers import GEOMETRIES, Patches, Photos, Records

PHOTOS = Path(__file__).parent / "photos"


def images_below(root):
    """Image files below `root` as POSIX paths relative to it, sorted as text; hidden files and folders are left out."""
    found = []
    for folder, folders, names in files.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = "" if folder == str(root) else Path(folder).relative_to(root).as_posix() + "/"
        found += [prefix + name for name in names if name.lower().endswith(READABLE) and not name.startswith(".")]
    return sorted(found)


def _expect(count, expected, what, folder):
    if count != expected:
        raise InputError(
            f"{folder} has {count:,} {what} instead of {expected:,}: it is not a complete copy; delete or replace it, and run the "
            "same command again."
        )


def tiny_imagenet(home, size, options):
    """Tiny ImageNet 200: the given splits; labels are indices of the sorted WordNet ids, -1 for the test images."""
    root = home / "tiny-imagenet-200"
    found = images_below(root)
    train = [file for file in found if file.startswith("train/")]
    classes = sorted({file.split("/")[1] for file in train})
    validation = [file for file in found if file.startswith("val/images/")]
    test = [file for file in found if file.startswith("test/images/")]
    _expect(len(train), 100_000, "training images", root)
    _expect(len(classes), 200, "classes", root)
    _expect(len(validation), 10_000, "validation images", root)
    _expect(len(test), 10_000, "test images", root)
    index = {name: number for number, name in enumerate(classes)}
    annotations = root / "val" / "val_annotations.txt"
    try:
        lines = annotations.read_text(encoding="utf-8").splitlines()
        names = dict(line.split("\t")[:2] for line in lines)
        validation_labels = [index[names[file.rsplit("/", 1)[1]]] for file in validation]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{annotations} does not name a class for every image: replace it by the archive's."
        ) from error
    reader = Photos(root, size, "as-is" if size == 64 else "square")
    splits = {
        "train": Rows(train, [index[file.split("/")[1]] for file in train], reader),
        "validation": Rows(validation, validation_labels, reader),
        "test": Rows(test, [-1] * len(test), reader),
    }
    return Plan("tiny-imagenet", size, classes, splits, _notes(root, reader))


CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
CIFAR10_BATCH = 10_000  # images a file
_BATCHES = [f"data_batch_{number}.bin" for number in range(1, 6)]


def cifar10(home, size, options):
    """CIFAR-10 (Galvão et al. 2019): a tenth of the training images for validation, by chance or spread over the mean hue.

    The naive split repeats the paper's code: the first tenth of NumPy's legacy permutation with seed 26. The hue split sorts by
    mean hue, leaves out what `drop_gray` says, and takes every tenth, from the first on, to validation.
    """
    root = home / "cifar-10-batches-bin"
    reader = Records(root)
    for file in (*_BATCHES, "test_batch.bin"):
        path = root / file
        _expect(path.stat().st_size if path.exists() else 0, CIFAR10_BATCH * reader.bytes, "bytes", path)
    items, labels, pixels = [], [], []
    for file in _BATCHES:
        records = np.fromfile(root / file, np.uint8).reshape(-1, reader.bytes)
        items += [f"{file}:{number}" for number in range(len(records))]
        labels += records[:, 0].tolist()
        pixels.append(records[:, 1:])
    pixels = np.concatenate(pixels).reshape(-1, 3, 32 * 32)
    rows, hue = np.arange(len(items)), None
    if options["split"] == "hue" or options["drop_gray"] == "code":
        hue = mean_hue(pixels)
        rows = np.argsort(hue, kind="stable")
    if options["drop_gray"] == "code":
        rows = rows[DROPPED_BY_CODE:]
    if options["drop_gray"] == "gray":
        rows = rows[~(pixels == pixels[:, :1]).all((1, 2))[rows]]
    if options["split"] == "hue":
        held = rows[:: round(1 / options["validation"])] if options["validation"] else rows[:0]
    else:
        rows = np.sort(rows)
        order = np.random.RandomState(options["seed"]).permutation(len(rows))
        held = rows[order[: round(options["validation"] * len(rows))]]
    held, train, kept = np.sort(held), np.setdiff1d(rows, held), set(rows.tolist())
    test = np.fromfile(root / "test_batch.bin", np.uint8).reshape(-1, reader.bytes)
    splits = {
        "train": Rows([items[row] for row in train], [labels[row] for row in train], reader),
        "validation": Rows([items[row] for row in held], [labels[row] for row in held], reader),
        "test": Rows([f"test_batch.bin:{number}" for number in range(len(test))], test[:, 0].tolist(), reader),
    }
    dropped = [item for row, item in enumerate(items) if row not in kept]
    notes = {"source": str(root), "geometry": GEOMETRIES["as-is"][1], "dropped": dropped}
    return Plan("cifar10", 32, CIFAR10_CLASSES, splits, notes)


def samples(dataset, count):
    """The first `count` images of each split, in the order in which the released code of Galvão et al. scores them.

    The code shuffles before it divides, and its Table 1 is about the first 5,000 images of each split, of which the last part
    batch of 128 is dropped: 4,992. Of another dataset, or of the hue split, these are the first rows.

    Args:
        dataset: `Dataset`, as `load("cifar10")` opens it.
        count: images of each split, at most.

    Returns:
        {name of the split: `Split` in memory}.
    """
    order = {name: np.arange(len(split)) for name, split in dataset.splits.items()}
    options = dataset.manifest.get("options", {})
    if dataset.manifest["name"] == "cifar10" and options["split"] == "naive" and not dataset.manifest.get("limit"):
        place = {file: row for name in ("train", "validation") for row, file in enumerate(dataset[name].files)}
        in_batches = sorted(place, key=lambda file: (file.partition(":")[0], int(file.partition(":")[2])))
        shuffled = np.random.RandomState(options["seed"]).permutation(len(in_batches))
        held = len(dataset["validation"])
        for name, rows in (("validation", shuffled[:held]), ("train", shuffled[held:])):
            order[name] = np.array([place[in_batches[row]] for row in rows])
    return {name: dataset[name].take(rows[:count]) for name, rows in order.items()}


DROPPED_BY_CODE = 582  # of lowest mean hue: the 562 gray images, and 20 of few coloured pixels or red ones


def mean_hue(pixels):
    """Mean HSV hue, in [0, 1), of each image; gray pixels count as 0, as in scikit-image. uint8 (n, 3, pixels) → float64 (n,)."""
    from skimage.color import rgb2hsv

    return np.concatenate(
        [rgb2hsv(np.moveaxis(part, 1, 2))[..., 0].mean(axis=1) for part in np.array_split(pixels, 50)]
    )


def coco_parts(part):
    """The folders that the option `part` selects."""
    return ["val2017", "train2017"] if part == "both" else [part]


def coco(home, size, options):
    """COCO 2017 (Matos et al. 2020): 85 % training and validation, 15 % test, by chance; no labels."""
    items = []
    for part in coco_parts(options["part"]):
        found = [f"{part}/{file}" for file in images_below(home / part)]
        _expect(len(found), {"val2017": 5_000, "train2017": 118_287}[part], "images", home / part)
        items += found
    reader = Photos(home, size, options["geometry"])
    return Plan("coco", size, [], _by_chance(sorted(items), None, reader, options), _notes(home, reader))


def yosemite(home, size, options):
    """summer2winter Yosemite (Acharya, Pokhrel): the given folders, or all photographs of a season split 70:30, 80:20 or 90:10.

    The paper validates on all photographs that are not for training; the share `test` of them becomes the test split.
    """
    root = home / "summer2winter_yosemite"
    domain = options["domain"].upper()
    given = {}
    for part, expected in (("train", {"A": 1231, "B": 962}[domain]), ("test", {"A": 309, "B": 238}[domain])):
        given[part] = [f"{part}{domain}/{file}" for file in images_below(root / f"{part}{domain}")]
        _expect(len(given[part]), expected, "images", root / f"{part}{domain}")
    train, held = given["train"], given["test"]
    if options["split"] != "given":
        everything = sorted(train + held)
        train, held = _draw(everything, round(len(everything) * int(options["split"]) / 100), options["seed"])
    reader = Photos(root, size, options["geometry"])
    return Plan("yosemite", size, [], _held_out(train, held, reader, reader, options), _notes(root, reader))


def places(home, size, options):
    """Places205 test images (George 2022): 40,000 to train, at 8/7 of `size` to be cropped at random, 1,000 held out."""
    root = home / "testSetPlaces205_resize"
    found = images_below(root)
    _expect(len(found), 41_000, "images", root)
    train, held = _draw(found, 40_000, options["seed"])
    reader = Photos(root, size, "centre")
    to_be_cropped = Photos(root, round(size * 256 / 224), "square")
    splits = _held_out(train, held, to_be_cropped, reader, options)
    return Plan("places", size, [], splits, {**_notes(root, reader), "train_geometry": GEOMETRIES["square"][1]})


def _held_out(train, held, train_reader, reader, options):
    test, validation = _draw(held, round(len(held) * options["test"]), options["seed"])
    splits = {"train": (train, train_reader), "validation": (validation, reader), "test": (test, reader)}
    return {name: Rows(items, [-1] * len(items), reader) for name, (items, reader) in splits.items()}


def flickr(home, size, options):
    """The Flickr photographs of Matos et al. 2020, from a folder that the user downloaded: 85 % and 15 %, as `coco`."""
    root = Path(options["path"] or home / "flickr").expanduser().absolute()
    if not root.is_dir():
        raise InputError(
            f"There is no folder {root}: the Flickr image dataset's host (Kaggle) needs a login, so download it by hand and unpack "
            "it there, or give its folder with --path."
        )
    return _folder_plan("flickr", root, size, options, managed=False)


def folder(home, size, options):
    """A folder of photographs: names of subfolders are the labels, the split is by file and seed."""
    if not options["path"]:
        raise InputError("Which folder? Give its path: `python -m data_prep folder PATH`.")
    root = Path(options["path"]).expanduser().absolute()
    if not root.is_dir():
        raise InputError(f"There is no folder {root}: give the path of a folder of photographs.")
    # The paper's command keeps the stored values; otherwise the user's photographs get their true colours.
    return _folder_plan(root.name, root, size, options, managed=options["geometry"] != "imagemagick")


def _folder_plan(name, root, size, options, managed):
    items = images_below(root)
    if not items:
        raise InputError(f"{root} holds no photographs ({', '.join(READABLE)}): give another folder.")
    tops = [item.split("/")[0] if "/" in item else None for item in items]
    classes = sorted({top for top in tops if top is not None})
    labels = {item: -1 if top is None else classes.index(top) for item, top in zip(items, tops, strict=True)}
    state = repr([_state(root / item) for item in items])
    reader = Photos(root, size, options["geometry"], managed)
    return Plan(name, size, classes, _by_chance(items, labels, reader, options), _notes(root, reader), state)


def _state(path):
    """Size and time of a file; None for a broken link, which the reader will report."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def photos(home, size, options):
    """The bundled photographs, split by photograph: patches from many places and scales, or whole; labels are the subjects."""
    table = sorted(read_photo_table(), key=lambda row: row["file"])
    classes = sorted({row["file"].split("/")[0] for row in table})
    patches = options["patches"] if options["patches"] is not None else 3072 if size <= 128 else 0
    reader = Patches(PHOTOS, size) if patches else Photos(PHOTOS, size, options["geometry"], managed=True)
    splits = {}
    for name in ("train", "validation", "test"):
        items = [row["file"] for row in table if row["split"] == name]
        if patches:
            count = patches if name == "train" else max(1, patches // 8)
            items = _patches(items, count, size, options["seed"])
        splits[name] = Rows(items, [classes.index(item.split("/")[0]) for item in items], reader)
    geometry = "patches of a quarter to all of the shorter side" if patches else GEOMETRIES[options["geometry"]][1]
    return Plan("photos", size, classes, splits, {"source": "bundled", "geometry": geometry})


def read_photo_table():
    """Rows of photos.csv, after every photograph's hash was checked."""
    with open(PHOTOS / "photos.csv", encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    for row in table:
        path = PHOTOS / row["file"]
        if not path.exists() or files.sha256(path) != row["sha256"]:
            raise InputError(f"The bundled photograph {path} is missing or changed: get it from the repository again.")
    return table


def _patches(photographs, count, size, seed):
    """`count` items FILE#LEFT,TOP,SIDE, the same number from each photograph (the first ones give one more if need be).

    The side is drawn log-uniformly from a quarter of the photograph's shorter side, or `size` if that is more, to all of it.
    """
    from PIL import Image

    items = []
    for number, file in enumerate(photographs):
        with Image.open(PHOTOS / file) as image:
            width, height = image.size
        shorter = min(width, height)
        generator = np.random.default_rng([seed, number])
        for _ in range(count // len(photographs) + (number < count % len(photographs))):
            side = round(np.exp(generator.uniform(np.log(min(max(size, shorter // 4), shorter)), np.log(shorter))))
            left, top = generator.integers(width - side + 1), generator.integers(height - side + 1)
            items.append(f"{file}#{left},{top},{side}")
    return items


def _by_chance(items, labels, reader, options):
    """Splits drawn with the seed: the share `test` of all, then the share `validation` of the rest; at least one image each."""
    shares = {}
    rest = items
    for name in ("test", "validation"):
        count = max(1, round(options[name] * len(rest))) if options[name] else 0
        shares[name], rest = _draw(rest, count, options["seed"])
    if not rest:
        raise InputError(
            f"{len(items)} photographs are too few to split: add more, or choose smaller shares for test and validation."
        )
    splits = {"train": rest, "validation": shares["validation"], "test": shares["test"]}
    return {
        name: Rows(part, [labels[item] if labels else -1 for item in part], reader) for name, part in splits.items()
    }


def _draw(items, count, seed):
    """(`count` items, the others), each in the old order."""
    chosen = np.zeros(len(items), bool)
    chosen[np.random.default_rng(seed).permutation(len(items))[:count]] = True
    return [item for item, yes in zip(items, chosen, strict=True) if yes], [
        item for item, yes in zip(items, chosen, strict=True) if not yes
    ]


def _notes(root, reader):
    return {"source": str(root), "geometry": GEOMETRIES[reader.geometry][1]}
