"""Trained networks on this machine: the bundled ones, the public ones in the data home, those of run folders.

The default network, then each of those on this machine:

    from colorize_lib.apps import trained
    trained.load().colorize("photo.jpg")

    for found in trained.find(["runs/polychromify/real"]):
        print(found.label, found.load().colorize("photo.jpg").shape)
"""

import contextlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from colorize_lib import files, models
from colorize_lib.apps import public_weights
from colorize_lib.apps.guided import GuidedColorizer
from colorize_lib.errors import InputError
from colorize_lib.papers import published
from colorize_lib.training.colorizer import Colorizer, load_weights
from colorize_lib.training.distribution import VividColorizer

DEFAULT = "natural"  # the network that is used where none is named
WEIGHTS = Path(__file__).parent / "weights"
_SUFFIX = ".weights.h5"
_PUBLIC_TITLES = {
    "eccv16": "Zhang, Isola and Efros 2016 (ECCV16)",
    "siggraph17": "Zhang et al. 2017, which takes your own colours (SIGGRAPH17)",
}
_PUBLIC_SIZE = 256  # pixels; close to what the public networks were trained with


@dataclass(frozen=True)
class Trained:
    """A network with weights: its `label` for people, `model` in the registry (None: see network.json), file of `weights`."""

    label: str
    model: str | None
    weights: Path
    kind: str  # "bundled", "public" or "run"

    @property
    def guided(self):
        """Whether it takes a person's hints."""
        return self.kind == "public" and self.model == "siggraph17"

    def load(self):
        """The `Colorizer`. Raises InputError if its files are damaged."""
        return load(self.weights.parent if self.kind == "run" else self.model)


def load(name=DEFAULT, weights=None, **options):
    """A trained `Colorizer`.

    Args:
        name: registered name of the network, or the folder of a system that a run trained (see `load_trained`).
        weights: path of a file of weights, such as a run's `best.weights.h5`; None: the bundled or the public ones.
        options: of the builder, where the weights were not trained with its defaults.

    Raises:
        InputError: there are no weights of that network here, or the file does not fit.
    """
    if weights is None and name not in models.names() and Path(name).is_dir():
        if options:
            raise InputError(f"{name} is a trained network, whose {next(iter(options))} is what it was trained with.")
        return load_trained(name)
    entry = models.entry(name)
    if weights is None and name in public_weights.FILES:
        return _public(name, **options)
    if weights is None:
        weights = WEIGHTS / f"{name}{_SUFFIX}"
        if not weights.exists():
            raise InputError(
                f"No weights of {name!r} are bundled (there are those of {', '.join(_bundled_names())}): train it with `make "
                f"reproduce-{entry.paper or name}`, and name its best.weights.h5."
            )
    colorizer = _build(name, **options)
    load_weights(colorizer.network, weights)
    return colorizer


def _build(name, *, convention=None, channels=None, **options):
    """The network of that name, without weights, as the `Colorizer` that decodes its outputs."""
    if name == "natural":
        return VividColorizer(models.build(name, **options))
    return Colorizer.from_name(name, convention=convention, channels=channels, **options)


def _public(name, size=_PUBLIC_SIZE, **options):
    if name == "siggraph17":
        return GuidedColorizer(public_weights.pretrained(name, hints=True, **options), size)
    return Colorizer(public_weights.pretrained(name, size=size, **options), "zhang")


def load_trained(folder):
    """The `Colorizer` of one system of a run, with the weights of its best epoch.

    Args:
        folder: the system's folder in a run folder, with `network.json` and `best.weights.h5`.

    Raises:
        InputError: no such folder, or it holds no network that colorizes by itself.
    """
    colorizer = build_trained(folder)
    network = colorizer.network
    outputs = len(colorizer.centres) if isinstance(colorizer, VividColorizer) else colorizer.convention.channels
    if network.input_shape[-1] != 1 or network.output_shape[-1] != outputs:
        raise InputError(
            f"The network {network.name!r} in {folder} does not colorize by itself: choose another system."
        )
    load_weights(network, Path(folder) / f"best{_SUFFIX}")
    return colorizer


