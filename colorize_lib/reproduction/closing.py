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
    """`paper_vs_here.csv` as text: one narrow table a metric, with the paper's number next to ours."""
    rows = files.read_csv(path)
    system, *names = rows[0]
    blocks = {}
    for name in names:
        part = next((part for part in PARTS if name.endswith(f" {part}")), None)
        heading = name.removesuffix(f" {part}") if part else name
        blocks.setdefault(heading, []).append([part or "", *(row[name] or "–" for row in rows)])
    systems = [row[system] for row in rows]
    return "\n\n".join(text for heading, columns in blocks.items() for text in _blocks([heading, *systems], columns))


def _blocks(first, columns):
    """The table of one metric, continued in another one where it would be too wide; rows without a number are left out."""
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
    """What stands above the table of a run in `folder`."""
    return "Paper vs. here" if Path(folder).parent.name in papers.KEYS else "All systems"


def sentence(folder, profile):
    """How the systems of a finished run compare with predictions that need no network."""
    metrics = files.read_json(folder / "metrics.json", "metrics")
    found = {name: row["delta_e2000"] for name, row in metrics.get("systems", {}).items() if "delta_e2000" in row}
    constants = [value["mean"] for name, value in found.items() if is_constant(name)]
    trained = [value["high"] for name, value in found.items() if not is_constant(name)]
    said = []
    if constants and trained:
        better = sum(high < min(constants) for high in trained)
        count = f"{better} of {len(trained)} systems" if len(trained) > 1 else f"{'The' if better else 'No'} system"
        are = "are" if len(trained) > 1 else "is"
        said.append(f"{count} {are} clearly closer to the truth (ΔE2000) than gray and than one mean colour.")
    if profile == "quick":
        said.append("A quick run only shows that everything works: results/README.md has the recorded runs.")
    return " ".join(said)
