"""`results/bench.json`: its form, its table, and the comparison of two of them.

    {"format": 1, "machines": {NAME: {"hardware", "versions", "rows": {KEY: ROW}}}}

A row has `what` is measured, `against` what, the `goal` of its `ratio` (both None where there is nothing to compare) and whether it
is `met`, the `unit` of the measurements, all of `ours` and all of `theirs` in the order in which they were made, a `note` on the
reason of the result or None, `details` of its own, and `measured`: when, at which commit, how loaded the machine was before.
"""

import datetime
import os
from pathlib import Path

from colorize_lib import files
from colorize_lib.errors import InputError

FORMAT = 1
PATH = Path(__file__).parent.parent / "results" / "bench.json"
_ROW = {"what": str, "against": str | None, "goal": float | int | None, "ratio": float | int | None, "met": bool | None}
_ROW |= {"unit": str, "ours": list, "theirs": list, "note": str | None, "details": dict, "measured": dict}


def row(what, against, *, unit, ours, theirs=(), goal=None, ratio=None, note=None, digits=6, **details):
    """A row as the file holds it.

    Args:
        what, against: in words.
        unit: of the numbers in `ours` and `theirs`, of which less is better.
        ours, theirs: every single measurement.
        goal: what the ratio should be at least; None: it is only reported.
        ratio: None: median of theirs over median of ours.
        note: the measured reason, where there is something to say.
        digits: significant ones of the measurements.
        details: more numbers.
    """
    import statistics

    if ratio is None and theirs:
        ratio = statistics.median(theirs) / statistics.median(ours)
    return {
        "what": what,
        "against": against,
        "goal": goal,
        "ratio": None if ratio is None else round(ratio, 3),
        "met": None if goal is None or ratio is None else bool(ratio >= goal),
        "unit": unit,
        "ours": [float(f"{value:.{digits}g}") for value in ours],
        "theirs": [float(f"{value:.{digits}g}") for value in theirs],
        "note": note,
        "details": details,
        "measured": {},
    }


def read(path=PATH):
    """The contents of a file of this format; without a file, one without machines. Raises InputError for another format."""
    if not Path(path).exists():
        return {"format": FORMAT, "machines": {}}
    content = files.read_json(path, "file of measurements")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is no file of measurements of format {FORMAT}: delete it and run `make bench` again.")
    wrong = list(_wrong(content))
    if wrong:
        raise InputError(f"{path} is damaged at {', '.join(wrong[:3])}: delete it and run `make bench` again.")
    return content


def _wrong(content):
    """Where the contents have not the form that this module describes."""
    machines = content.get("machines")
    for name, machine in machines.items() if isinstance(machines, dict) else [("machines", None)]:
        if not isinstance(machine, dict) or not all(
            isinstance(machine.get(part), dict) for part in ("hardware", "versions", "rows")
        ):
            yield name
            continue
        for key, found in machine["rows"].items():
            if not isinstance(found, dict) or set(found) != set(_ROW):
                yield f"{name}, {key}"
            else:
                yield from (
                    f"{name}, {key}, {part}" for part, kind in _ROW.items() if not isinstance(found[part], kind)
                )


def machine_name(hardware):
    """A machine's name: its first GPU, or its processor and number of cores."""
    gpus = hardware.get("gpus")
    return gpus[0] if gpus else f"{hardware['processor']}, {hardware['cores']} cores"


def write(rows, hardware, versions, commit, path=PATH, name=None):
    """Put rows into the file: those of the same machine and key are replaced, all others stay.

    Args:
        rows: {key: `row`}.
        hardware, versions, commit: of `colorize_lib.training.machine`.
        path: the file.
        name: of the machine; default `machine_name`.
    """
    content = read(path)
    machine = content["machines"].setdefault(name or machine_name(hardware), {"rows": {}})
    machine |= {"hardware": hardware, "versions": versions}
    for key, found in rows.items():
        found["measured"] = {"when": _now(), "commit": commit} | found["measured"]
        machine["rows"][key] = found
    machine["rows"] = dict(sorted(machine["rows"].items()))
    files.write_json(path, content)


def _now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def load_average():
    """Processes that ran or wanted to, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def verdict(found):
    """What the table says of a row's goal."""
    if found["met"] is None:
        return "–"
    goal = "" if found["goal"] is None else f"≥ {found['goal']:g}: "
    return goal + ("met" if found["met"] else "missed")


