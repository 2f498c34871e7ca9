"""The recorded runs in `results/`, and the sections about them in its documents.

`results/PAPER/` has the small files of the paper's best run: `metrics.json`, `manifest.json`, `paper_vs_here.csv`,
`SYSTEM/history.csv`, `SYSTEM/scores.csv.gz`, pictures, and the executed notebook. The best run is the one with the largest
budget: a whole paper profile comes before all others; otherwise epochs times training images count. A run that has another
system, or a larger budget for one, stays in `results/PAPER/more/NUMBER/`, so that every system is shown by its best run.

`section(paper)` collects what is shown of a paper; `gallery` makes `results/README.md` and `results/index.html` from it.
`results/explanations.toml` explains the numbers of a run in words.
"""

import math
import re
import shutil
import tempfile
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path

from colorize_lib import papers
from colorize_lib.errors import InputError, reason
from colorize_lib.evaluation import claims, scores, statistics
from colorize_lib.reproduction import rescore, standalone
from colorize_lib.reproduction.closing import is_constant

ROOT = Path(__file__).parents[2]
PICTURES = (".jpg", ".png", ".webp")
LARGEST = 1_500_000  # bytes of a picture or an executed notebook in results/


@dataclass(frozen=True)
class Metric(scores.Quantity):
    """A column of a table. `digits` may be None: all of them; with 0, numbers below 10 have one.

    Attributes:
        scale: factor from the number in a file to the one that is shown, such as 100 for per cent.
        names: its possible names in `metrics.json`, the first that exists is used; () for its own name.
        published: its name in `papers.toml`; None for its own name.
        same: whether the paper's number measures the same thing.
    """

    names: tuple = ()
    published: str | None = None
    same: bool = True
    scale: float = 1


_ACCURACY = ("validation_accuracy", "best_validation_larger_channel_accuracy", "larger_channel_accuracy", "accuracy")
METRICS = {name: Metric(found.heading, found.digits, found.sign) for name, found in scores.QUANTITIES.items()} | {
    "psnr_ab": Metric("validation PSNR of ab, dB ↑", 2, 1, ("validation_psnr_ab", "best_validation_psnr_ab")),
    "minutes": Metric("minutes of training", 0),
    "larger_channel": Metric(
        "best validation accuracy (larger channel right), % ↑", 1, 1, _ACCURACY, "accuracy", scale=100
    ),
    "learning_rate": Metric("best learning rate", None),
    "train_mae": Metric("training MAE ↓", 4, -1),
    "validation_mae": Metric("validation MAE ↓", 4, -1),
    "test_mae": Metric("test MAE ↓", 4, -1),
    "hue_distance": Metric("hue distance ↓", 0, -1),
    "recognised": Metric("recognized, % ↑", 1, 1, scale=100),
    "told_apart": Metric("told from real, % ↓", 1, -1, (), "turing", same=False, scale=100),
}
METRICS["delta_e2000"] = replace(METRICS["delta_e2000"], digits=1)  # the intervals support no second one
# Verdicts on claims that a run does not test, and the reasons.
UNTESTED = {"not run": "not all run", "not comparable": "not scored after equally many epochs"}


