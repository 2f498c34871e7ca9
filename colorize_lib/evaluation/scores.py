"""Scores of a run: numbers of each image, kept on disk, and the tables and summaries computed from them.

`SYSTEM/scores.csv.gz` in a run folder has everything that tables, intervals and medians need, so that they can be computed
without the weights. It has one row an image, or two if the network's best epoch by validation is not its last: `weights` is
"best" or "last", `epoch` is its number (0: not trained here; "7+30": a system of two networks), `gray` is 1 if the image itself
has no colour, and the other columns are those of `evaluate.score`.

**The main number is a mean over the images that have colour.** Leaving a gray image gray is nearly perfect: 199 of the 10,000 test
images of Tiny ImageNet score 99.7 dB each, which is enough to lift the prediction "no colour at all" above every network. The mean
over all images, which the papers print, stands next to it.
"""

import gzip
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from colorize_lib import files
from colorize_lib.errors import InputError, reason
from colorize_lib.evaluation import evaluate
from colorize_lib.evaluation.statistics import interval
from colorize_lib.training.checkpoint import best_epoch
from colorize_lib.training.colorizer import load_weights

FILE = "scores.csv.gz"


@dataclass(frozen=True)
class Quantity:
    """How a column of scores is shown: its `heading`, with the unit and an arrow to the better, and `digits` after the point."""

    heading: str
    digits: int
    sign: int = 0  # 1: higher is better, -1: lower, 0: neither


QUANTITIES = {
    "psnr_rgb": Quantity("PSNR, dB ↑", 2, 1),
    "ssim": Quantity("SSIM ↑", 3, 1),
    "psnr_ab": Quantity("PSNR of ab, dB ↑", 2, 1),
    "mae_ab": Quantity("error of ab ↓", 2, -1),
    "mse_ab": Quantity("squared error of ab ↓", 1, -1),
    "delta_e2000": Quantity("ΔE2000 ↓", 2, -1),
    "mae_lightness": Quantity("error of L ↓", 2, -1),
    "colorfulness": Quantity("colourfulness", 1),
    "chroma": Quantity("chroma", 1),
    "chroma_gradient": Quantity("gradient of ab", 2),
    "chroma_detail": Quantity("detail of ab", 3),
    "chroma_spread": Quantity("spread of ab", 1),
    "yellow_brown": Quantity("share of yellow-brown", 3),
    "green": Quantity("share of green", 3),
    "blue": Quantity("share of blue", 3),
    "red": Quantity("share of red", 3),
}


def number(value, digits):
    """A number for a table: with `digits` after the point, 0 as "0", and "–" if there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}f}"
    return "0" if float(text) == 0 else text


def folder_name(system):
    """The name of a system's folder in a run folder."""
    return re.sub(r"[^\w.-]+", "_", system).strip("_")


def write(folder, system, found):
    """Write `SYSTEM/scores.csv.gz` of {"last" or "best": (epoch, table of `evaluate.score`)}, atomically."""
    import pandas as pd

    rows = pd.concat(table.assign(weights=which, epoch=epoch) for which, (epoch, table) in found.items())
    rows["gray"] = rows["gray"].astype(int)
    first = ["weights", "epoch", "gray"]
    rows = rows[[*first, *(name for name in rows if name not in first)]]
    text = rows.to_csv(index=False, float_format="%.5g")  # five digits say more than any table shows
    with files.atomic(Path(folder) / folder_name(system) / FILE) as path:
        path.write_bytes(gzip.compress(text.encode(), mtime=0))  # without a time stamp, equal scores are equal files


def read(folder, system):
    """{"last" or "best": (epoch, table)}, as given to `write`. Raises InputError if the file is missing or damaged."""
    import pandas as pd

    path = Path(folder) / folder_name(system) / FILE
    try:
        rows = pd.read_csv(path, compression="gzip", dtype={"epoch": str, "weights": str})
        rows["gray"] = rows["gray"].astype(bool)
        return {
            which: (table["epoch"].iloc[0], table.drop(columns=["weights", "epoch"]).reset_index(drop=True))
            for which, table in rows.groupby("weights")
        }
    except Exception as error:  # a damaged file can fail in any part of the readers of gzip and CSV
        raise InputError(f"Cannot read the scores in {path} ({reason(error)}): score the run again.") from error


def history(folder, system):
    """The rows of `SYSTEM/history.csv` in a run folder, one dictionary of numbers an epoch; [] without the file."""
    path = Path(folder) / folder_name(system) / "history.csv"
    if not path.is_file():
        return []
    return [{name: float(value) for name, value in row.items()} for row in files.read_csv(path)]


def histories(folder):
    """{system: `history`} of all systems of a run folder."""
    return {path.parent.name: history(folder, path.parent.name) for path in sorted(Path(folder).glob("*/history.csv"))}