def build_trained(folder):
    """The `Colorizer` that `network.json` in a system's folder describes, without weights; also one of a single channel.

    Raises InputError if there is no such file, or it does not describe a network.
    """
    folder = Path(folder)
    description = _description(folder)
    try:
        options = {name: description[name] for name in ("convention", "channels")} | description["options"]
        if not (8 <= (options.get("size") or 8) <= 4096 and 0.01 <= options.get("width", 1) <= 16):
            raise ValueError("it would be too large to build")
        return _build(description["model"], **options)
    except InputError:
        raise
    except Exception as error:  # what a run has not written can fail in any builder
        raise InputError(
            f"{folder / 'network.json'} does not describe a network: run the command that wrote it again."
        ) from error


def _description(folder):
    """The dictionary in `network.json`."""
    path = folder / "network.json"
    description = files.read_json(path, "description of a trained network")
    if not isinstance(description, dict):
        raise InputError(f"{path} does not describe a network: run the command that wrote it again.")
    return description


def _bundled_names():
    return sorted(path.name.removesuffix(_SUFFIX) for path in WEIGHTS.glob(f"*{_SUFFIX}"))


def bundled():
    """The networks whose weights are bundled, the default one first."""
    names = sorted(_bundled_names(), key=lambda name: (name != DEFAULT, name))
    return [Trained(name, name, WEIGHTS / f"{name}{_SUFFIX}", "bundled") for name in names]


def public():
    """ECCV16 and SIGGRAPH17, as far as `colorize_lib.apps.public_weights` has put their weights into the data home."""
    found = {name: public_weights.weights_path(name) for name in public_weights.FILES}
    return [Trained(name, name, path, "public") for name, path in found.items() if path.exists()]


def of_run(folder):
    """The systems of a run that colorize by themselves.

    Args:
        folder: the run's folder, or one system's folder in it.

    Raises:
        InputError: there is none.
    """
    folder = Path(folder).expanduser().absolute()
    systems = (
        [folder]
        if (folder / "network.json").exists()
        else sorted(path.parent for path in folder.glob("*/network.json"))
    )
    found = []
    for system in systems:
        alone = _description(system).get("channels") is None
        if alone and (system / f"best{_SUFFIX}").exists():
            label = " / ".join(system.parts[-3:])
            found.append(Trained(label, None, system / f"best{_SUFFIX}", "run"))
    if not found:
        raise InputError(
            f"There is no trained network in {folder}: name a run folder, runs/PAPER/KEY, whose systems have network.json and "
            "best.weights.h5; repeating an older run's command adds the former."
        )
    return found


def find(run_folders=()):
    """All of them: bundled, public, and those of `run_folders`, each with a label of its own. Raises InputError."""
    return [*bundled(), *public(), *(trained for folder in run_folders for trained in of_run(folder))]


def place(name):
    """Where the weights of the registered network `name` are, or how to get them, as a phrase for the command line."""
    for trained in (*bundled(), *public()):
        if trained.model == name:
            return f"{trained.kind}: {trained.weights}"
    if name in public_weights.FILES:
        return f"get them: python -m colorize_lib convert {name}"
    return f"train it: make reproduce-{models.entry(name).paper or name}"


def titles(found):
    """A name in words for each `Trained`, every one different."""
    counts, result = Counter(), []
    for item in found:
        text = _title(item)
        counts[text] += 1
        result.append(text if counts[text] == 1 else f"{text}, no. {counts[text]}")
    return result


def _title(item):
    if item.kind == "public":
        return _PUBLIC_TITLES.get(item.model, item.model)
    if item.kind == "bundled":
        paper = models.entry(item.model).paper
        source = published(paper) if paper else None
        words = item.model.replace("_", " ").capitalize()
        return f"{words} ({source['authors'].split(',')[0]} {source['year']})" if source else words
    folder = item.weights.parent
    words = folder.name.replace("_", " ").capitalize()
    with contextlib.suppress(InputError, KeyError, TypeError, ValueError):
        manifest = files.read_json(folder.parent / "manifest.json", "description of a run")
        day = datetime.fromisoformat(manifest["started"])
        return f"{words}, trained here on {day.day} {day:%B %Y} ({manifest['label']})"
    return f"{words}, trained here"