@dataclass
class RunFolder:
    """A recorded run: its folder and the contents of its two JSON files."""

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
                f"The run in {folder} is not finished: run `{manifest['command']} RUN={folder.resolve().name}` again, and it "
                "resumes."
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

    @property
    def paper(self):
        return self.manifest["notebook"]

    def epochs(self, system):
        """Epochs of the system's networks, if the run records them."""
        known = self.metrics.get("epochs", {})
        return [known[part] for part in rescore.PARTS.get(system, (system,)) if part in known]

    def scored(self, system):
        """The scored epoch as text. Older runs do not record it: they scored the best one by validation."""
        if "epoch" in self.systems.get(system, {}):
            epoch = self.systems[system]["epoch"]
            return "–" if epoch == "0" else epoch
        found = []
        for part in rescore.PARTS.get(system, (system,)):
            if rows := scores.history(self.folder, part.partition(" (")[0]):
                found.append(f"{scores.best_row(rows)['epoch']:g}")
        return " + ".join(found if len(set(found)) > 1 else found[:1]) or "–"

    def budget(self, system):
        """A system's budget: (whether it is the whole paper profile, epochs times training images)."""
        images = self.metrics.get("training_images") or 0
        return self.metrics.get("label") == "paper", sum(map(_mean, self.epochs(system))) * images

    def total(self):
        """The largest `budget` of a system."""
        return max((self.budget(system) for system in self.systems), default=(False, 0))

    def seeds(self):
        return len(self.metrics.get("seeds", ())) or self.manifest.get("parameters", {}).get("seeds") or 1

    def training_hours(self):
        """Hours of training of all its networks, or None."""
        minutes = [value for value in map(_mean, self.metrics.get("minutes", {}).values()) if value]
        return _mean(self.metrics.get("training_minutes", sum(minutes))) / 60 or None

    def machine(self):
        """The accelerators, or the processor and its cores."""
        hardware = self.manifest.get("hardware", {})
        return ", ".join(hardware.get("gpus") or hardware.get("accelerators", ())) or (
            f"{hardware.get('processor', 'unknown processor')}, {hardware.get('cores', '?')} cores"
        )

    def find(self, system, metric):
        """A system's number, from its summary or from the dictionary of a metric, or None."""
        for name in METRICS[metric].names or (metric,):
            for value in (self.systems.get(system, {}).get(name), _of_systems(self.metrics.get(name), system)):
                if _mean(value) is not None:
                    return value
        return None

    def all_images(self, system, metric):
        """Like `find`, averaged over all images, as in the papers; older runs have only this average."""
        return self.metrics.get("all_images", {}).get(system, {}).get(metric) or self.find(system, metric)

    def other_epoch(self, system, metric):
        """Like `all_images`, of the epoch that is not shown: the best or the last."""
        return self.metrics.get("other_epoch", {}).get("all_images", {}).get(system, {}).get(metric)

    def coloured(self, system, metric):
        """Like `find`, averaged over the images that have colour, or None."""
        if metric in self.metrics.get("all_images", {}).get(system, {}):
            return self.find(system, metric)
        return self.metrics.get(f"{metric}_of_coloured_images", {}).get(system)


def collected(paper, root=None):
    """The recorded runs of a paper, the best one first."""
    home = (root or ROOT / "results") / paper
    places = [home, *sorted((home / "more").glob("*/"))]
    return [RunFolder.read(place) for place in places if (place / "metrics.json").exists()]


def _best(found):
    """{system: its run with the largest budget, of equal ones the first}."""
    systems = dict.fromkeys(system for run in found for system in run.systems)
    return {
        system: max((run for run in found if system in run.systems), key=lambda run: run.budget(system))
        for system in systems
    }


def collect(folder, target=None):
    """Copy the small files of a finished run to `results/PAPER/`.

    If budgets are equal, the new run replaces the old one; an earlier run stays as long as one of its systems is the best.

    Returns:
        The folder of the paper in `results/`.

    Raises:
        InputError: the run is not finished, of the quick profile, of no paper, or has a larger budget for none of its systems.
    """
    folder = Path(folder)
    new = RunFolder.read(folder)
    if new.manifest.get("parameters", {}).get("profile") == "quick":
        raise InputError(
            f"The run in {folder} is of the quick profile, whose numbers only say that everything works: results/ takes runs "
            "of PROFILE=paper."
        )
    if new.paper not in papers.NOTEBOOKS:
        raise InputError(
            f"The run in {folder} is of {new.paper!r}, which is not a notebook here: they are {', '.join(papers.NOTEBOOKS)}."
        )
    target = (Path(target) if target else ROOT / "results") / new.paper
    others = collected(new.paper, target.parent)
    found = sorted([new, *others], key=RunFolder.total, reverse=True)  # stable: the new one first
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
            place = Path(temporary) / new.paper / (f"more/{number}" if number else "")
            _copy(run.folder, place, new.paper)
            if new.paper in papers.KEYS:  # no one loads the weights of the comparison
                rescore.bundle_weights(run.folder, place, run.metrics.get("keep", "last"))
        shutil.rmtree(target, ignore_errors=True)
        (Path(temporary) / new.paper).rename(target)
    return target