def text(content):
    """All rows of all machines for a terminal, with the notes below."""
    parts = []
    for name, machine in content["machines"].items():
        rows = machine["rows"]
        lines = [("row", "ratio", "goal")] + [(key, _ratio(found), verdict(found)) for key, found in rows.items()]
        widths = [max(len(line[i]) for line in lines) for i in range(3)]
        whats = [""] + [
            found["what"] + (f" | against {found['against']}" if found["against"] else "") for found in rows.values()
        ]
        parts.append(f"{name}:")
        for line, what in zip(lines, whats, strict=True):
            parts.append(f"  {'  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))}  {what}")
        parts += [f"  {key}: {found['note']}" for key, found in rows.items() if found["note"]]
        parts.append("")
    return "\n".join(parts)


def _ratio(found):
    return "–" if found["ratio"] is None else f"{found['ratio']:.2f}"


# The tables of benchmarks/README.md. Rows KIND/NETWORK of one kind are one line, with a column for each network.

BEGIN = "<!-- speed: made by `make bench` -->"
END = "<!-- end of speed -->"
_KINDS = {
    "training": "training step, against the papers' way: plain Keras in float32, Lab made beforehand",
    "training in float32": "the same, ours in float32 too",
    "pytorch": "training step, against PyTorch's best of float32 and bfloat16, channels first and last",
    "fit": "`fit`, against the bare compiled step on one batch in memory",
    "utilisation": "share of the machine's best matrix product in that precision",
    "utilisation in bfloat16": "training on JAX: share of the card's best matrix product in bfloat16",
    "utilisation in float32": "the same in float32, with TF32 products",
}


def markdown(content):
    """What is between the two comments of benchmarks/README.md."""
    lines = [BEGIN, ""]
    for name, machine in content["machines"].items():
        rows = dict(machine["rows"])
        kinds = {kind: {key.partition("/")[2]: key for key in rows if key.startswith(f"{kind}/")} for kind in _KINDS}
        networks = sorted({network for found in kinds.values() for network in found})
        lines += [f"**{name}**", ""]
        if networks:
            lines += [f"| ratio (goal; **missed**) | {' | '.join(networks)} |", f"|{' --- |' * (1 + len(networks))}"]
            for kind, keys in kinds.items():
                if not keys:
                    continue
                cells = [_cell(rows.pop(keys[network])) if network in keys else "–" for network in networks]
                lines.append(f"| {_KINDS[kind]} | {' | '.join(cells)} |")
                rates = [machine["rows"].get(keys.get(network), {}).get("details", {}) for network in networks]
                if any("images_per_second" in each for each in rates):
                    cells = [f"{each['images_per_second']:,}" if each else "–" for each in rates]
                    lines.append(f"| images a second | {' | '.join(cells)} |")
            lines.append("")
        shown = {key: found for key, found in rows.items() if found["ratio"] is not None or found["met"] is not None}
        if shown:
            lines += ["| what | against | ratio (goal; **missed**) |", "| --- | --- | --- |"]
            lines += [f"| {found['what']} | {found['against'] or '–'} | {_cell(found)} |" for found in shown.values()]
            lines.append("")
        lost = {}  # of a network that has both rows, the second says more
        for kind in ("profile/", "utilisation/"):
            lost |= {
                key.removeprefix(kind): found["note"] for key, found in machine["rows"].items() if key.startswith(kind)
            }
        if lost:
            lines += ["Where the time goes:", "", *(f"- {of}: {note}" for of, note in sorted(lost.items())), ""]
    return "\n".join([*lines, END])


def _cell(found):
    ratio = found["note"].rstrip(".") if found["ratio"] is None and found["note"] else _ratio(found)
    goal = "" if found["goal"] is None else f" ({found['goal']:g})"
    return f"**{ratio}**{goal}" if found["met"] is False else f"{ratio}{goal}"


def write_readme(content, path=Path(__file__).parent / "README.md"):
    """Write the tables into benchmarks/README.md. Raises InputError if it has lost the two comments."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path} has no place for the table: it needs the lines {BEGIN} and {END}.")
    files.write_text(path, before + markdown(content) + after)


def compare(old, new, share=0.15):
    """Rows whose ratio fell by more than `share` of what it was: [(machine, key, ratio before, ratio now)].

    Seconds are not compared: they are another machine's, or another day's.

    Args:
        old, new: contents of two files.
        share: that noise may explain.
    """
    fallen = []
    for name, machine in old["machines"].items():
        for key, before in machine["rows"].items():
            now = new["machines"].get(name, {"rows": {}})["rows"].get(key)
            if now and before["ratio"] and now["ratio"] is not None and now["ratio"] < (1 - share) * before["ratio"]:
                fallen.append((name, key, before["ratio"], now["ratio"]))
    return fallen
