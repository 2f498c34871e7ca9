"""The recorded runs: each paper's best run in `results/PAPER/`, for the notebooks' section "From the recorded run".

Runs that were recorded before scores were kept for each image have only means over all images, including gray ones; a sentence
says so.
"""

import re
import textwrap
from pathlib import Path

from colorize_lib import files
from colorize_lib.errors import InputError
from colorize_lib.evaluation import claims
from colorize_lib.evaluation.plots import Pictures, learning_curves
from colorize_lib.evaluation.scores import FILE, QUANTITIES, Scores, histories, number, without_empty_columns

MANY = 12  # curves in a picture, at most


class Recorded:
    """One recorded run.

    Attributes:
        folder: the run's folder.
        manifest, metrics: contents of its two JSON files.
        scores: `Scores` of the epoch that the paper scores; None if they were not kept.
        histories: {system: one dictionary an epoch}.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.manifest = files.read_json(self.folder / "manifest.json", "manifest")
        self.metrics = files.read_json(self.folder / "metrics.json", "metrics")
        kept = any(self.folder.glob(f"*/{FILE}"))
        self.scores = Scores.read(self.folder, self.metrics.get("keep", "last")) if kept else None
        self.histories = histories(self.folder)

    def sentence(self):
        """A sentence on the run: budget, data, machine and commit."""
        images, test = self.metrics.get("training_images"), self.metrics.get("test_images")
        names = " and ".join(dict.fromkeys(found["name"] for found in self.manifest.get("datasets", {}).values()))
        commit = (self.manifest.get("git_commit") or "unknown")[:7]
        processor = self.manifest.get("hardware", {}).get("processor", "unknown processor")
        text = f"The recorded run ({self.metrics.get('label', 'budgeted')}, {names}, {images:,} training"
        text += f" and {test:,} test images, {processor}, commit {commit})"
        keep = self.metrics.get("keep")
        return text + (f" scores the {keep} epoch." if keep else " scored the best epoch by validation.")

    def table(self, columns=("psnr_rgb", "ssim", "delta_e2000", "colorfulness")):
        """The table of the systems, as `Scores.table`; for an older run, means over all images."""
        if self.scores:
            return self.scores.table(columns)
        import pandas as pd

        lines = {}
        coloured = self.metrics.get("psnr_rgb_of_coloured_images", {})
        for name, found in self.metrics["systems"].items():
            line = {("", "epochs trained"): str(self.metrics.get("epochs", {}).get(name, "–"))}
            for column in columns:
                quantity = QUANTITIES[column]
                if column == "psnr_rgb":
                    line[quantity.heading, "coloured images"] = number(coloured.get(name), quantity.digits)
                value = found.get(column, {}).get("mean")
                line[quantity.heading, "all images"] = number(value, quantity.digits)
            lines[name] = line
        return without_empty_columns(pd.DataFrame.from_dict(lines, orient="index"))

    def claims(self):
        """What it says of its paper's claims, as `Judgement`s; None for an older run, which compares unequal epochs."""
        return claims.judge_all(self.paper, self.scores, self.histories) if self.scores else None

    @property
    def paper(self):
        """Key of the paper."""
        return self.manifest["notebook"]

    def pictures(self):
        """Its colorized photographs as `plots.Pictures`, or None if there is none."""
        from PIL import Image

        for path in sorted(self.folder.glob("figures/photos.*")):
            with Image.open(path) as image:
                return Pictures(image.convert("RGB"), image.info.get("comment", b""))
        return None


def find(paper, root=None):
    """The recorded run of a paper in the folder `root`, by default `results/` of the checkout, or None.

    There are no recorded runs where the library is installed without its repository.
    """
    folder = Path(root or files.project_root() / "results") / paper
    try:
        return Recorded(folder) if (folder / "metrics.json").exists() else None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"The recorded run in {folder} is damaged: get it from the repository again.") from error


def show(paper, curve="loss", label="loss", columns=("psnr_rgb", "ssim", "delta_e2000", "colorfulness"), only=""):
    """Show a paper's recorded run in a notebook: a sentence, its table, verdicts on claims, learning curves, and pictures.

    Args:
        paper: key of the paper.
        curve: column of the histories to draw; networks without it are left out.
        label: label of the curves' vertical axis, with the unit.
        columns: columns of the table.
        only: regular expression; only systems whose names contain a match have their curves drawn.
    """
    from IPython.display import display

    found = find(paper)
    if found is None:
        print(
            f"There is no recorded run of {paper} here: results/ is part of the repository, not of the installed library."
        )
        return
    print(textwrap.fill(found.sentence(), 100))
    display(found.table(columns))
    verdicts = found.claims()
    if verdicts is None:
        print("Its networks were scored at unequal epochs, gray images included: it decides no claim.")
    else:
        display(claims.shown(verdicts))
    shown = {name: rows for name, rows in found.histories.items() if curve in rows[0] and re.search(only, name)}
    if 0 < len(shown) <= MANY:
        display(learning_curves(shown, curve, label))
    pictures = found.pictures()
    if pictures is not None:
        display(pictures)