def best_row(rows, column="val_loss"):
    """The row of a history that is best by `column`, see `checkpoint.best_epoch`."""
    return rows[best_epoch(rows, column) - 1]


def score_run(systems, images, folder, keep="last", parts=None, **options):
    """Score systems on the same images, and keep the scores in the run folder.

    Of a system that was trained in the run, the weights on disk of the last and of the best epoch are scored, and the network has
    those of `keep` afterwards. Other systems, such as a constant or a public network, are scored as they are.

    Args:
        systems: {name: object with `predict_color`}.
        images: `Split`, or uint8 RGB array; the same for all.
        folder: the run folder.
        keep: "last" or "best", the epoch that tables show.
        parts: {name: {folder in the run folder: network}} for systems of networks that were trained under other names.
        options: of `evaluate.score`.

    Returns:
        `Scores` of these systems.
    """
    folder, parts = Path(folder), parts or {}
    for name, system in systems.items():
        networks = parts.get(name, {name: getattr(system, "network", None)})
        networks = {part: network for part, network in networks.items() if history(folder, part)}
        same = _epochs(folder, networks, "last") == _epochs(folder, networks, "best")
        # The weights of `keep` are loaded last, and stay in the network.
        order = ["last"] if same else sorted(("last", "best"), key=lambda which: which == keep)
        found = {}
        for which in order:
            files_ = {folder / part / f"{which}.weights.h5": network for part, network in networks.items()}
            if all(path.exists() for path in files_):
                for path, network in files_.items():
                    load_weights(network, path)
                found[which] = _epochs(folder, networks, which), evaluate.score(system, images, **options)
        kept = read(folder, name) if (folder / folder_name(name) / FILE).exists() and len(found) < len(order) else {}
        if not kept | found:
            raise InputError(
                f"There are no weights of {name} in {folder}, and no scores: train it again, or leave it out."
            )
        write(folder, name, kept | found)  # scores whose weights no longer exist are kept
    return Scores.read(folder, keep, systems)


def _epochs(folder, names, which):
    """The epoch of the `which` weights as text, such as "7"; of several networks with different ones, "7+30"."""
    rows = (history(folder, name) for name in names)
    found = [str(int((row[-1] if which == "last" else best_row(row))["epoch"])) for row in rows]
    return "+".join(found if len(set(found)) > 1 else found[:1]) or "0"


