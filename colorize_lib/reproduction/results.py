"""`results/`: small files of real runs, and the tables made from them.

`results/PAPER/` holds `metrics.json`, `manifest.json`, `paper_vs_here.csv`, `SYSTEM/history.csv` and `photos.png` of the paper's
best run, the one with the largest budget: a whole paper profile before any other, then epochs times training images. A run that has
another system, or more of one, stays in `results/PAPER/more/NUMBER/`, so that every system is shown by its best run.

README's tables stand between two comments and are never typed; neither is `results/index.html` (`gallery`). `python -m
colorize_lib results` writes both, a test compares. `results/explanations.toml` says for each system whose number lies outside the
interval why it does: `[PAPER]`, then `system = "sentence"`.
"""

import math
import shutil
import tempfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from colorize_lib import files, papers
from colorize_lib.errors import InputError, reason
from colorize_lib.evaluation import statistics

ROOT = Path(__file__).parents[2]
BEGIN = "<!-- results: made by `make results` -->"
END = "<!-- end of results -->"
CLAIMS = "Claims"  # the caption of the table that is in the gallery only
PAPERS = papers.KEYS


@dataclass(frozen=True)
class Column:
    """A number a system has: its `heading`, its `names` in `metrics.json` (the first one found is taken), the `digits` after
    the point, its name in `papers.toml`, and whether the two measure the same."""

    heading: str
    names: tuple
    digits: int
    published: str | None = None
    same: bool = True


@dataclass(frozen=True)
class Layout:
    """A table of a paper: what it `shows`, its part of `papers.toml`, its columns, and the systems to expect beside the
    published ones. `only`: those and no others of the run."""

    shows: str
    published: str | None
    columns: tuple
    systems: tuple = ()
    only: bool = False


_PSNR = Column("PSNR, dB", ("psnr_rgb",), 2)
_SSIM = Column("SSIM", ("ssim",), 4)
_DELTA_E = Column("ΔE2000", ("delta_e2000",), 2)
_COLORFULNESS = Column("colourfulness", ("colorfulness",), 1)
_SHARE = ("validation_accuracy", "best_validation_larger_channel_accuracy", "larger_channel_accuracy", "accuracy")
_TABLE1 = tuple(f"polychromify_v{version}" for version in range(1, 7))
LAYOUTS = {
    "autoencoders": (
        Layout(
            "Section 5",
            "accuracy",
            (Column('larger channel right ("accuracy")', _SHARE, 3, "accuracy"), _PSNR, _SSIM, _DELTA_E, _COLORFULNESS),
            ("resnet50_autoencoder", "pix2pix_unet", "dropout_autoencoder"),
        ),
    ),
    "polychromify": (
        Layout(
            "Table 2",
            "table2",
            (
                Column("PSNR, dB", ("psnr_rgb",), 2, "psnr_rgb"),
                Column("SSIM", ("ssim",), 4, "ssim"),
                _DELTA_E,
                _COLORFULNESS,
            ),
        ),
        Layout(
            "Table 1",
            "table1",
            (
                Column("validation PSNR of ab, dB", ("best_validation_psnr_ab",), 2, "psnr_ab"),
                Column("minutes of training", ("minutes",), 0, "minutes"),
            ),
            only=True,
        ),
    ),
    "unet": (
        Layout(
            "Test photographs",
            None,
            (_PSNR, _SSIM, _DELTA_E, _COLORFULNESS, Column("error of L", ("mae_lightness",), 1)),
            ("yosemite_unet",),
        ),
    ),
    "resnet-mrf": (
        Layout(
            "Test photographs", None, (_PSNR, _SSIM, _DELTA_E, _COLORFULNESS), ("colornet", "colornet_distribution")
        ),
    ),
    "vacgan": (
        Layout(
            "Table 1",
            "table1",
            (
                Column("training MAE", ("train_mae",), 4, "train_mae"),
                Column("validation MAE", ("validation_mae",), 4, "validation_mae"),
                Column("test MAE", ("test_mae",), 4, "test_mae"),
                Column("told from real (paper: people; here: a network)", ("told_apart",), 3, "turing", same=False),
                _DELTA_E,
                _COLORFULNESS,
            ),
        ),
    ),
}
# A system joined from networks that are trained one by one.
PARTS = {"polychromify_ab": ("polychromify_a", "polychromify_b")}


