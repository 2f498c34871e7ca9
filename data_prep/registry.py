"""The datasets: where they come from, what they must hold, how the papers split them, and which options there are.

Nobody publishes a hash of the Places archive; its size is checked, and the hash of the first download is remembered.
"""

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from colorize_lib.errors import InputError, near_match
from data_prep import sources
from data_prep.readers import GEOMETRIES


@dataclass(frozen=True)
class Archive:
    """A file to download: address, size in bytes, hash as pooch writes it (None: none published), and the folder in the data home
    that it becomes."""

    url: str
    bytes: int
    hash: str | None
    folder: str

    @property
    def file(self):
        return PurePosixPath(urlsplit(self.url).path).name


@dataclass(frozen=True)
class Option:
    """An option of a dataset: `default`, what it `means`, and its `choices` or, for numbers, `low` and `high`.

    `label` and the value are part of the prepared folder's name if the value is not the default, or `always`.
    """

    default: object
    means: str
    type: type = str
    choices: tuple = ()
    low: float = 0
    high: float = float("inf")
    label: str = ""
    always: bool = False


@dataclass(frozen=True)
class Spec:
    """A dataset of the registry; `archives` gives those that a choice of options needs, `plan` lists and splits the images."""

    title: str
    paper: str
    counts: str
    terms: str
    size: int
    options: dict
    plan: callable
    archives: callable = lambda options: []
    sizes: tuple = ()


CIFAR10 = Archive(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    170_052_171,
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    "cifar-10-batches-bin",
)
TINY_IMAGENET = Archive(
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    248_100_043,
    "md5:90528d7ca1a48142e341f4ef8d21d0de",
    "tiny-imagenet-200",
)
COCO = {
    "val2017": Archive(
        "http://images.cocodataset.org/zips/val2017.zip",
        815_585_330,
        "sha256:4f7e2ccb2866ec5041993c9cf2a952bbed69647b115d0f74da7ce8f4bef82f05",
        "val2017",
    ),
    "train2017": Archive(
        "http://images.cocodataset.org/zips/train2017.zip",
        19_336_861_798,
        "sha256:69a8bb58ea5f8f99d24875f21416de2e9ded3178e903f1f7603e283b9e06d929",
        "train2017",
    ),
}
YOSEMITE = Archive(
    "https://people.eecs.berkeley.edu/~taesung_park/CycleGAN/datasets/summer2winter_yosemite.zip",
    132_640_856,
    "sha256:167fe1726807a9d22bd106b4a6c0bd7953b688af924ac1bf967439c4961e49f9",
    "summer2winter_yosemite",
)
PLACES = Archive(
    "http://data.csail.mit.edu/places/places205/testSetPlaces205_resize.tar.gz",
    2_341_250_899,
    None,
    "testSetPlaces205_resize",
)

_SEED = Option(0, "seed of the random split, and of --limit", int, high=2**32 - 1, label="seed")
_VALIDATION = Option(
    0.1, "share of the training images that is set aside for validation", float, high=0.9, label="validation"
)
_TEST = Option(0.15, "share of all images that is set aside for the test", float, high=0.9, label="test")
_HALVE = Option(
    0.5,
    "share of the held-out images that becomes the test split; 0: all of them are for validation, as in the paper",
    float,
    high=0.9,
    label="test",
    always=True,
)


def _geometry(default):
    return Option(
        default,
        "how an image gets its size: " + "; ".join(f"{k}: {v[1]}" for k, v in GEOMETRIES.items()),
        choices=tuple(GEOMETRIES),
    )


