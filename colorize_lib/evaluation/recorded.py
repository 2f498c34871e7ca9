"""The recorded runs: what `results/PAPER/` holds of a paper's best run, for the notebooks and for text that speaks of numbers.

A notebook's section "From the recorded run" shows these. What was recorded before scores were kept an image has only the means over
all images, gray ones included, which a sentence then says.
"""

import re
from pathlib import Path

from colorize_lib import files
from colorize_lib.errors import InputError
from colorize_lib.evaluation import claims
from colorize_lib.evaluation.plots import Pictures, learning_curves
from colorize_lib.evaluation.scores import FILE, QUANTITIES, Scores, histories, number

MANY = 12  # more curves than this are no picture


class Recorded:
    """One recorded run.

    Attributes:
        folder: where it lies.
        manifest, metrics: contents of its two JSON files.
        scores: `Scores`, of the epoch that the paper scores; None where they were not kept.
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
        """What was run, in a sentence: budget, data, machine and commit."""
        images, test = self.metrics.get("training_images"), self.metrics.get("test_images")
        names = " and ".join(dict.fromkeys(found["name"] for found in self.manifest.get("datasets", {}).values()))
        commit = (self.manifest.get("git_commit") or "unknown")[:7]
        processor = self.manifest.get("hardware", {}).get("processor", "unknown processor")
        text = f"The recorded run ({self.metrics.get('label', 'budgeted')}, {names}, {images:,} training"
        text += f" and {test:,} test images, {processor}, commit {commit})"
        keep = self.metrics.get("keep")
        return text + (f" scores the {keep} epoch." if keep else " scored the best epoch by validation.")

    def table(self, columns=("psnr_rgb", "ssim", "delta_e2000", "colorfulness")):
        """The table of its systems as text, as `Scores.table`; of an older run, the means over all images."""
        if self.scores:
            return self.scores.table(columns)
        import pandas as pd

        lines = {}
        for name, found in self.metrics["systems"].items():
            line = {"epochs trained": str(self.metrics.get("epochs", {}).get(name, "–"))}
            for column in columns:
                quantity = QUANTITIES[column]
                value = found.get(column, {}).get("mean")
                line[f"{quantity.heading} (all images)"] = number(value, quantity.digits)
            lines[name] = line
        return pd.DataFrame.from_dict(lines, orient="index")

    def claims(self):
        """The table of its claims as text, with verdicts; of an older run, whose verdicts compare unequal epochs, None."""
        if not self.scores:
            return None
        return claims.table(claims.judge_all(self.paper, self.scores, self.histories))

    @property
    def paper(self):
        """Key of the paper."""
        return self.manifest["notebook"].replace("_", "-")

    def pictures(self, name="photos"):
        """One of its pictures as `plots.Pictures`, None where it has none of that name."""
        from PIL import Image

        for path in sorted(self.folder.glob(f"figures/{name}.*")):
            with Image.open(path) as image:
                return Pictures(image.convert("RGB"))
        return None


def find(paper, root=None):
    """The recorded run of a paper in the folder `root`, `results/` of the checkout; None where there is none.

    Where the library is installed without its repository, there are no recorded runs.
    """
    folder = Path(root or files.project_root() / "results") / paper
    try:
        return Recorded(folder) if (folder / "metrics.json").exists() else None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"The recorded run in {folder} is damaged: get it from the repository again.") from error


def show(paper, curve="loss", label="loss", columns=("psnr_rgb", "ssim", "delta_e2000", "colorfulness"), only=""):
    """Show a paper's recorded run in a notebook: what it was, its table, verdicts on claims, learning curves, and pictures.

    Args:
        paper: key of the paper.
        curve: column of the histories to draw; networks without it are left out.
        label: text of the curves' vertical axis, with the unit.
        columns: of the table.
        only: regular expression: the systems in whose names it is found have their curves drawn.
    """
    from IPython.display import display

    found = find(paper)
    if found is None:
        print(
            f"No recorded run of {paper} lies here: results/ is part of the repository, not of the installed library."
        )
        return
    print(found.sentence())
    display(found.table(columns))
    verdicts = found.claims()
    if verdicts is None:
        print("Its networks were scored at unequal epochs, gray images included: no claim is judged by it.")
    else:
        display(verdicts)
    shown = {name: rows for name, rows in found.histories.items() if curve in rows[0] and re.search(only, name)}
    if 0 < len(shown) <= MANY:
        display(learning_curves(shown, curve, label))
    pictures = found.pictures()
    if pictures is not None:
        display(pictures)