@dataclass
class RunFolder:
    """A collected run: its folder and the contents of its two JSON files."""

    folder: Path
    metrics: dict
    manifest: dict

    @classmethod
    def read(cls, folder):
        """The finished run in `folder`. Raises InputError if there is none."""
        from colorize_lib.training import runs

        manifest = runs.read_manifest(folder / "manifest.json")
        if not manifest.get("finished") or not (folder / "metrics.json").exists():
            raise InputError(
                f"The run in {folder} is not finished: run `{manifest['command']} RUN={folder.resolve().name}` again, it goes on "
                "where it was."
            )
        run = cls(folder, runs.read_manifest(folder / "metrics.json"), manifest)
        try:
            if not all(
                0 <= number < math.inf for system in run.systems for number in (run.budget(system)[1], run.seeds())
            ):
                raise ValueError("epochs, images or seeds")
        except Exception as error:  # numbers of another kind can fail anywhere
            raise InputError(
                f"The numbers in {folder / 'metrics.json'} are damaged ({reason(error)}): run `{manifest['command']}` again."
            ) from error
        return run

    @property
    def systems(self):
        return self.metrics.get("systems", {})

    def epochs(self, system):
        """Epochs of the system's networks, as far as the run says."""
        known = self.metrics.get("epochs", {})
        return [known[part] for part in PARTS.get(system, (system,)) if part in known]

    def budget(self, system):
        """How much was spent on a system: (is it the whole paper profile, epochs times training images)."""
        images = self.metrics.get("training_images") or 0
        return self.metrics.get("label") == "paper", sum(map(_mean, self.epochs(system))) * images

    def total(self):
        """As `budget`, of the system with the largest."""
        return max((self.budget(system) for system in self.systems), default=(False, 0))

    def seeds(self):
        return len(self.metrics.get("seeds", ())) or self.manifest.get("parameters", {}).get("seeds") or 1


def collected(paper, root=None):
    """The runs of a paper in `results/`, the best first."""
    home = (root or ROOT / "results") / paper
    places = [home, *sorted((home / "more").glob("*/"))]
    return [RunFolder.read(place) for place in places if (place / "metrics.json").exists()]


def _best(found):
    """{system: the run that shows it}: the one with the largest budget, of equal ones the earlier in the list."""
    systems = dict.fromkeys(system for run in found for system in run.systems)
    return {
        system: max((run for run in found if system in run.systems), key=lambda run: run.budget(system))
        for system in systems
    }


def collect(folder, target=None):
    """Copy the small files of a finished run to `results/PAPER/`.

    Of equal budgets the new run wins; an earlier run stays as far as one of its systems is still the best.

    Returns:
        The folder of the paper in `results/`.

    Raises:
        InputError: no finished run; one of the quick profile; one that is better in nothing than what is there.
    """
    folder = Path(folder)
    new = RunFolder.read(folder)
    if new.manifest.get("parameters", {}).get("profile") == "quick":
        raise InputError(
            f"The run in {folder} is of the quick profile, whose numbers say that everything works, no more: "
            "results/ takes runs of PROFILE=paper."
        )
    paper = new.manifest["notebook"].replace("_", "-")
    target = (Path(target) if target else ROOT / "results") / paper
    found = sorted(
        [new, *collected(paper, target.parent)], key=RunFolder.total, reverse=True
    )  # stable: the new one first
    best = _best(found)
    kept = [run for run in found if run is found[0] or any(shown is run for shown in best.values())]
    if not any(run is new for run in kept):
        raise InputError(
            f"The run in {folder} had a smaller budget than the one in {target} for each of its systems, which therefore "
            "stays; delete that folder to replace it."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=target.parent) as temporary:
        for number, run in enumerate(kept):
            _copy(run.folder, Path(temporary) / paper / (f"more/{number}" if number else ""))
        shutil.rmtree(target, ignore_errors=True)
        (Path(temporary) / paper).rename(target)
    return target


def _copy(folder, place):
    """The small files of a run, or of one collected before, to `place`."""
    names = ["manifest.json", "metrics.json", "paper_vs_here.csv", "photos.png"]
    chosen = [folder / name for name in names if (folder / name).exists()] + sorted(folder.glob("*/history.csv"))
    for path in [*chosen, folder / "figures" / "photos.png"]:
        if path.exists():
            copy = place / ("photos.png" if path.suffix == ".png" else path.relative_to(folder))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


# What README and the gallery both show.


@dataclass
class Shown:
    """A table as text: its `caption`, its `header`, and its `rows`."""

    caption: str
    header: list
    rows: list


@dataclass
class Section:
    """What is shown of a paper: `title`, `authors`, a sentence on each run, tables, and lines on what differs from the paper."""

    paper: str
    title: str
    authors: str
    sentences: list
    tables: list
    differences: list = field(default_factory=list)


