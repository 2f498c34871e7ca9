"""The documents made from `results/`: its README.md, which GitHub renders, and index.html, the same as a page that opens from disk.

Both come from one Markdown text. The page needs no server, no script, and no other host. Learning curves are drawn here as SVG
files, which follow the reader's choice of a light or dark screen, as the page does.
"""

import math
import re
from html import escape

from colorize_lib import files, papers
from colorize_lib.errors import InputError
from colorize_lib.evaluation import scores
from colorize_lib.reproduction import results, standalone

STYLE = """
text { fill: #1c1c1c; font: 12px system-ui, sans-serif; } .soft { fill: #6a6a6a; } path { stroke: #c8c8c2; fill: none; }
polyline { fill: none; stroke-width: 1.8; } .val { stroke-dasharray: 5 3; } .thin { stroke-width: 1; opacity: 0.7; }
@media (prefers-color-scheme: dark) { text { fill: #e6e6e2; } .soft { fill: #a0a09a; } path { stroke: #4a4d50; } }
text.on { fill: #ffffff; }
"""
COLOURS = ("#2a7fbf", "#d0632a", "#3d9950", "#a657b3", "#c79a1b", "#c4405f", "#2a9d9d", "#7a7f88")
WIDTH = 880  # pixels, a column of GitHub's pages
EACH = 9  # up to so many networks have a panel of their own; more share one
BEGIN, END = "<!-- papers: made by `make results` -->", "<!-- end of papers -->"


# Learning curves.


def _panel(title, lines, left, top, width, height):
    """SVG elements of one panel with named axes; `lines`: (class, colour, name, [(epoch, loss), …])."""
    lines = [(kind, colour, name, [p for p in points if math.isfinite(p[1])]) for kind, colour, name, points in lines]
    points = [point for *_, points in lines for point in points]
    first, last = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    x0, x1, y0, y1 = left + 58, left + width - 12, top + height - 34, top + 26

    def place(epoch, value):
        x = x0 + (x1 - x0) * ((epoch - first) / (last - first) if last > first else 0.5)
        return x, y0 + (y1 - y0) * ((value - low) / (high - low) if high > low else 0.5)

    parts = [
        f'<text x="{x0}" y="{top + 14}">{escape(title)}</text><path d="M{x0},{y1}V{y0}H{x1}"/>',
        f'<text class="soft" x="{x0 - 5}" y="{y1 + 8}" text-anchor="end">{high:.3g}</text>',
        f'<text class="soft" x="{x0 - 5}" y="{y0}" text-anchor="end">{low:.3g}</text>',
        f'<text class="soft" x="{x0 - 5}" y="{(y0 + y1) / 2:.0f}" text-anchor="end">loss</text>',
        f'<text class="soft" x="{x0}" y="{y0 + 16}">{first:g}</text>',
        f'<text class="soft" x="{(x0 + x1) / 2:.0f}" y="{y0 + 16}" text-anchor="middle">epoch</text>',
        f'<text class="soft" x="{x1}" y="{y0 + 16}" text-anchor="end">{last:g}</text>',
    ]
    for kind, colour, name, points in lines:
        places = [place(*point) for point in points]
        said = f"<title>{escape(name)}</title>"
        if len(places) == 1:
            parts.append(
                f'<circle cx="{places[0][0]:.1f}" cy="{places[0][1]:.1f}" r="3" fill="{colour}">{said}</circle>'
            )
        else:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(f'<polyline class="{kind}" stroke="{colour}" points="{path}">{said}</polyline>')
    return parts


def curves(histories, groups=None):
    """Learning curves as an SVG document, readable at 880 pixels.

    Args:
        histories: {network: rows of its history}; training is solid and validation dashed, each network in its own colour. More
            than nine networks share one panel, with their validation loss alone.
        groups: {"pattern", "name"}: the group of the pattern in a network's name chooses its colour where networks share a panel.

    Returns:
        The text, or None if no history has a loss.
    """
    series = {}
    for network, rows in histories.items():
        pairs = {kind: [(row["epoch"], row[kind]) for row in rows if kind in row] for kind in ("loss", "val_loss")}
        pairs = {kind: points for kind, points in pairs.items() if any(math.isfinite(y) for _, y in points)}
        if pairs:
            series[network] = pairs
    if not series:
        return None
    parts, height = [], 190
    if len(series) <= EACH:
        for number, (network, pairs) in enumerate(series.items()):
            colour = COLOURS[number % len(COLOURS)]
            lines = [("val" if kind == "val_loss" else "", colour, kind, points) for kind, points in pairs.items()]
            left, top = (number % 3) * WIDTH // 3, number // 3 * height
            parts += _panel(network, lines, left, top, WIDTH // 3, height)
        height = height * -(-len(series) // 3) + 20
        parts.append(f'<text class="soft" x="58" y="{height - 6}">training solid, validation dashed</text>')
    else:
        height = 380
        groups = groups or {"pattern": "^()", "name": "validation loss"}
        keys = {network: (re.search(groups["pattern"], network) or ("", ""))[1] for network in series}
        chosen = {key: COLOURS[i % len(COLOURS)] for i, key in enumerate(sorted(set(keys.values())))}
        lines = [
            ("thin", chosen[keys[name]], name, pairs.get("val_loss", pairs.get("loss")))
            for name, pairs in series.items()
        ]
        title = f"validation loss of {len(series)} networks"
        parts += _panel(title, lines, 0, 0, WIDTH, height - 20)
        for number, (key, colour) in enumerate(chosen.items()):
            said = escape(f"{groups['name']} {key}".strip())
            parts.append(f'<text x="{58 + 200 * number}" y="{height - 6}" style="fill: {colour}">{said}</text>')
    return _svg(f"Learning curves of {', '.join([*series][:EACH])}", height, parts)


def _svg(spoken, height, parts):
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(spoken)}" {size}>'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>\n"])