def _copy(folder, place, paper):
    """Copy the small files of a run to `place`; pictures become JPEG."""
    names = ("manifest.json", "metrics.json", "paper_vs_here.csv", "notebook.html", "*/history.csv", "*/scores.csv.gz")
    for path in (path for name in names for path in sorted(folder.glob(name))):
        if path.stat().st_size > LARGEST:
            print(f"{path} is larger than {LARGEST / 1e6} MB: it stays where it is")
        elif not path.is_relative_to(folder / "more"):
            copy = place / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    for path in sorted((folder / "figures").glob("*")):
        if path.suffix in PICTURES and path.stem in figures(paper):
            (place / "figures").mkdir(exist_ok=True)
            standalone.write_picture(path, place / "figures" / f"{path.stem}.jpg", LARGEST)


def figures(paper):
    """{name: caption} of the figures that are shown of a paper's runs, in order."""
    photos = {"photos": "Bundled photographs, none of them used for training"} if paper in papers.KEYS else {}
    return photos | papers.published(paper).get("figures_shown", {})


# Sections of the documents.


@dataclass
class Table:
    """A table as Markdown texts: its `caption`, its `header`, its `rows`, and a `note` below it.

    `folded` tables are shown on a click; `details` is None or a folded table with the less important columns.
    """

    caption: str
    header: list
    rows: list
    note: str = ""
    folded: bool = False
    details: "Table | None" = None


@dataclass
class Section:
    """What is shown of a paper.

    Attributes:
        paper: its key.
        headline: {"claim", "paper", "here", "budget", "verdict"}, the row of the first table.
        runs: the recorded runs, the best first; `letters` are {id of a run: its letter} if there are several, and `sentences` has
            one text about each, followed by remarks on several of them.
        tables: tables of numbers.
        claims: up to two tables: claims with a verdict, and claims that the runs do not test.
        differences, failures: lines about what differs from the paper, and about what went wrong.
    """

    paper: str
    headline: dict
    runs: list
    letters: dict
    sentences: list
    tables: list
    claims: list = field(default_factory=list)
    differences: list = field(default_factory=list)
    failures: list = field(default_factory=list)


def section(paper):
    """The `Section` of a paper, from `results/` and `papers.toml`; without a recorded run, its systems are "not run"."""
    found = collected(paper)
    published = papers.published(paper)
    words = explained().get(paper, {})
    if not found or words.get("run") != found[0].manifest["finished"]:
        words = {}  # they are about another run
    letters = {id(run): letter for run, letter in zip(found, "abcdefgh", strict=False)} if len(found) > 1 else {}
    sentences = [(f"**Run {letters[id(run)]}.** " if letters else "") + _sentence(run) for run in found]
    sentences = [*sentences, *_remarks(found, letters)] or ["Not run on the paper's data yet."]
    shown = Section(
        paper, _headline(paper, found, words), found, letters, sentences, [], failures=words.get("failures", [])
    )
    best = _best(found)
    elsewhere = {
        name for layout in published["tables"] if layout.get("only") for name in published[layout["published"]]
    }
    for layout in published["tables"]:
        rows = published.get(layout.get("published"), {})
        # A row is a number if there is only one metric.
        rows = {key: row if isinstance(row, dict) else {"accuracy": row} for key, row in rows.items()}
        systems = [*rows, *(() if found and not rows else layout.get("systems", ()))]
        if not layout.get("only"):
            systems += [name for name in best if name not in elsewhere]
        systems = [name for name in dict.fromkeys(systems) if re.search(layout.get("rows", ""), name)]
        if "sort" in layout:
            sign, metric = METRICS[layout["sort"]].sign, layout["sort"]
            systems.sort(key=lambda name: -sign * _mean(best[name].find(name, metric) or math.inf))
        systems.sort(key=is_constant)  # stable: constants come last
        shown.tables.append(_table(layout, systems, rows, best, letters))
        for system in rows:
            outside = [METRICS[name].heading for name in layout["columns"] if _is_outside(name, rows, best, system)]
            if outside:
                why = words.get("differs", {}).get(system, "not explained yet")
                outside = " and ".join(heading.rstrip(" ↑↓").removesuffix(", dB") for heading in outside)
                shown.differences.append(f"{_name(system)}, {outside}: {why}.")
    shown.claims = _claims(found, words.get("claims", {}), [claim.sentence for claim in claims.of_paper(paper)])
    return shown