def section(paper):
    """The `Section` of a paper, from `results/` and `papers.toml`; without a run, its systems and the word "not run"."""
    found = collected(paper)
    published = papers.published(paper)
    authors = published["authors"] + (f" {published['year']}" if "year" in published else "")
    shown = Section(paper, published["title"], authors, [], [])
    letters = {id(run): letter for run, letter in zip(found, "abcdefgh", strict=False)} if len(found) > 1 else {}
    for run in found:
        letter = f"Run {letters[id(run)]}: " if letters else ""
        shown.sentences.append(letter + _sentence(run))
    if not found:
        shown.sentences.append("not run on the paper's data yet.")
    best = _best(found)
    explanations = _explanations().get(paper, {})
    elsewhere = {name for layout in LAYOUTS[paper] if layout.only for name in published.get(layout.published, {})}
    for layout in LAYOUTS[paper]:
        rows = {key: _row(value) for key, value in published.get(layout.published, {}).items()}
        systems = [*rows, *(() if found and not rows else layout.systems)]
        if not layout.only:
            systems += [name for name in best if name not in elsewhere]
        shown.tables.append(_table(layout, list(dict.fromkeys(systems)), rows, best, letters))
        for system in rows:
            outside = [
                column.heading.removesuffix(", dB")
                for column in layout.columns
                if _is_outside(column, rows, best, system)
            ]
            if outside:
                reason = explanations.get(system, "not explained yet.")
                shown.differences.append(f"{system}, {' and '.join(outside)}: {reason}")
    shown.tables += _claims(found)
    return shown


def _row(value):
    """A published row; `papers.toml` has a bare number where there is but one metric."""
    return value if isinstance(value, dict) else {"accuracy": value}


def _explanations():
    path = ROOT / "results" / "explanations.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _sentence(run):
    metrics, manifest = run.metrics, run.manifest
    hardware = manifest.get("hardware", {})
    device = ", ".join(hardware.get("gpus") or hardware.get("accelerators", ())) or (
        f"{hardware.get('processor', 'unknown processor')}, {hardware.get('cores', '?')} cores"
    )
    names = dict.fromkeys(found["name"] for found in manifest.get("datasets", {}).values())
    own = papers.published(manifest["notebook"].replace("_", "-"), "dataset")
    stand_in = f", in place of {own}" if names and own not in names else ""
    parts = [f"{metrics.get('label', 'budgeted')} run on {' and '.join(names) or 'unknown data'}{stand_in}"]
    size, width = (manifest.get("parameters", {}).get(name) for name in ("size", "width"))
    if size:
        parts.append(f"{size}×{size} pixels")
    if width not in (None, 1):
        parts.append(f"width {width:g}")
    if metrics.get("training_images"):
        parts.append(f"{metrics['training_images']:,} training images")
    if metrics.get("test_images"):
        gray = metrics.get("gray_test_images")
        colour = f" ({gray} of them without colour)" if gray is not None else ""
        parts.append(f"scored on {metrics['test_images']:,} test images{colour}")
    parts.append(device)
    if metrics.get("minutes"):
        hours = sum(value for value in map(_mean, metrics["minutes"].values()) if value) / 60
        parts.append(f"{hours:.1f} hours of training" if hours >= 1 else f"{60 * hours:.0f} minutes of training")
    seed, count = manifest.get("parameters", {}).get("seed"), run.seeds()
    parts.append(f"seed {seed}" if count == 1 else f"{count} seeds")
    if len(metrics.get("seeds", ())) > 1:
        parts.append("mean ± standard deviation over them")
    return ", ".join(parts) + ", best epoch chosen on the validation split."


def _mean(value):
    """The number of {"mean": …}, or of a table's row {"paper": …, "here": …}, or the value itself."""
    return value.get("mean", value.get("here")) if isinstance(value, dict) else value


def _find(run, system, names):
    """A system's number in a run: from its summary, or from a dictionary of all systems by the metric's name; None without one."""
    for name in names:
        for value in (run.systems.get(system, {}).get(name), _of_systems(run.metrics.get(name), system)):
            if _mean(value) is not None:
                return value
    return None


def _of_systems(values, system):
    """A system's entry in {system: number}; of a joined system the sum over its parts, where each has one."""
    if not isinstance(values, dict):
        return None
    if system in PARTS and system not in values and all(part in values for part in PARTS[system]):
        return sum(_mean(values[part]) for part in PARTS[system])
    return values.get(system)