def run_curves(run):
    """`curves` of a recorded run."""
    found = {name: rows for name, rows in scores.histories(run.folder).items() if rows}
    return curves(found, papers.published(run.paper).get("curves"))


def write_curves(root):
    """Write `curves.svg` of every recorded run."""
    for paper in papers.KEYS:
        for run in results.collected(paper, root):
            if text := run_curves(run):
                files.write_text(run.folder / "curves.svg", text)


# Hues.

HUES = {"yellow_brown": "#b58b34", "green": "#4f9a4a", "blue": "#3f7fbf", "red": "#c2504f"}
NATURAL = {"gray": "gray", "polychromify": "Polychromify", "careful": "careful", "default": "default", "vivid": "vivid"}


def hue_shares(numbers):
    """The bundled colorizer's shares of hues next to the truth's as an SVG document, readable at 880 pixels.

    Args:
        numbers: "test" of `results/natural/metrics.json`: {way of colorizing: `evaluation.photographs.summary`}.
    """
    rows = {"truth": {hue: numbers["default"][f"true_{hue}"] for hue in HUES}}
    rows |= {words: {hue: numbers[name][hue] for hue in HUES} for name, words in NATURAL.items() if name in numbers}
    left, top, line, scale = 120, 34, 32, (WIDTH - 160) / 100
    parts = []
    for number, hue in enumerate(HUES):
        x = left + 150 * number
        parts.append(f'<rect x="{x}" y="8" width="14" height="14" fill="{HUES[hue]}"/>')
        parts.append(f'<text x="{x + 20}" y="20">{hue.replace("_", "-")}</text>')
    for number, (name, shares) in enumerate(rows.items()):
        x, y = left, top + line * number
        parts.append(f'<text x="{left - 10}" y="{y + 17}" text-anchor="end">{name}</text>')
        for hue, share in shares.items():
            width = 100 * share * scale
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="24" fill="{HUES[hue]}"/>')
            if width > 30:
                parts.append(
                    f'<text class="on" x="{x + width / 2:.1f}" y="{y + 17}" text-anchor="middle">{100 * share:.0f} %</text>'
                )
            x += width
    bottom = top + line * len(rows)
    parts.append(f'<path d="M{left},{top - 4}V{bottom}H{left + 100 * scale:.0f}"/>')
    for percent in (0, 25, 50, 75, 100):
        parts.append(
            f'<text class="soft" x="{left + percent * scale:.0f}" y="{bottom + 16}" text-anchor="middle">{percent}</text>'
        )
    said = "% of all pixels that have a hue (chroma above 8 Lab units); the rest is nearly gray"
    parts.append(f'<text class="soft" x="{left}" y="{bottom + 34}">{said}</text>')
    return _svg("Shares of hues in colorized photographs and in the truth", bottom + 44, parts)


# The text.


def _cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def _markdown_table(header, rows):
    lines = [f"| {' | '.join(map(_cell, header))} |", f"|{' --- |' * len(header)}"]
    return [*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows), ""]


def _link(paper, text):
    link = papers.published(paper).get("link")
    return f"[{text}]({link})" if link else text


def _top_table():
    rows = []
    for paper in papers.KEYS:
        line = results.section(paper).headline
        picture = f"{paper}/figures/photos.jpg"
        there = (results.ROOT / "results" / picture).exists()
        tag = f'<img src="{picture}" width="160" alt="Bundled photographs colorized by {paper}">'
        cells = [line[name] for name in ("claim", "paper", "here", "budget", "verdict")]
        rows.append([f"[{paper}](#{paper})", *cells, tag if there else "–"])
    return _markdown_table(["paper", "its main claim", "its number", "ours", "budget", "verdict", "pictures"], rows)


def papers_table():
    """The papers as README shows them: a link, its number, ours, and the budget."""
    rows = []
    for paper in papers.KEYS:
        published, line = papers.published(paper), results.section(paper).headline
        year = f" {published['year']}" if "year" in published else ""
        notebook = f"[{paper}](notebooks/{published['notebook']}.ipynb)"
        title = f"{published['authors']}{year}, {_link(paper, published['title'])}"
        rows.append([notebook, title, line["paper"], line["here"], line["budget"]])
    return "\n".join([BEGIN, "", *_markdown_table(["notebook", "paper", "its number", "ours", "budget"], rows), END])


