"""The papers' claims, as sentences, and the verdict of a run on each.

A claim in `papers.toml` names the better system, the worse one, and the quantity in which they are compared. It is judged by paired
differences on the images that have colour, and only

- at equal epochs, or at those that the paper itself gives the two systems; otherwise the verdict is "not comparable";
- with at least three seeds, if it is about a way of training; otherwise the verdict is "one run", whatever the interval over
  images.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from colorize_lib.evaluation.plots import Markdown
from colorize_lib.evaluation.scores import QUANTITIES, number, without_empty_columns
from colorize_lib.evaluation.statistics import image_verdict, interval, seed_interval, verdict
from colorize_lib.papers import published

NOT_COMPARABLE = "not comparable"
DIFFERENCE = "difference, above 0 if it holds"
QUICK = "A quick run shows that everything works; it decides nothing about a claim."


@dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
        sentence: the claim, with its place in the paper.
        better, worse: the two systems.
        column: column of `evaluate.score`, or "seconds" of training an epoch.
        epochs: the numbers of epochs that the paper gives the two, better first; () for equal ones.
        times: for "seconds", how many times faster the better one is claimed to be.
        within: how much worse the better one may be at most, in the unit of the column.
    """

    sentence: str
    better: str
    worse: str
    column: str
    epochs: tuple = ()
    times: float = 1.0
    within: float = 0.0


def of_paper(paper):
    """The `Claim`s of a paper in `papers.toml`."""
    return [Claim(**row | {"epochs": tuple(row.get("epochs", ()))}) for row in published(paper).get("claims", ())]


@dataclass
class Judgement:
    """The verdict on a claim, and the mean `difference`, above 0 if the claim holds, with its interval.

    `epochs` are the scored epochs of the two systems, [] for a claim about time; `unit` is that of the difference; `missing` names
    the systems that the run lacks.
    """

    sentence: str
    verdict: str
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    epochs: list = field(default_factory=list)
    unit: str = ""
    digits: int = 3
    per_seed: list = field(default_factory=list)
    missing: tuple = ()

    def plain(self, decides=True):
        """The dictionary for `metrics.json`; without the verdict if the run does not decide claims."""
        found = {"verdict": self.verdict} if decides else {}
        found |= {"epochs": self.epochs, "unit": self.unit}
        if self.difference is not None:
            found |= {"difference": self.difference, "low": self.low, "high": self.high}
        return found | ({"per_seed": self.per_seed} if self.per_seed else {})


def comparable(epochs, paper=()):
    """Whether two systems may be compared at these two epochs: equal ones, or those of the `paper`."""
    return epochs[0] == epochs[1] or [*map(str, epochs)] == [*map(str, paper)]


def judge(claim, advantages, epochs, training=True):
    """Judge a claim.

    Args:
        claim: `Claim`.
        advantages: for each seed, one number an image (above 0 if the claim holds), or one number.
        epochs: the scored epochs of better and worse.
        training: whether the claim is about a way of training, which needs three seeds, or about one network, such as ways to
            decode its output.

    Returns:
        `Judgement`. The interval is over seeds if there are several, and otherwise over images.
    """
    means = [float(np.mean(values)) for values in advantages]
    if len(means) > 1:
        mean, low, high = seed_interval(means)
    else:
        mean, low, high = interval(np.atleast_1d(advantages[0]))
    said = verdict(means) if training else image_verdict(advantages[0])
    if not comparable(epochs, claim.epochs):
        said = NOT_COMPARABLE
    quantity = QUANTITIES.get(claim.column)
    unit, digits = (quantity.heading, quantity.digits) if quantity else ("", 3)
    if claim.column == "seconds":
        unit, epochs = f"ratio of speeds, less {claim.times:g}", ()
    return Judgement(claim.sentence, said, mean, low, high, list(epochs), unit, digits, means if len(means) > 1 else [])


def judge_all(paper, scores, histories=None):
    """Judge all claims of a paper by a run.

    Args:
        paper: key of the paper.
        scores: `Scores` of the run.
        histories: {system: rows of its history}, for claims about time.

    Returns:
        List of `Judgement`; the verdict is "not run" if a system is missing. Our own hypothesis about a printed number, if there is
        one, comes last.
    """
    found = [_judgement(claim, scores, histories or {}) for claim in of_paper(paper)]
    hypothesis = published(paper).get("hypothesis")
    return found + ([_of_hypothesis(hypothesis, scores)] if hypothesis else [])


def _of_hypothesis(hypothesis, scores):
    """Whether the paper's number is in our interval over all images, at the epoch that the hypothesis names."""
    sentence, system, column = (hypothesis[name] for name in ("sentence", "system", "column"))
    if scores.epochs.get(system) != hypothesis["epoch"]:
        return Judgement(sentence, "not run", missing=(f"{system} after {hypothesis['epoch']} epochs",))
    values = scores.values(system, column, coloured=False) - hypothesis["number"]
    mean, low, high = interval(values)
    quantity = QUANTITIES[column]
    said = "for" if low <= 0 <= high else "against"
    return Judgement(sentence, said, mean, low, high, [hypothesis["epoch"]], quantity.heading, quantity.digits)


def _judgement(claim, scores, histories):
    pair = claim.better, claim.worse
    there = histories if claim.column == "seconds" else scores.tables
    if missing := tuple(system for system in pair if system not in there):
        return Judgement(claim.sentence, "not run", missing=missing)
    if claim.column == "seconds":
        fast, slow = (np.median([row["seconds"] for row in histories[system]]) for system in pair)
        equal = (1, 1)  # seconds an epoch do not depend on the number of epochs
        return judge(claim, [slow / fast - claim.times], equal)
    return judge(claim, [scores.advantage(*pair, claim.column) + claim.within], _epochs(scores, *pair))


