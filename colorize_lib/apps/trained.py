"""Trained networks on this machine: those that come with the project, the public ones in the data home, those of run folders.

for trained in find(["runs/polychromify/real"]):
    print(trained.label, trained.load().colorize("photo.jpg").shape)
"""

from dataclasses import dataclass
from pathlib import Path

from colorize_lib import files
from colorize_lib.apps import public_weights
from colorize_lib.errors import InputError
from colorize_lib.training import colorizer


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
        if self.kind == "run":
            return colorizer.load_trained(self.weights.parent)
        if self.guided:
            from colorize_lib.apps.guided import GuidedColorizer

            return GuidedColorizer()
        if self.kind == "public":
            return colorizer.Colorizer(public_weights.pretrained(self.model, size=256), "zhang")
        return colorizer.load(self.model)


def bundled():
    """The networks whose weights come with the project."""
    found = sorted(colorizer.WEIGHTS.glob("*.weights.h5"))
    return [
        Trained(path.name.removesuffix(".weights.h5"), path.name.removesuffix(".weights.h5"), path, "bundled")
        for path in found
    ]


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
        alone = files.read_json(system / "network.json", "description of a trained network").get("channels") is None
        if alone and (system / "best.weights.h5").exists():
            label = " / ".join(system.parts[-3:])
            found.append(Trained(label, None, system / "best.weights.h5", "run"))
    if not found:
        raise InputError(
            f"No trained network lies in {folder}: name a run folder, runs/PAPER/KEY, whose systems have network.json and "
            "best.weights.h5; repeating an older run's command adds the former."
        )
    return found


def find(run_folders=()):
    """All of them: bundled, public, and those of `run_folders`, each with a label of its own. Raises InputError."""
    return [*bundled(), *public(), *(trained for folder in run_folders for trained in of_run(folder))]


def place(name):
    """Where the weights of the registered network `name` are, or how to get them, as a phrase for the command line."""
    from colorize_lib import models

    for trained in (*bundled(), *public()):
        if trained.model == name:
            return f"{trained.kind}: {trained.weights}"
    if name in public_weights.FILES:
        return f"get them: python -m colorize_lib convert {name}"
    return f"train it: make reproduce-{models.entry(name).paper}"