def explained():
    """`results/explanations.toml`: words about the papers' best runs, and "missing", what no run has: "what", "command", "time"."""
    path = ROOT / "results" / "explanations.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _headline(paper, found, words):
    """The row of a paper in the first table, as texts."""
    published = papers.published(paper)
    line = {"claim": published["claim"], "paper": "no number", "here": "–", "budget": "–", "verdict": "not run"}
    place, ours = published["headline"], None
    if "metric" in place:
        metric = METRICS[place["metric"]]
        value = papers.published(paper, *place["paper"])
        words_of_it, _, unit = metric.heading.rstrip(" ↑↓").partition(", ")
        line["paper"] = f"{words_of_it} {_text(value, metric)} {unit}".strip()
    if not found:
        return line
    run = found[0]
    if "metric" in place:
        ours = run.metrics
        for key in place["here"]:
            ours = ours.get(key) if isinstance(ours, dict) else None
        if place["here"][0] == "systems":
            ours = run.all_images(place["system"], place["metric"])  # as the paper averages
        line["here"] = _number(ours, metric)
    line["here"] = words.get("here", line["here"])
    line["budget"] = _budget(run, place["system"])
    inside = isinstance(ours, dict) and ours.get("low") is not None and ours["low"] <= value <= ours["high"]
    default = "not testable at this budget" if run.metrics.get("label") != "paper" else "differs, not explained yet"
    line["verdict"] = "reproduced within the interval" if inside else words.get("verdict", default)
    return line


def _budget(run, system):
    """The system's epochs, those of the paper, and the data, in words."""
    width = run.manifest.get("parameters", {}).get("width")
    narrow = f" at width {width:g}" if width not in (None, 1) else ""
    own = papers.published(run.paper, "dataset")
    stands_in = own not in {found["name"] for found in run.manifest.get("datasets", {}).values()}
    return f"{_epochs(run, system)} epochs{narrow} on {'a stand-in for ' * stands_in}{papers.DATASETS[own]}"


def _data(run):
    names = dict.fromkeys(found["name"] for found in run.manifest.get("datasets", {}).values())
    own = papers.published(run.paper, "dataset")
    shown = " and ".join(papers.DATASETS.get(name, name) for name in names) or "unknown data"
    return f"on {shown}" + (f" in place of {papers.DATASETS[own]}" if names and own not in names else "")


def _sentence(run):
    """What was run, on what, and for how long, in a few short sentences."""
    metrics, values = run.metrics, run.manifest.get("parameters", {})
    width = f" and width {values['width']:g}" if values.get("width") not in (None, 1) else ""
    size = f", at {values['size']}×{values['size']} pixels{width}" if values.get("size") else ""
    images = [f"{metrics['training_images']:,} training images"] if metrics.get("training_images") else []
    if metrics.get("test_images"):
        gray = metrics.get("gray_test_images")
        colour = f" ({gray} of them without colour)" if gray is not None else ""
        images.append(f"{metrics['test_images']:,} test images{colour}")
    text = f"{'The paper profile' if metrics.get('label') == 'paper' else 'A budgeted run'} {_data(run)}{size}"
    text += (": " if images else "") + " and ".join(images) + ". "
    count = run.seeds()
    seeds = f"seed {values.get('seed')}" if count == 1 else f"{count} seeds"
    took = f"Training took {duration(hours)}" if (hours := run.training_hours()) else "It was trained"
    text += f"{took} ({run.machine()}, {seeds})"
    text += "; numbers are the mean ± standard deviation over them" if len(metrics.get("seeds", ())) > 1 else ""
    return f"{text}. The {metrics.get('keep', 'best')} epoch is scored."