DATASETS = {
    "tiny-imagenet": Spec(
        title="Tiny ImageNet 200",
        paper="polychromify",
        counts="100,000 train, 10,000 validation, 10,000 test (unlabelled), 200 classes",
        terms="research and teaching, no commercial use (ImageNet's terms)",
        size=64,
        options={"seed": _SEED},
        plan=sources.tiny_imagenet,
        archives=lambda options: [TINY_IMAGENET],
    ),
    "cifar10": Spec(
        title="CIFAR-10, binary version",
        paper="vacgan",
        counts="50,000 train (a tenth of it for validation), 10,000 test, 10 classes",
        terms="none stated; cite Krizhevsky 2009",
        size=32,
        sizes=(32,),
        options={
            "split": Option(
                "naive", "naive: a random tenth; hue: every tenth in the order of mean hue", choices=("naive", "hue")
            ),
            "validation": _VALIDATION,
            "drop_gray": Option(
                "none",
                "training images to leave out; gray: the 562 that are exactly gray; code: the 582 of lowest mean hue, as the "
                "paper's code does for the hue split",
                choices=("none", "gray", "code"),
                label="drop",
            ),
            "seed": Option(
                26, "seed of the naive split (the paper's code: 26), and of --limit", int, high=2**32 - 1, label="seed"
            ),
        },
        plan=sources.cifar10,
        archives=lambda options: [CIFAR10],
    ),
    "coco": Spec(
        title="COCO 2017",
        paper="autoencoders",
        counts="val2017: 5,000; train2017: 118,287; 85 % train and validation, 15 % test",
        terms="the photographs have their own Flickr licences; terms of use at cocodataset.org",
        size=300,
        options={
            "part": Option("val2017", "which images", choices=("val2017", "train2017", "both"), always=True),
            "geometry": _geometry("imagemagick"),
            "validation": _VALIDATION,
            "test": _TEST,
            "seed": _SEED,
        },
        plan=sources.coco,
        archives=lambda options: [COCO[part] for part in sources.coco_parts(options["part"])],
    ),
    "yosemite": Spec(
        title="summer2winter Yosemite",
        paper="unet",
        counts="A (summer): 1,231 + 309; B (winter): 962 + 238",
        terms="none stated by the publisher (CycleGAN); photographs from Flickr",
        size=256,
        options={
            "domain": Option(
                "a", "a: summer, the paper's counts; b: winter, the paper's words", choices=("a", "b"), always=True
            ),
            "split": Option(
                "given",
                "given: the archive's folders; 70, 80, 90: per cent for training",
                choices=("given", "70", "80", "90"),
                label="split",
            ),
            "test": _HALVE,
            "geometry": _geometry("square"),
            "seed": _SEED,
        },
        plan=sources.yosemite,
        archives=lambda options: [YOSEMITE],
    ),
    "places": Spec(
        title="Places205, test images",
        paper="resnet-mrf",
        counts="40,000 train (stored at 256 × 256, to be cropped at random), 500 validation, 500 test (224 × 224)",
        terms="research and teaching only; see places.csail.mit.edu",
        size=224,
        options={"test": _HALVE, "seed": _SEED},
        plan=sources.places,
        archives=lambda options: [PLACES],
    ),
    "flickr": Spec(
        title="Flickr image dataset (Kaggle)",
        paper="autoencoders",
        counts="whatever the folder holds; 85 % train and validation, 15 % test",
        terms="the photographers' Flickr licences; the host needs a login, so download it by hand into DATA_HOME/flickr",
        size=300,
        options={
            "path": Option(None, "folder of the photographs; default: flickr in the data home"),
            "geometry": _geometry("imagemagick"),
            "validation": _VALIDATION,
            "test": _TEST,
            "seed": _SEED,
        },
        plan=sources.flickr,
    ),
    "photos": Spec(
        title="Bundled photographs",
        paper="all, quick profile",
        counts="up to size 128: 3,072 patches to train, 384 each to validate and test; larger: whole photographs",
        terms="see data_prep/photos/photos.csv, one licence a file",
        size=64,
        options={
            "patches": Option(
                None,
                "training patches (validation and test: an eighth); 0: whole photographs",
                int,
                high=1_000_000,
                label="patches",
            ),
            "geometry": _geometry("square"),
            "seed": _SEED,
        },
        plan=sources.photos,
    ),
    "folder": Spec(
        title="Your own photographs",
        paper="",
        counts="by default a tenth for the test and a tenth of the rest for validation; subfolders become labels",
        terms="yours",
        size=256,
        options={
            "path": Option(None, "the folder"),
            "geometry": _geometry("square"),
            "validation": _VALIDATION,
            "test": replace(_TEST, default=0.1),
            "seed": _SEED,
        },
        plan=sources.folder,
    ),
}


def find(name):
    """The `Spec` called `name`; an unknown one is an InputError with the nearest and all known ones."""
    if name not in DATASETS:
        raise InputError(f"There is no dataset {name!r}{near_match(name, DATASETS)}: known are {', '.join(DATASETS)}.")
    return DATASETS[name]


def resolve(name, given):
    """Options of dataset `name`: the defaults, and `given` ones (text or values) checked.

    Raises InputError for an unknown option, a wrong type, or a value out of range.
    """
    spec = find(name)
    for key in given:
        if key not in spec.options:
            known = ", ".join(spec.options)
            raise InputError(f"{name} has no option {key!r}{near_match(key, spec.options)}: it takes {known}.")
    return {
        key: option.default if given.get(key) is None else _checked(name, key, option, given[key])
        for key, option in spec.options.items()
    }


def _checked(name, key, option, value):
    try:
        result = option.type(value)
    except (TypeError, ValueError):
        result = None
    if option.type is int and isinstance(value, float) and result != value:
        result = None
    in_range = option.type is str or (result is not None and option.low <= result <= option.high)
    if result is None or not in_range or (option.choices and result not in option.choices):
        wanted = (
            f"one of {', '.join(option.choices)}"
            if option.choices
            else f"a number from {option.low:g} to {option.high:g}"
        )
        raise InputError(f"{key} of {name} is {value!r}: it must be {wanted} ({option.means}).")
    return result


def key(name, size, limit, options):
    """Name of the prepared folder: the dataset, its size, and what differs from the defaults."""
    known = DATASETS[name].options
    parts = [name]
    if options.get("path"):
        path = Path(options["path"]).expanduser().absolute()
        parts.append(
            f"{re.sub(r'[^A-Za-z0-9._]+', '_', path.name)}_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
        )
    parts += [f"{what.label}{options[option]}" for option, what in known.items() if what.always]
    parts.append(str(size))
    for option, what in known.items():
        if option != "path" and not what.always and options[option] != what.default:
            parts.append(f"{what.label}{options[option]}")
    return "-".join(parts + ([f"limit{limit}"] if limit else []))
