"""Several runs one after another: of all papers, or of one paper with several seeds.

Finished runs are not repeated, so the same command resumes a series that was stopped; to repeat a run, delete its folder.
"""

import re
import shutil
import time
from pathlib import Path
from statistics import fmean, stdev

from colorize_lib import files, papers
from colorize_lib.errors import InputError
from colorize_lib.reproduction import closing, notebook
from colorize_lib.reproduction import parameters as parameters_module


def run(name, assignments=()):
    """Reproduce a paper, several times with `SEEDS=`, or every paper with the name "all".

    Args:
        name, assignments: as in `notebook.reproduce`.

    Returns:
        The exit status: 0, or 1 if one of all papers failed.

    Raises:
        InputError: a wrong parameter, before any work starts; or what stopped a single paper.
    """
    if name != "all":
        _paper(name, assignments, repeat=True)
        return 0
    folders = {paper: _place(paper, assignments) for paper in papers.KEYS}  # every parameter is checked for every paper
    print(f"{len(folders)} papers: {', '.join(folders)}", flush=True)
    lines = []
    for number, paper in enumerate(folders, start=1):
        print(f"\n── {number} of {len(folders)}: {paper} " + "─" * 40, flush=True)
        begun = time.monotonic()
        try:
            outcome = _paper(paper, assignments, repeat=False)
        except Exception as error:
            outcome = f"failed: {error if isinstance(error, InputError) else f'{type(error).__name__}: {error}'}"
            print(f"error: {paper}: {outcome}", flush=True)
        lines.append((paper, _clock(time.monotonic() - begun), outcome))
    print("\n" + summary(lines, folders), flush=True)
    return int(any(outcome.startswith("failed") for _, _, outcome in lines))


def summary(lines, folders):
    """The closing table: (paper, time, outcome) a line, with the folders of the results; the reasons of failures are below it."""
    rows = [("paper", "time", "outcome", "results")]
    for paper, seconds, outcome in lines:
        state = outcome.partition(":")[0]
        rows.append((paper, seconds, state, "–" if state == "failed" else str(folders[paper])))
    reasons = [f"{paper} {outcome}" for paper, _, outcome in lines if outcome.startswith("failed")]
    return "\n".join([closing.aligned(rows), *reasons])