def _epochs(scores, *pair):
    """The scored epochs of two systems; a system that was not trained, such as a constant, has the epoch of the other."""
    epochs = [scores.epochs.get(system, "0") for system in pair]
    return [max(epochs)] * 2 if "0" in epochs else epochs


def judge_values(scores, sentence, better, worse, values, *, sign=-1, coloured=None, unit="", digits=3, training=True):
    """Judge a claim about numbers that are not in the scores, such as the answers of a detector.

    Args:
        scores: `Scores` of the run, which has the epochs and tells which images have colour.
        sentence: the claim.
        better, worse: the two systems, or other names in `values`, such as the truth.
        values: {system: one number an image}.
        sign: -1 if lower values are better, 1 if higher ones are.
        coloured: (images,) bool, whether each image has colour; None: `values` are about the images of `scores`.
        unit, digits: how the difference is shown.
        training: see `judge`.

    Returns:
        `Judgement`; "not run" if one of the two is missing.
    """
    if missing := tuple(name for name in (better, worse) if name not in values):
        return Judgement(sentence, "not run", missing=missing)
    if coloured is None:
        coloured = ~next(iter(scores.tables.values()))["gray"].to_numpy()
    difference = np.asarray(values[better], "float64") - np.asarray(values[worse], "float64")
    claim = Claim(sentence, better, worse, "")
    found = judge(claim, [sign * difference[coloured]], _epochs(scores, better, worse), training)
    return replace(found, unit=unit, digits=digits)


def compare_settings(grid, sentence, column, by, better, worse, lower=False, unit=""):
    """Judge a claim about a setting by several trainings, averaged over all other settings of each seed.

    Args:
        grid: pandas DataFrame, one row a training, with its settings, `seed`, the scored `epoch`, and its results.
        sentence: the claim.
        column: the result that is compared.
        by: the setting; the claim says that its value `better` is better than `worse`.
        lower: whether lower results are better.
        unit: what the difference is in.

    Returns:
        `Judgement`; "not run" if the grid lacks one of the two values.
    """
    chosen = grid[grid[by].isin([better, worse])]
    means = chosen.groupby(["seed", by])[column].mean().unstack()
    if missing := tuple(f"{by} {value}" for value in (better, worse) if value not in means):
        return Judgement(sentence, "not run", missing=missing)
    differences = (means[worse] - means[better]) if lower else (means[better] - means[worse])
    scored = chosen.groupby(by)["epoch"].unique()
    epochs = ["+".join(map(str, sorted(scored[value]))) for value in (better, worse)]
    return replace(judge(Claim(sentence, str(better), str(worse), column), differences.tolist(), epochs), unit=unit)


def plain(judgements, decides=True):
    """{sentence: `Judgement.plain`}, the entry "claims" of `metrics.json`; `decides` as in `table`."""
    return {found.sentence: found.plain(decides) for found in judgements}


def table(judgements, decides=True):
    """The claims as a table of text.

    Args:
        judgements: list of `Judgement`.
        decides: False for a quick run: differences without verdicts.
    """
    import pandas as pd

    lines = []
    for found in judgements if decides else [found for found in judgements if found.difference is not None]:
        line = {"claim": found.sentence, "epochs": " and ".join(map(str, found.epochs)) or "–"}
        line[DIFFERENCE] = "–"
        if found.difference is not None:
            mean, low, high = (number(value, found.digits) for value in (found.difference, found.low, found.high))
            between = f" [{low}, {high}]" if low != high else ""
            line[DIFFERENCE] = mean + between
        line["in"] = found.unit.rstrip(" ↑↓") or "–"
        if decides:
            line["verdict"] = found.verdict
        lines.append(line)
    names = ["claim", "epochs", DIFFERENCE, "in", *(["verdict"] if decides else [])]
    return without_empty_columns(pd.DataFrame(lines, columns=names).set_index("claim"))


def shown(judgements, decides=True):
    """`plots.Markdown`: the `table` of the claims that the run can judge, and a sentence on what the other claims need.

    The table's sentences are left-aligned, and its numbers are not wrapped.
    """
    judged = [found for found in judgements if found.difference is not None]
    text = []
    if judged:
        found = table(judged, decides).reset_index()
        rows = [
            [row[0], *(text.replace(" ", "\N{NO-BREAK SPACE}") for text in row[1:])]
            for row in found.to_numpy().tolist()
        ]
        lines = [list(found.columns), [":--"] * len(found.columns), *rows]
        text.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    missing = dict.fromkeys(name for found in judgements for name in found.missing)
    if waiting := len(judgements) - len(judged):
        number = f"{waiting} other" if judged else f"None is judged: {waiting}"
        claims_ = "claim waits" if waiting == 1 else "claims wait"
        text.append(f"{number} {claims_} for a run that has what this one lacks: {', '.join(missing)}.")
    return Markdown("\n\n".join(text))


def over_seeds(merged):
    """Judge claims again whose differences were merged over the seeds of several runs.

    Args:
        merged: {sentence: {"difference": {"per_seed": [...]}, "verdict": …, …}}, from `reproduction.series.merged`.

    Returns:
        The same with verdicts over all seeds; "not comparable" stays, and quick runs have no verdicts.
    """
    result = {}
    for sentence, found in merged.items():
        difference = found.get("difference")
        if isinstance(difference, dict) and found.get("verdict", NOT_COMPARABLE) != NOT_COMPARABLE:
            found = found | {"verdict": verdict(difference["per_seed"])}
        result[sentence] = found
    return result