def write_papers_table(path):
    """Write the table of papers into README. Raises InputError if README has lost the two comments."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path} has no place for the table: it needs the lines {BEGIN} and {END}.")
    files.write_text(path, before + papers_table() + after)


def _section(paper):
    shown = results.section(paper)
    published = papers.published(paper)
    year = f" {published['year']}" if "year" in published else ""
    title = _link(paper, f"*{published['title']}*")
    about = f"{published['authors']}{year}, {title}. "
    about += "" if published.get("link") else "We know of no public copy of this paper. "
    links = [f"[notebook](../notebooks/{published['notebook']}.ipynb)"]
    if shown.runs and (shown.runs[0].folder / "notebook.html").exists():
        links.append(f"[the notebook as it ran]({paper}/notebook.html)")
    verdict = f"> {published['claim']} Verdict: {shown.headline['verdict']}."
    lines = [f"## {paper}", "", about + " · ".join(links), "", verdict, ""]
    for sentence in shown.sentences:
        lines += [sentence, ""]
    for line in shown.failures:
        lines += [f"**Know this about the run.** {line}", ""]
    for table in shown.tables:
        lines += [f"### {table.caption}", "", *_markdown_table(table.header, table.rows), table.note, ""]
    if shown.differences:
        lines += ["The paper's number lies outside our interval:", "", *(f"- {line}" for line in shown.differences), ""]
    if shown.claims:
        lines += [f"### {shown.claims.caption}", "", *_markdown_table(shown.claims.header, shown.claims.rows)]
        lines += [shown.claims.note, ""]
    for run in shown.runs:
        lines += _pictures(run, shown.letters.get(id(run)))
    return lines


def _pictures(run, letter):
    place = run.folder.relative_to(results.ROOT / "results").as_posix()
    lines = [f"### Pictures and curves{f' of run {letter}' if letter else ''}", ""]
    for name, caption in results.figures(run.paper).items():
        if (run.folder / "figures" / f"{name}.jpg").exists():
            lines += [f"![{caption}]({place}/figures/{name}.jpg)", "", f"*{caption}.*", ""]
    if (run.folder / "curves.svg").exists():
        lines += [f"![Learning curves]({place}/curves.svg)", "", "*Learning curves: the loss over epochs.*", ""]
    files_of_it = f"[manifest]({place}/manifest.json) · [all numbers]({place}/metrics.json)"
    return [*lines, f"{files_of_it} · `{run.manifest.get('command', '')}`", ""]


INTRODUCTION = """# Results

Recorded runs, each with its manifest, its numbers, and its pictures. Nothing on this page is typed by hand: `make results`
writes it, and `index.html`, which opens from disk, from the files in this folder.
"""
READING = """**How to read the tables.** An arrow points to the better; the best of the trained systems is bold. The last rows are
predictions that need no network, and a system that does not beat them has learned little: PSNR and SSIM contain the true
lightness, so that a cautious network scores well. Brackets are 95 % intervals over test images, and ± is the standard deviation
over seeds. *Coloured images* are those whose original has colour: on the others a gray prediction is nearly perfect, but the
papers average over all. A claim about a way of training takes three seeds at equal epochs; otherwise its verdict is "one run" or
"not comparable".
"""


BUNDLED = """## The bundled colorizer

`natural` belongs to no paper: it is what `colorize` and the pages use. It predicts a distribution of colours, so that it is less
brown than a network that minimizes a squared error; how vivid its colours are is chosen when it is applied.
[Its model card](natural/README.md) has its numbers, its training, and what it is bad at.

![Shares of hues on thirty test photographs](natural/hues.svg)

*Hues of thirty test photographs: the truth, no colour, Polychromify's bundled weights, and the bundled colorizer from careful to
vivid. The bars say how much of each hue there is, not whether it is in the right place.*

![Test photographs: gray, Polychromify, careful, default, vivid, truth](natural/figures/photographs.jpg)

*Test photographs in gray, by Polychromify, by the bundled colorizer (careful, default, vivid), and as they are.*
"""


def _natural():
    """The bundled colorizer's numbers on test photographs, None where `results/` has no run of it."""
    path = results.ROOT / "results" / "natural" / "metrics.json"
    return files.read_json(path, "numbers of the bundled colorizer")["test"] if path.exists() else None


def readme():
    """`results/README.md` as text."""
    lines = [INTRODUCTION, *_top_table(), READING]
    for paper in papers.KEYS:
        lines += _section(paper)
    lines += [BUNDLED] if _natural() else []
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def page():
    """`results/index.html` as text."""
    text = readme().replace("# Results\n", "# Learned image colorization in Keras: the papers' numbers and ours\n", 1)
    return standalone.from_markdown(text, "Learned image colorization, reproduced")


def write():
    """Write the curves, the hues, README.md, and index.html of `results/`, and the table of papers in the project's README."""
    root = results.ROOT / "results"
    write_curves(root)
    if numbers := _natural():
        files.write_text(root / "natural" / "hues.svg", hue_shares(numbers))
    files.write_text(root / "README.md", readme())
    files.write_text(root / "index.html", page())
    write_papers_table(results.ROOT / "README.md")
