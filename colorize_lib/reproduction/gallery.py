"""`results/index.html`: what `results/` holds, as one page that opens from disk.

The page needs no server, no script and no other host: style and learning curves (SVG, drawn here from `history.csv`) lie in it, and
only the pictures beside it are linked. Its tables are README's. It follows the reader's choice of a light or dark screen.
"""

import csv
import math
from html import escape

from colorize_lib import files
from colorize_lib.reproduction import results

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 180, 52, 24, 22
EACH = 12  # up to so many networks have a chart of their own; more share one
STYLE = """
:root { color-scheme: light dark;
  --ink: #1c1c1c; --paper: #fdfdfb; --soft: #6a6a6a; --line: #d5d5cf; --one: #1c6fa8; --two: #b5541c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e2; --paper: #16181a; --soft: #a0a09a; --line: #3a3d40; --one: #6fb7ea; --two: #f0a070; }
}
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 3rem 0 0.25rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 0.25rem; }
a { color: var(--one); }
.soft { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; margin: 0.5rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.7rem; text-align: right; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; max-width: 9rem; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; height: auto; background: #fff; }
figure { margin: 1rem 0; }
figcaption { color: var(--soft); font-size: 0.9rem; }
.curves { display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; }
svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
svg .axis { stroke: var(--line); fill: none; }
svg .train { stroke: var(--one); fill: none; stroke-width: 1.7; }
svg .val { stroke: var(--two); fill: none; stroke-width: 1.7; stroke-dasharray: 5 3; }
svg circle.train { fill: var(--one); } svg circle.val { fill: var(--two); }
svg .many { stroke: var(--one); fill: none; stroke-width: 1; opacity: 0.55; }
svg .many:hover { stroke: var(--two); stroke-width: 3; opacity: 1; }
"""


def histories(folder):
    """{system: rows of its `history.csv`, numbers by column} of a run collected in `folder`."""
    found = {}
    for path in sorted(folder.glob("*/history.csv")):
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        if rows and path.parent.name != "more":
            found[path.parent.name] = rows
    return found


def chart(title, lines, width=WIDTH, height=HEIGHT):
    """Learning curves as an SVG element.

    Args:
        title: printed above.
        lines: (class, name, [(epoch, value), …]) of each curve, of at least one finite value; a single point is drawn as one.
        width, height: in pixels.
    """
    lines = [(kind, name, [point for point in points if math.isfinite(point[1])]) for kind, name, points in lines]
    values = [value for _, _, points in lines for _, value in points]
    epochs = [epoch for _, _, points in lines for epoch, _ in points]
    low, high = min(values), max(values)
    first, last = min(epochs), max(epochs)

    def place(epoch, value):
        across = (epoch - first) / (last - first) if last > first else 0.5
        up = (value - low) / (high - low) if high > low else 0.5
        return f"{LEFT + across * (width - LEFT - 10):.1f},{height - BOTTOM - 4 - up * (height - BOTTOM - TOP - 8):.1f}"

    spoken = "; ".join(
        f"{name} from {points[0][1]:.4g} to {points[-1][1]:.4g}" for _, name, points in lines[:2] if points
    )
    parts = [
        f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'aria-label="{escape(title)}: {escape(spoken)}, epochs {first:g} to {last:g}">',
        f'<text x="{LEFT}" y="14">{escape(title)}</text>',
        f'<path class="axis" d="M{LEFT},{TOP}V{height - BOTTOM}H{width - 10}"/>',
        f'<text x="{LEFT - 4}" y="{TOP + 10}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{LEFT - 4}" y="{height - BOTTOM - 2}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{LEFT}" y="{height - 8}">{first:g}</text>',
        f'<text x="{width - 10}" y="{height - 8}" text-anchor="end">epoch {last:g}</text>',
    ]
    for kind, name, points in lines:
        if len(points) == 1:
            x, y = place(*points[0]).split(",")
            parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="3"><title>{escape(name)}</title></circle>')
        elif points:
            path = " ".join(place(*point) for point in points)
            parts.append(f'<polyline class="{kind}" points="{path}"><title>{escape(name)}</title></polyline>')
    return "\n".join([*parts, "</svg>"])