def _number(value, digits):
    if value is None:
        return "–"
    if not isinstance(value, dict) or "mean" not in value:
        return f"{_mean(value):.{digits}f}"
    if value.get("spread") is not None:
        return f"{value['mean']:.{digits}f} ± {value['spread']:.{digits}f}"
    if value.get("low") is None or value.get("high") is None:
        return f"{value['mean']:.{digits}f}"
    return f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def _is_outside(column, published, best, system):
    """Whether the paper's number lies outside the interval of ours."""
    paper = published.get(system, {}).get(column.published)
    ours = _find(best[system], system, column.names) if system in best else None
    if paper is None or not column.same or not isinstance(ours, dict) or ours.get("low") is None:
        return False
    return not ours["low"] <= paper <= ours["high"]


def _table(layout, systems, published, best, letters):
    printed = {name for row in published.values() for name in row}
    header = ["system", *(["run"] if letters else []), "epochs"]
    if not any(column.names == ("minutes",) for column in layout.columns):
        header.append("minutes")
    timed = "minutes" in header
    for column in layout.columns:
        header += [f"{column.heading}: paper", "here"] if column.published in printed else [column.heading]
    lines = []
    for system in systems:
        run = best.get(system)
        epochs = " + ".join(f"{_mean(value):g}" for value in run.epochs(system)) if run else ""
        line = [system, *([letters.get(id(run), "–")] if letters else []), epochs or "–"]
        if timed:
            line.append(_number(_find(run, system, ("minutes",)) if run else None, 0))
        missing = "–" if run else "not run"
        for column in layout.columns:
            ours = _find(run, system, column.names) if run else None
            if column.published in printed:
                paper = published.get(system, {}).get(column.published)
                line.append("–" if paper is None else f"{paper:g}" if isinstance(paper, int) else str(paper))
                line.append(_number(ours, column.digits) if run else missing)
            else:
                line.append(_number(ours, column.digits))
        if not run and "not run" not in line:
            line[-len(layout.columns)] = "not run"
        lines.append(line)
    return Shown(layout.shows, header, lines)


def _claims(found):
    """A table of verdicts on the paper's claims, where a run has them.

    `claims` is {claim: {"verdict", "per_seed"}}, the interval then being over seeds, or {claim: {"verdict", "difference", "low",
    "high"}}, over images, or the latter as a list.
    """
    for run in found:
        rows = []
        for claim, value in (run.metrics.get("claims") or {}).items():
            if isinstance(value, list) and len(value) == 4:
                value = dict(zip(("difference", "low", "high", "verdict"), value, strict=True))
            if not isinstance(value, dict):
                continue
            numbers, difference = value.get("per_seed") or [], value.get("difference")
            bounds = value.get("low"), value.get("high")
            if len(numbers) > 1 or (numbers and difference is None):
                difference, *bounds = statistics.seed_interval(numbers)
            text = "–" if _mean(difference) is None else f"{_mean(difference):.4g}"
            if None not in bounds and all(map(math.isfinite, map(_mean, bounds))):
                text += f" [{_mean(bounds[0]):.4g}, {_mean(bounds[1]):.4g}]"
            verdict = value.get("verdict", "–")
            rows.append([claim, ", ".join(verdict["per_seed"]) if isinstance(verdict, dict) else str(verdict), text])
        if rows:
            return [Shown(CLAIMS, ["claim", "verdict", "difference, 95 % interval"], rows)]
    return []


def _cell(text):
    return str(text).replace("|", "\\|")


def _markdown(shown):
    link = f"[{shown.paper}](results/{shown.paper})" if (ROOT / "results" / shown.paper).exists() else shown.paper
    lines = [f"**{shown.title}** ({link}): {shown.sentences[0]}", ""]
    for sentence in shown.sentences[1:]:
        lines += [sentence, ""]
    tables = [table for table in shown.tables if table.caption != CLAIMS]
    for table in tables:
        header = [f"{table.caption}: {table.header[0]}", *table.header[1:]] if len(tables) > 1 else table.header
        lines += [f"| {' | '.join(map(_cell, header))} |", f"|{' --- |' * len(header)}"]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in table.rows]
        lines.append("")
    if shown.differences:
        lines += ["Where the paper's number lies outside our interval:", ""]
        lines += [*(f"- {line}" for line in shown.differences), ""]
    if len(tables) < len(shown.tables):
        lines += [f"{len(shown.tables[-1].rows)} claims have a verdict in the [gallery](results/index.html).", ""]
    return lines


def table():
    """The generated part of README, as text."""
    return "\n".join([BEGIN, "", *(line for paper in PAPERS for line in _markdown(section(paper))), END])


def write_readme(path=None):
    """Write the tables into README. Raises InputError if README has lost the two comments."""
    path = Path(path or ROOT / "README.md")
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path} has no place for the table: it needs the lines {BEGIN} and {END}.")
    files.write_text(path, before + table() + after)