def duration(hours):
    """Hours, or minutes where it is less than one, in words."""
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"


def _remarks(found, letters):
    """Remarks on the numbers of older runs, each sentence once, with the runs that it is about."""
    about = {}
    for run in found:
        remarks = []
        if "all_images" not in run.metrics:
            remarks.append(
                "This run did not keep the scores of each image: numbers are averages over all images, unless a column "
                "says otherwise."
            )
        if fixes := run.manifest.get("predates"):
            remarks.append(
                f"Recorded before {' and '.join(map(str, fixes))}: repeating it would give different numbers."
            )
        if remarks:
            about.setdefault(" ".join(remarks), []).append(letters.get(id(run)))
    if not letters:
        return [*about]
    found = []
    for text, runs in about.items():
        if len(runs) > 1:
            text = text.replace("This run", "These runs").replace("repeating it", "repeating them")
        found.append(f"**Run{'s' * (len(runs) > 1)} {' and '.join(runs)}.** {text}")
    return found


def _mean(value):
    """The number in {"mean": …} or in a row {"paper": …, "here": …}, or the value itself."""
    return value.get("mean", value.get("here", value.get("difference"))) if isinstance(value, dict) else value


def _of_systems(values, system):
    """A system's entry in {system: number}; for a joined system, the sum over its parts if each has one."""
    if not isinstance(values, dict):
        return None
    parts = rescore.PARTS.get(system)
    if parts and system not in values and all(part in values for part in parts):
        return sum(_mean(values[part]) for part in parts)
    return values.get(system)


def _text(number, metric):
    number, digits = metric.scale * number, metric.digits
    if digits is None:
        return f"{number:g}"
    return scores.number(number, 1 if digits == 0 and abs(number) < 10 else digits)


def _number(value, metric):
    mean = _mean(value)
    if mean is None or not math.isfinite(mean):
        return "–"
    text = _text(mean, metric)
    if isinstance(value, dict) and value.get("spread") is not None:
        return f"{text} ± {_text(value['spread'], metric)}"
    if isinstance(value, dict) and value.get("low") is not None:
        low, high = (_text(value[end], metric) for end in ("low", "high"))
        return f"{text} [{low}, {high}]" if low != high else text
    return text


def _interval(value, metric):
    if not isinstance(value, dict) or value.get("low") is None:
        return "–"
    return "–".join(dict.fromkeys(_text(value[end], metric) for end in ("low", "high")))


def _is_outside(name, published, best, system):
    """Whether the paper's number is outside our interval, both averaged over all images."""
    metric = METRICS[name]
    paper = published.get(system, {}).get(metric.published or name)
    ours = best[system].all_images(system, name) if system in best else None
    if paper is None or not metric.same or not isinstance(ours, dict) or ours.get("low") is None:
        return False
    return not ours["low"] <= paper <= ours["high"]


def _name(system):
    """A system's name in code font; a description in words is returned as it is."""
    return f"`{system}`" if re.fullmatch(r"\w+", system) else system


