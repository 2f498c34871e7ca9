"""The results of a run: its `metrics.json`, the same from a notebook and from `rescore`, tables, and pictures."""

import numpy as np

from colorize_lib import color
from colorize_lib.evaluation import claims, plots
from colorize_lib.evaluation.photographs import without_colour
from colorize_lib.evaluation.scores import QUANTITIES, best_row, histories, number, without_empty_columns

VALIDATION = "val_"


def metrics(paper, folder, scores, *, label, training_images, decides=True):
    """The contents of `metrics.json`, from the scores and the histories of a run.

    Args:
        paper: key of the paper, whose claims are judged.
        folder: the run folder.
        scores: `Scores` on the test images.
        label: "paper", "budgeted" or "quick (budgeted)".
        training_images: how many there were.
        decides: whether claims get a verdict; False for quick runs, which only have differences.

    Returns:
        Dictionary: `scores.metrics()`; `epochs` trained and `minutes` of each system; for each validation column of the
        histories `validation_COLUMN` at the last epoch, `best_validation_COLUMN` and `best_epoch`; `claims`.
    """
    rows = histories(folder)
    found = {
        "label": label,
        **scores.metrics(),
        "epochs": {name: len(history) for name, history in rows.items()},
        "minutes": {name: sum(row["seconds"] for row in history) / 60 for name, history in rows.items()},
        "best_epoch": {name: int(best_row(history)["epoch"]) for name, history in rows.items()},
        "training_images": training_images,
    }
    for name, history in rows.items():
        for column in history[-1]:
            if column.startswith(VALIDATION):
                key = f"validation_{column.removeprefix(VALIDATION)}"
                found.setdefault(key, {})[name] = history[-1][column]
                found.setdefault(f"best_{key}", {})[name] = best_row(history, column)[column]
    return found | {"claims": claims.plain(claims.judge_all(paper, scores, rows), decides)}


def validation_table(published, histories, column):
    """The paper's validation numbers next to ours at the last epoch, which the papers print, and at the best one.

    Args:
        published: {system: {column: number at the last epoch, "best": number, "minutes": number}}; the last two may be missing.
        histories: {system: history}.
        column: of the history, without "val_".

    Returns:
        pandas DataFrame of text; systems without a history have the paper's numbers alone.
    """
    import pandas as pd

    heading = QUANTITIES[column].heading
    last, best = f"{heading}: last epoch", f"{heading}: best epoch"
    lines = {}
    for system, paper in published.items():
        line = {(last, "paper"): number(paper.get(column), 2), (last, "here"): "–", (last, "epoch"): "–"}
        line |= {(best, "paper"): number(paper.get("best"), 2), (best, "here"): "–", (best, "epoch"): "–"}
        line |= {("minutes", "paper"): number(paper.get("minutes"), 0), ("minutes", "here"): "–"}
        history = histories.get(system)
        if history:
            for heading, row in ((last, history[-1]), (best, best_row(history, f"{VALIDATION}{column}"))):
                line[heading, "here"] = number(row[f"{VALIDATION}{column}"], 2)
                line[heading, "epoch"] = f"{row['epoch']:.0f}"
            if "minutes" in paper:
                line["minutes", "here"] = number(sum(row["seconds"] for row in history) / 60, 1)
        lines[system] = line
    return without_empty_columns(pd.DataFrame.from_dict(lines, orient="index"))


def flattens(history, column, tolerance=0.01):
    """The epoch from which on a curve stays within `tolerance` of the mean of its last tenth.

    Args:
        history: rows, one an epoch.
        column: of the history, such as "val_larger_channel_accuracy".
        tolerance: in the column's units.

    Returns:
        The epoch, counted from 1; the last one where the curve never settles.
    """
    values = np.array([row[column] for row in history])
    end = values[-max(1, len(values) // 10) :].mean()
    outside = np.flatnonzero(np.abs(values - end) > tolerance)
    return min(len(values), 2 + int(outside[-1])) if len(outside) else 1


def crosses(history, column):
    """The epoch from which on the training curve of `column` lies above that of validation, or None if the last epoch does not."""
    above = np.array([row[column] > row[f"{VALIDATION}{column}"] for row in history])
    below = np.flatnonzero(~above)
    if not above[-1]:
        return None
    return 1 if not len(below) else 2 + int(below[-1])


def photographs(systems, photos, count=5):
    """Colorize photographs that no network was trained on, at their own resolution.

    Args:
        systems: {name: object with `colorize`}.
        photos: `Split` of whole photographs.
        count: number of photographs, spread over the split.

    Returns:
        `plots.Pictures` with a column a system, and {name: mean colourfulness}.
    """
    chosen = photos.images[np.linspace(0, len(photos) - 1, min(count, len(photos))).astype(int)]
    columns = {"input": [without_colour(photo) for photo in chosen]}
    columns |= {name: [system.colorize(photo) for photo in chosen] for name, system in systems.items()}
    columns["original"] = list(chosen)
    colorfulness = {
        name: float(np.mean(color.metrics.colorfulness(color.unit_rgb(np.stack(images)))))
        for name, images in columns.items()
    }
    return plots.image_grid(columns), colorfulness


def side_by_side(systems, split, rows):
    """Colorize the same images by several systems: `plots.Pictures` with the input first and the original last.

    Args:
        systems: {name: object with `predict_color`}.
        split: `Split`.
        rows: of the split, in the order to show.
    """
    originals = split.images[np.asarray(rows)]
    columns = {"input": [without_colour(image) for image in originals]}
    columns |= {name: np.asarray(system.predict_color(originals)[1]) for name, system in systems.items()}
    return plots.image_grid(columns | {"original": originals})