class Scores:
    """Scores of several systems on the same images.

    Attributes:
        keep: "last" or "best".
        tables: {system: pandas DataFrame, one row an image}, of the epoch that `keep` names.
        epochs: {system: number of that epoch, as text}; "0" for a system that was not trained.
        others, other_epochs: as `tables` and `epochs`, of the other epoch; the same if the last epoch is the best.
    """

    def __init__(self, found, keep="last"):
        if keep not in ("last", "best"):
            raise InputError(f'keep is {keep!r}: it must be "last" or "best".')
        self.keep = keep
        other = "best" if keep == "last" else "last"
        # Where the best epoch is the last, or only one of the two was asked for, only that one was scored.
        chosen = {name: parts.get(keep) or parts[other] for name, parts in found.items()}
        others = {name: parts.get(other) or parts[keep] for name, parts in found.items()}
        self.epochs, self.tables = ({name: part[place] for name, part in chosen.items()} for place in (0, 1))
        self.other_epochs, self.others = ({name: part[place] for name, part in others.items()} for place in (0, 1))

    @classmethod
    def read(cls, folder, keep="last", systems=None):
        """The scores in a run folder, of `systems` or of all."""
        if systems is None:
            systems = [path.parent.name for path in sorted(Path(folder).glob(f"*/{FILE}"))]
        names = {folder_name(name): name for name in (evaluate.GRAY, evaluate.MEAN, evaluate.MEDIAN)}
        return cls({names.get(name, name): read(folder, name) for name in systems}, keep)

    def averaged(self, groups):
        """`Scores` of groups of systems, such as one network trained with several seeds: each image has the mean over the group.

        Args:
            groups: {name: names of the systems in the group}.
        """
        other = "best" if self.keep == "last" else "last"
        found = {}
        for name, members in groups.items():
            found[name] = {}
            for which, tables, epochs in (
                (self.keep, self.tables, self.epochs),
                (other, self.others, self.other_epochs),
            ):
                mean = sum(tables[member].astype("float64") for member in members) / len(members)
                mean["gray"] = tables[members[0]]["gray"]
                found[name][which] = "+".join(dict.fromkeys(epochs[member] for member in members)), mean
        return Scores(found, self.keep)

    def __bool__(self):
        return bool(self.tables)

    @property
    def images(self):
        """The number of scored images, and how many of them have no colour."""
        table = next(iter(self.tables.values()))
        return len(table), int(table["gray"].sum())

    def values(self, system, column, coloured=True):
        """A column of the images that have colour, or of all images."""
        table = self.tables[system]
        return table.loc[~table["gray"], column] if coloured else table[column]

    def advantage(self, better, worse, column):
        """How much better one system is than another on each coloured image: (images,) float64, above 0 if it is better."""
        sign = QUANTITIES[column].sign or 1
        return sign * (self.values(better, column) - self.values(worse, column)).to_numpy("float64")

    def summary(self, coloured=True, other=False):
        """{system: {column: {"mean", "low", "high", "median"}, "images": n, "epoch": text}}, 95 % intervals over images.

        Args:
            coloured: only the images that have colour, or all.
            other: the other epoch, see `others`.
        """
        tables, epochs = (self.others, self.other_epochs) if other else (self.tables, self.epochs)
        found = {}
        for name, table in tables.items():
            chosen = table[~table["gray"]] if coloured else table
            rows = {column: _summary(chosen[column]) for column in QUANTITIES if column in table}
            found[name] = rows | {"images": len(chosen), "epoch": epochs[name]}
        return found

    def metrics(self):
        """The part of `metrics.json` about the systems.

        `systems` is about the coloured images, `all_images` is the papers' average, and `other_epoch` has both for the other
        epoch of the systems that have one.
        """
        count, gray = self.images
        different = [name for name in self.epochs if self.epochs[name] != self.other_epochs[name]]
        other = {
            part: {
                name: rows for name, rows in self.summary(part == "systems", other=True).items() if name in different
            }
            for part in ("systems", "all_images")
        }
        return {
            "keep": self.keep,
            "systems": self.summary(),
            "all_images": self.summary(coloured=False),
            "other_epoch": other,
            "test_images": count,
            "gray_test_images": gray,
        }

    def table(self, columns=("psnr_rgb", "ssim", "delta_e2000", "colorfulness")):
        """The main table as text: one row a system, with the scored epoch, and means over the coloured images.

        Columns with a better direction also have the median and, if some images are gray, the mean over all images.
        """
        import pandas as pd

        _, gray = self.images
        lines = {}
        for name, table in self.tables.items():
            line = {("", "epoch"): _shown(self.epochs[name])}
            coloured = table[~table["gray"]]
            for column in columns:
                quantity = QUANTITIES[column]
                line[quantity.heading, "mean"] = number(coloured[column].mean(), quantity.digits)
                if quantity.sign:
                    line[quantity.heading, "median"] = number(coloured[column].median(), quantity.digits)
                if quantity.sign and gray:
                    line[quantity.heading, "all images"] = number(table[column].mean(), quantity.digits)
            lines[name] = line
        return without_empty_columns(pd.DataFrame.from_dict(lines, orient="index"))

    def paper_vs_here(self, rows, columns):
        """The paper's numbers next to ours.

        Args:
            rows: {system: {column: the paper's number}}, in the order to show; a system that was not scored is "not run".
            columns: the columns to compare.

        Returns:
            pandas DataFrame of text. "here" is the mean over all images, the papers' average, with its 95 % interval; "coloured"
            leaves out gray images; "best epoch" (or "last epoch") is the other epoch, over all images.
        """
        import pandas as pd

        _, gray = self.images
        other = "best epoch" if self.keep == "last" else "last epoch"
        lines = {}
        for system, paper in rows.items():
            known = system in self.tables
            line = {("", "epoch"): _shown(self.epochs[system]) if known else "not run"}
            for column in columns:
                quantity = QUANTITIES[column]
                line[quantity.heading, "paper"] = number(paper.get(column), quantity.digits)
                if not known:
                    continue
                mean, low, high = (number(value, quantity.digits) for value in interval(self.tables[system][column]))
                line[quantity.heading, "here"] = f"{mean} [{low}, {high}]"
                if gray:
                    line[quantity.heading, "coloured"] = number(self.values(system, column).mean(), quantity.digits)
                if self.epochs[system] != self.other_epochs[system]:
                    line[quantity.heading, other] = number(self.others[system][column].mean(), quantity.digits)
            lines[system] = line
        table = pd.DataFrame.from_dict(lines, orient="index").fillna("–")
        order = {"paper": 0, "here": 1, "coloured": 2, other: 3}
        headings = ["", *(QUANTITIES[column].heading for column in columns)]
        place = {key: (headings.index(key[0]), order.get(key[1], 0)) for key in table.columns}
        return without_empty_columns(table[sorted(table.columns, key=place.get)])


def _shown(epoch):
    return "–" if epoch == "0" else epoch


def _summary(values):
    found = dict(zip(("mean", "low", "high"), interval(values), strict=True)) | {"median": float(np.median(values))}
    return {name: value if np.isfinite(value) else None for name, value in found.items()}  # JSON knows no infinity


def without_empty_columns(table):
    """A table of text without the columns that hold nothing but "–"."""
    return table.loc[:, (table != "–").any()]