def _table(layout, systems, published, best, letters):
    """A table of a paper, with the best number of each column in bold, and its folded details, without empty columns."""
    runs = [best.get(system) for system in systems]
    both = [*zip(runs, systems, strict=True)]
    names = [_name(system.removesuffix(layout.get("without", ""))) for system in systems]
    main, more = [("system", names)], [("system", names)]
    if letters:
        main.append(("run", [letters.get(id(run), "–") for run in runs]))
    main.append(("epochs", [_epochs(run, system) for run, system in both]))
    more.append(("epoch scored", [run.scored(system) if run else "–" for run, system in both]))
    for name in layout["columns"]:
        shown, details = _columns(name, systems, runs, published, first=name == layout["columns"][0])
        main, more = main + shown, more + details
    for name in [*layout.get("more", ()), *(["minutes"] if "minutes" not in layout["columns"] else [])]:
        more += [column for columns in _columns(name, systems, runs, published) for column in columns]
    shown, details = _filled(layout["caption"], main), _filled("95 % intervals and more columns", more)
    details.rows = [row for row in details.rows if {*row[1:]} != {"–"}]
    if any(runs):
        shown.details = details
    else:
        shown.caption, shown.folded = f"{shown.caption}: not run", True
    by_image = {"all_images" in run.metrics for run in runs if run}
    notes = ["Means over the images that have colour."] if by_image == {True} and not published else []
    notes += [layout["note"]] if "note" in layout else []
    truth = next((run.metrics["truth"] for run in runs if run and "truth" in run.metrics), None)
    if truth and "truth" in layout:
        known = {name: _text(value, METRICS[name]) for name, value in truth.items() if name in METRICS}
        notes.append(layout["truth"].format(**known))
    shown.note = " ".join(notes)
    return shown


def _filled(caption, columns):
    """A folded table of the columns that are not empty."""
    columns = [(heading, cells) for heading, cells in columns if set(cells) != {"–"}]
    rows = [*map(list, zip(*(cells for _, cells in columns), strict=True))]
    return Table(caption, [heading for heading, _ in columns], rows)


def _columns(name, systems, runs, published, first=True):
    """The columns of one metric, and those of its details.

    They are the paper's number next to ours with the paper's average, or ours over the coloured images alone. For the `first`
    metric of a table both of ours are shown, and for any where a run tells only one of them.
    """
    metric = METRICS[name]
    short = metric.heading.partition(",")[0].rstrip(" ↑↓")
    both = [*zip(runs, systems, strict=True)]
    paper = [published.get(system, {}).get(metric.published or name) for system in systems]
    ours = [run.all_images(system, name) if run else None for run, system in both]
    coloured = [run.coloured(system, name) if run else None for run, system in both]
    shown, details = [], []
    if any(number is not None for number in paper):
        texts = ["–" if number is None else _text(number, metric) for number in paper]
        shown += [(f"{metric.heading}: paper", texts), (f"{short}: here", _bold(ours, metric, systems))]
        details.append((f"{short}: here, 95 %", [_interval(value, metric) for value in ours]))
        others = [run.other_epoch(system, name) if run else None for run, system in both]
        kept = {run.metrics.get("keep") for run, value in zip(runs, others, strict=True) if value is not None}
        details.append((f"{short}: {'best' if kept == {'last'} else 'other'} epoch", _bold(others, metric, systems)))
    elif any(number is not None and of_it is None for number, of_it in zip(ours, coloured, strict=True)):
        # Some runs tell the averages over all images only: by these, all are compared.
        mixed = any(number is not None for number in coloured)
        shown.append((f"{metric.heading}{': all images' * mixed}", _bold(ours, metric, systems)))
        details.append((f"{short}: {'all images, ' * mixed}95 %", [_interval(value, metric) for value in ours]))
        first = True
    if any(number is not None for number in coloured):
        beside = ": coloured" if published or shown else ""
        (details if shown and not first else shown).append(
            (f"{short if shown else metric.heading}{beside}", _bold(coloured, metric, systems))
        )
        details.append(
            (f"{short}{f'{beside},' if beside else ':'} 95 %", [_interval(value, metric) for value in coloured])
        )
        medians = [{"mean": value.get("median")} if isinstance(value, dict) else None for value in coloured]
        details.append((f"median {short}", _bold(medians, metric, systems) if metric.sign else ["–"]))
    return shown, details