def _curves(found):
    """The charts of a run's histories, with a caption."""
    shown = {
        system: [
            (kind, name, [(row["epoch"], row[column]) for row in rows])
            for kind, name, column in (("train", "training", "loss"), ("val", "validation", "val_loss"))
            if column in rows[0]
        ]
        for system, rows in found.items()
    }
    shown = {system: lines for system, lines in shown.items() if lines}
    if not shown:
        return []
    if len(shown) > EACH:
        lines = [("many", system, curves[-1][2]) for system, curves in shown.items()]
        charts = [chart(f"validation loss of {len(lines)} networks", lines, 2 * WIDTH, 2 * HEIGHT)]
        caption = "Loss over epochs, one line a network; point at one for its name."
    else:
        charts = [chart(system, lines) for system, lines in shown.items()]
        caption = "Loss over epochs: training solid, validation dashed."
    return [
        f'<figure><div class="curves">{"".join(charts)}</div><figcaption>{caption}</figcaption></figure>',
    ]


def _table(shown):
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in shown.header)
    rows = "".join("<tr>" + "".join(f"<td>{escape(str(text))}</td>" for text in row) + "</tr>\n" for row in shown.rows)
    return [
        f"<h3>{escape(shown.caption)}</h3>",
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>',
    ]


def _paper(shown, root):
    notebook = f"{shown.paper.replace('-', '_')}.ipynb"
    link = (
        f' · <a href="../notebooks/{notebook}">notebook</a>' if (root.parent / "notebooks" / notebook).exists() else ""
    )
    parts = [
        f'<section id="{shown.paper}">',
        f"<h2>{escape(shown.title)}</h2>",
        f'<p class="soft">{escape(shown.authors)}{link}</p>',
    ]
    found = results.collected(shown.paper, root)
    parts += [f"<p>{escape(sentence[:1].upper() + sentence[1:])}</p>" for sentence in shown.sentences]
    for table in shown.tables:
        parts += _table(table)
    if shown.differences:
        items = "".join(f"<li>{escape(line)}</li>" for line in shown.differences)
        parts.append(f"<p>Where the paper's number lies outside our interval:</p><ul>{items}</ul>")
    for run in found:
        place = run.folder.relative_to(root).as_posix()
        if (run.folder / "photos.png").exists():
            systems = ", ".join(run.metrics.get("epochs", {})) or "the run's networks"
            parts.append(
                f'<figure><img loading="lazy" src="{place}/photos.png" alt="Bundled photographs, never trained on: gray, and '
                f'colorized by {escape(systems)}"><figcaption>Bundled photographs, never trained on.</figcaption></figure>'
            )
        parts += _curves(histories(run.folder))
        parts.append(
            f'<p class="soft"><a href="{place}/manifest.json">manifest</a> · <a href="{place}/metrics.json">all numbers</a> · '
            f"<code>{escape(run.manifest.get('command', ''))}</code></p>"
        )
    return [*parts, "</section>"]


def page(root=None):
    """The page as text."""
    root = root or results.ROOT / "results"
    sections = [results.section(paper) for paper in results.PAPERS]
    contents = " · ".join(f'<a href="#{shown.paper}">{shown.paper}</a>' for shown in sections)
    lines = [
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Learned image colorization, reproduced</title><style>{STYLE}</style></head><body>",
        "<h1>Learned image colorization in Keras: the papers' numbers and ours</h1>",
        "<p>Real runs only. Brackets are 95 % bootstrap intervals over test images, ± the standard deviation over seeds; "
        '"not run" means just that. PSNR and SSIM contain the true lightness, so a cautious network scores well: read every row '
        "against the constant predictions of its table.</p>",
        f"<p>{contents}</p>",
        *(line for shown in sections for line in _paper(shown, root)),
        '<p class="soft">Made by <code>make results</code> from the files in this folder.</p>',
        "</body></html>",
    ]
    return "\n".join(lines) + "\n"


def write(path=None):
    """Write the page to `results/index.html`."""
    files.write_text(path or results.ROOT / "results" / "index.html", page())