def _clock(seconds):
    minutes, hours = round(seconds / 60), int(seconds // 3600)
    return f"{seconds:.0f} s" if seconds < 100 else f"{minutes} min" if hours < 2 else f"{seconds / 3600:.1f} h"


def _place(name, assignments):
    """The folder of a paper's results. Raises InputError for a wrong parameter."""
    seeds = _seeds(name, assignments)
    if not seeds:
        return notebook.plan(name, assignments)[1]
    first = next(notebook.plan(name, given)[1] for _, given in seeds)
    asked = parameters_module.parse(assignments).get("RUN")
    return first.parent / (asked or f"{first.name}-{len(seeds)}seeds")


def _finished(folder):
    """The manifest of the run in `folder` if the run is finished, else None."""
    path = folder / "manifest.json"
    if not path.exists() or not (folder / "metrics.json").exists():
        return None
    manifest = files.read_json(path, "manifest")
    return manifest if isinstance(manifest, dict) and manifest.get("finished") else None


def _paper(name, assignments, repeat):
    """Run one paper, or each of its seeds, and return "done" or "finished before". `repeat`: score a finished single run again."""
    seeds, folder = _seeds(name, assignments), _place(name, assignments)
    before = _finished(folder)
    if before and not (repeat and not seeds):
        print(f"{name}: finished {before['finished']}, in {folder}; delete that folder to run it again", flush=True)
        if seeds:
            _show(folder)
        return "finished before"
    if not seeds:
        notebook.reproduce(name, assignments)
        return "done"
    places = []
    for seed, given in seeds:
        places.append(notebook.plan(name, given)[1])
        if _finished(places[-1]):
            print(f"{name}, seed {seed}: finished, in {places[-1]}", flush=True)
        else:
            notebook.reproduce(name, given)
    aggregate(places, folder, [seed for seed, _ in seeds])
    _show(folder)
    return "done"


def _seeds(name, assignments):
    """[(seed, assignments of its run)] for SEEDS=; [] without it, or where the notebook has its own parameter SEEDS."""
    given = parameters_module.parse(assignments)
    declared = notebook.declared(notebook.notebook_path(name))
    if "SEEDS" not in given or "SEEDS" in declared:
        return []
    numbers = {"SEEDS": given["SEEDS"], "SEED": given.get("SEED", declared.get("SEED"))}
    asked = parameters_module.resolve({"quick": {"seeds": 1}}, numbers)
    if asked.seeds < 2:
        raise InputError(
            f"SEEDS is {asked.seeds}: of this paper it takes at least 2; a single seed is chosen with SEED=."
        )
    others = [text for text in assignments if text.partition("=")[0] not in ("SEEDS", "SEED", "RUN")]
    named = [f"RUN={given['RUN']}-seed{{}}"] if given.get("RUN") else []
    return [
        (seed, [*others, f"SEED={seed}", *(text.format(seed) for text in named)])
        for seed in range(asked.seed, asked.seed + asked.seeds)
    ]


def aggregate(places, folder, seeds):
    """Write the results of the finished runs in `places`, one a seed, as one run to `folder`.

    For every number that differs between the runs, `metrics.json` has its `mean`, its standard deviation `spread`, the ends `low`
    and `high` of Student's 95 % interval, and the numbers `per_seed`. Histories are means over seeds, `paper_vs_here.csv` has
    mean ± standard deviation, and pictures are the first seed's.
    """
    manifests = [files.read_json(place / "manifest.json", "manifest") for place in places]
    metrics = [files.read_json(place / "metrics.json", "metrics") for place in places]
    together = merged(metrics) | {"seeds": list(seeds)}
    if "claims" in together:
        from colorize_lib.evaluation import claims

        together["claims"] = claims.over_seeds(together["claims"])
    files.write_json(folder / "metrics.json", together)
    if all((place / "paper_vs_here.csv").exists() for place in places):
        _aggregate_table([place / "paper_vs_here.csv" for place in places], folder / "paper_vs_here.csv")
    for path in sorted(places[0].glob("*/history.csv")):
        same = [place / path.relative_to(places[0]) for place in places]
        if all(other.exists() for other in same):
            _mean_history(same, folder / path.relative_to(places[0]))
    if (places[0] / "figures").exists():
        shutil.copytree(places[0] / "figures", folder / "figures", dirs_exist_ok=True)
    command = re.sub(r" RUN=\S+", "", manifests[0]["command"])
    manifest = manifests[0] | {
        "parameters": manifests[0]["parameters"] | {"seeds": len(seeds)},
        "command": f"{command} SEEDS={len(seeds)}",
        "runs": [place.name for place in places],
        "finished": max(manifest["finished"] for manifest in manifests),
        "wall_seconds": sum(manifest.get("wall_seconds") or 0 for manifest in manifests),
    }
    files.write_json(folder / "manifest.json", manifest)


def merged(values):
    """Merge the same JSON value of several seeds, dictionaries key by key: numbers that differ become mean and spread."""
    if all(value == values[0] for value in values):
        return values[0]
    if all(isinstance(value, dict) for value in values):
        if all({"mean", "low", "high"} <= value.keys() for value in values):
            return {**values[0], **_statistics([value["mean"] for value in values])}
        common = [key for key in values[0] if all(key in value for value in values)]
        return {key: merged([value[key] for value in values]) for key in common}
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return _statistics(values)
    return {"per_seed": list(values)}


def _statistics(numbers):
    from colorize_lib.evaluation import statistics

    mean, low, high = statistics.seed_interval(numbers)
    return {"mean": mean, "low": low, "high": high, "spread": stdev(numbers), "per_seed": list(numbers)}


def _aggregate_table(paths, target):
    """Cells that begin with a number and differ become mean ± standard deviation; rows are found by their first column."""
    tables = [{next(iter(row.values())): row for row in files.read_csv(path)} for path in paths]
    rows = []
    for name, row in tables[0].items():
        if all(name in other for other in tables):
            rows.append({column: _cell([other[name].get(column, "") for other in tables]) for column in row})
    files.write_csv(target, rows)


def _cell(texts):
    if len(set(texts)) == 1:
        return texts[0]
    found = [re.match(r"-?\d+(\.\d*)?(e[+-]?\d+)?", text) for text in texts]
    if not all(found):
        return " / ".join(texts)
    statistics = _statistics([float(number[0]) for number in found])
    return f"{statistics['mean']:.4g} ± {statistics['spread']:.2g}"


def _mean_history(paths, target):
    """Means over the seeds of each epoch that all of them have."""
    rows = []
    for epoch in zip(*map(files.read_csv, paths), strict=False):
        means = {name: fmean(float(row[name]) for row in epoch) for name in epoch[0]}
        rows.append(means | {"epoch": int(means["epoch"])})
    if rows:
        files.write_csv(target, rows)


def _show(folder):
    path = Path(folder) / "paper_vs_here.csv"
    if path.exists():
        table = closing.table(path)
        print(
            f"\n{closing.heading(folder)}, mean ± standard deviation over seeds\n\n{table}\n\nIn {folder}", flush=True
        )
