"""What a terminal shows when a run ends: its numbers next to the paper's, and a sentence on what they are worth."""

from pathlib import Path

from colorize_lib import files, papers

WIDTH = 100  # characters of a line, at most
# The columns of a metric.
PARTS = ("paper", "here", "coloured", "mean", "median", "all images", "best epoch", "last epoch")


def is_constant(system):
    """Whether `system` is the name of a prediction that needs no network."""
    return system.startswith(("gray", "mean ", "median "))


def aligned(rows):
    """Rows of texts as lines, each column as wide as its longest text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def table(path):
    """`paper_vs_here.csv` as text: a narrow table for each metric with the paper's number next to ours.

    Metrics with one column are placed next to each other where they fit.
    """
    rows = files.read_csv(path)
    system, *names = rows[0]
    rows = sorted(rows, key=lambda row: is_constant(row[system]))  # stable: constants come last
    systems, metrics = [row[system] for row in rows], {}
    for name in names:
        part = next((part for part in PARTS if name.endswith(f" {part}")), "")
        metrics.setdefault(name.removesuffix(f" {part}"), []).append([part, *(row[name] or "–" for row in rows)])
    blocks = []
    for metric, columns in metrics.items():
        if len(columns) > 1:
            blocks.append(([metric, *systems], columns))
            continue
        if not blocks or blocks[-1][0][0] != "system":
            blocks.append((["system", *systems], []))
        ((part, *cells),) = columns
        blocks[-1][1].append([f"{metric} {part}".strip(), *cells])
    return "\n\n".join(text for first, columns in blocks for text in _blocks(first, columns))


def _blocks(first, columns):
    """A table, continued in another one where it would be too wide; rows without a number are left out."""
    chosen = [first]
    for column in columns:
        if len(chosen) > 1 and max(map(len, _lines([*chosen, column]))) > WIDTH:
            yield "\n".join(_lines(chosen))
            chosen = [first]
        chosen.append(column)
    yield "\n".join(_lines(chosen))


def _lines(columns):
    head, *rows = zip(*columns, strict=True)
    return aligned([head, *(row for row in rows if {*row[1:]} - {"–", "not run"})]).splitlines()


def heading(folder):
    """The heading of the table of a run in `folder`."""
    return "Paper vs. here" if Path(folder).parent.name in papers.KEYS else "All systems"


def sentence(folder, profile):
    """One line on how the systems of a finished run compare with predictions that need no network."""
    metrics = files.read_json(folder / "metrics.json", "metrics")
    found = {name: row["delta_e2000"] for name, row in metrics.get("systems", {}).items() if "delta_e2000" in row}
    constants = [value["mean"] for name, value in found.items() if is_constant(name)]
    trained = [value["high"] for name, value in found.items() if not is_constant(name)]
    said = []
    if constants and trained:
        better = sum(high < min(constants) for high in trained)
        verb = "beat" if better != 1 else "beats"
        said.append(f"{better} of {len(trained)} systems clearly {verb} gray and one colour in ΔE2000")
    if profile == "quick":
        said.append("recorded runs are in results/README.md")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else ""