def _epochs(run, system):
    """The epochs of a system, such as "3 of 25" if the paper tells its number."""
    if not run:
        return "not run"
    ours = [f"{_mean(value):g}" for value in run.epochs(system)]
    planned = papers.published(run.paper).get("epochs", {})
    networks = [part.partition(" (")[0] for part in rescore.PARTS.get(system, (system,))]
    paper = [planned[network] for network in networks if network in planned]
    if not ours:
        return "–"
    return " + ".join(dict.fromkeys(ours)) + (f" of {' + '.join(map(str, dict.fromkeys(paper)))}" if paper else "")


def _bold(values, metric, systems):
    """The numbers without their intervals as text, the best of the trained systems in bold."""
    known = [_mean(value) for value, system in zip(values, systems, strict=True) if not is_constant(system)]
    known = [number for number in known if number is not None]
    best = max(known, key=lambda number: metric.sign * number) if metric.sign and len(known) > 1 else None
    texts = []
    for value, system in zip(values, systems, strict=True):
        mean, _, rest = _number(value, metric).partition(" ")
        is_best = best is not None and mean == _number(best, metric) and not is_constant(system)
        spread = f" {rest}" if rest.startswith("±") else ""
        texts.append(f"**{mean}**{spread}" if is_best else mean + spread)
    return texts


def _claims(found, words, sentences):
    """The verdicts on the paper's claims, from the first run that has any: those that it tests, and the others.

    A run's `claims` are {claim: {"verdict", "difference", "low", "high", "epochs", "unit"}}, or {"verdict", "per_seed"}, or, in
    older runs, a list of difference, low, high, and verdict. `words` has today's sentences for the claims of older runs: {claim:
    [sentence, verdict]}. The paper's claims are today `sentences`; those that a run with scores by image lacks are "not run".
    """
    for run in found:
        rows = []
        for claim, value in (run.metrics.get("claims") or {}).items():
            if isinstance(value, list) and len(value) == 4:
                value = dict(zip(("difference", "low", "high", "verdict"), value, strict=True))
            numbers = value.get("per_seed") or []
            if len(numbers) > 1:
                value |= dict(zip(("difference", "low", "high"), statistics.seed_interval(numbers), strict=True))
            mean, low, high = (_mean(value.get(name)) for name in ("difference", "low", "high"))
            text = "–" if mean is None else f"{mean:.3g}"
            if low is not None and high is not None and low < high and math.isfinite(low + high):
                digits = max(0, 1 - math.floor(math.log10((high - low) / 2)))  # two digits of the interval's half width
                text = f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
            unit = value.get("unit", "").rstrip(" ↑↓")
            verdict = value.get("verdict", "–")
            verdict = ", ".join(map(str, verdict["per_seed"])) if isinstance(verdict, dict) else verdict
            if "all_images" not in run.metrics and len(numbers) < 3 and verdict in ("for", "against", "undecided"):
                verdict = f"one run: {verdict}"
            sentence, *other = words.get(claim, [claim])
            rows.append(
                [sentence, other[0] if other else verdict, f"{text} ({unit})" if unit and mean is not None else text]
            )
        if rows and "all_images" in run.metrics:
            there = [row[0] for row in rows]
            rows += [[sentence, "not run", "–"] for sentence in sentences if sentence not in there]
        tested = [row for row in rows if row[1] not in UNTESTED]
        others = [row for row in rows if row[1] in UNTESTED]
        reasons = " or ".join(UNTESTED[verdict] for verdict in dict.fromkeys(row[1] for row in others))
        caption = f"Claims that are not tested, because their systems were {reasons}: {len(others)}"
        note = "A difference above 0 speaks for the claim; brackets are its 95 % interval, over seeds where there are several."
        head = ["claim", "verdict", "difference"]
        known = any(row[2] != "–" for row in others)
        others = Table(caption, head if known else head[:1], others if known else [row[:1] for row in others], "", True)
        tables = [Table("Claims", head, tested, note), others]
        if rows:
            return [table for table in tables if table.rows]
    return []
