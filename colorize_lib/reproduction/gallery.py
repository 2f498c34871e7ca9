"""The documents made from `results/`: its README.md, which GitHub renders, and index.html, the same as a page that opens from disk.

Both come from one Markdown text. The page needs no server, no script, and no other host. Learning curves are drawn here as SVG
files, which follow the reader's choice of a light or dark screen, as the page does.
"""

import base64
import io
import math
import re
from html import escape

from colorize_lib import files, papers
from colorize_lib.errors import InputError
from colorize_lib.evaluation import scores
from colorize_lib.reproduction import results

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #fdfdfb; --soft: #6a6a6a; --line: #d5d5cf; --link: #1c6fa8;
  --shade: rgb(0 0 0 / 0.22); }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e2; --paper: #16181a; --soft: #a0a09a; --line: #3a3d40; --link: #6fb7ea; --shade: rgb(255 255 255 / 0.25); }
}
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 3rem 0 0.5rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 0.25rem; }
a { color: var(--link); }
/* A wide table scrolls: a shadow at its edge says that there is more. */
.wide { overflow-x: auto; background:
    linear-gradient(to right, var(--paper) 30%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--paper) 30%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / 0.9rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) right / 0.9rem 100% no-repeat scroll, var(--paper); }
table { border-collapse: collapse; font-size: 0.85rem; font-variant-numeric: tabular-nums; margin: 0.5rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.7rem; vertical-align: top; min-width: 3.5rem; }
th { vertical-align: bottom; text-align: left; }
td:not(.words td) { white-space: nowrap; }
img { max-width: 100%; height: auto; }
td img { max-width: none; }
@media (max-width: 44rem) {
  .words thead { display: none; }
  .words :is(table, tbody, tr) { display: block; }
  .words tr { border-bottom: 1px solid var(--line); padding: 0.5rem 0; }
  .words td { display: block; border: 0; padding: 0.1rem 0; }
  .papers td:nth-child(3)::before { content: "paper: "; }
  .papers td:nth-child(4)::before { content: "here: "; }
}
code, pre { font-size: 0.9em; }
pre { overflow-x: auto; }
"""
CURVE_STYLE = """
text { fill: #1c1c1c; font: 12px system-ui, sans-serif; } .soft { fill: #6a6a6a; } path { stroke: #c8c8c2; fill: none; }
polyline { fill: none; stroke-width: 1.8; } .val { stroke-dasharray: 5 3; } .thin { stroke-width: 1; opacity: 0.7; }
@media (prefers-color-scheme: dark) { text { fill: #e6e6e2; } .soft { fill: #a0a09a; } path { stroke: #4a4d50; } }
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
    spoken = escape(f"Learning curves of {', '.join([*series][:EACH])}")
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{spoken}" {size}>'
    return "\n".join([head, f"<style>{CURVE_STYLE}</style>", *parts, "</svg>\n"])


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
        lines += [f"### {table.caption}", "", *_markdown_table(table.header, table.rows)]
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


def readme():
    """`results/README.md` as text."""
    lines = [INTRODUCTION, *_top_table(), READING]
    for paper in papers.KEYS:
        lines += _section(paper)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def html(text, title):
    """A Markdown text as a page that stands alone."""
    import mistune

    class Renderer(mistune.HTMLRenderer):
        def heading(self, text, level, **attributes):
            anchor = re.sub(r"[^\w-]+", "-", re.sub("<[^>]+>", "", text).lower()).strip("-")
            return f'<h{level} id="{anchor}">{text}</h{level}>\n'

        def image(self, text, url, title=None):
            return f'<img loading="lazy" src="{url}" alt="{escape(text)}">'

    body = mistune.create_markdown(renderer=Renderer(escape=False), plugins=["table"])(text)
    kinds = {"paper": "words papers", "claim": "words"}  # by the first heading: on a telephone they become lists

    def scrollable(found):
        return f'<div class="wide {kinds.get(found[1], "")}" tabindex="0">{found[0]}</div>'

    body = re.sub(r"<table>\n<thead>\n<tr>\n  <th>(.*?)</th>.*?</table>", scrollable, body, flags=re.S)
    return _page(body, title)


def _page(body, title, style=STYLE):
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>\n{body}\n</body></html>\n"
    )


def page():
    """`results/index.html` as text."""
    text = readme().replace("# Results\n", "# Learned image colorization in Keras: the papers' numbers and ours\n", 1)
    return html(text, "Learned image colorization, reproduced")


def write():
    """Write the curves, README.md, and index.html of `results/`, and the table of papers in the project's README."""
    root = results.ROOT / "results"
    write_curves(root)
    files.write_text(root / "README.md", readme())
    files.write_text(root / "index.html", page())
    write_papers_table(results.ROOT / "README.md")


# Pictures and notebooks of a run, small enough to commit.


def write_picture(source, target, largest):
    """Write a picture as JPEG of at most `largest` bytes: a JPEG that is small enough is copied."""
    from PIL import Image

    image = Image.open(source)
    small = image.format == "JPEG" and source.stat().st_size <= largest
    target.write_bytes(source.read_bytes() if small else _jpeg(image, largest))


def _jpeg(image, largest):
    image = image.convert("RGB")
    for quality in (90, 80, 65, 50):
        data = io.BytesIO()
        image.save(data, "JPEG", quality=quality, optimize=True)
        if data.tell() <= largest or max(image.size) <= 100:
            return data.getvalue()
    return _jpeg(image.resize((image.width // 2, image.height // 2)), largest)


def write_notebook(source, target, largest):
    """Write an executed notebook as a page that asks no other host, with its pictures as JPEG, of at most `largest` bytes.

    Returns:
        Whether it was small enough; a notebook that is not stays where it is.
    """
    import nbformat
    from nbconvert import HTMLExporter
    from PIL import Image
    from pygments.formatters import HtmlFormatter

    notebook = nbformat.read(source, as_version=4)
    for output in (output for cell in notebook.cells for output in cell.get("outputs", ())):
        data = output.get("data", {})
        if "image/png" in data:
            picture = Image.open(io.BytesIO(base64.b64decode(data.pop("image/png"))))
            data["image/jpeg"] = base64.b64encode(_jpeg(picture, largest // 8)).decode()
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    text = _page(body, source.parent.name, STYLE + HtmlFormatter().get_style_defs(".highlight"))
    if len(text.encode()) > largest:
        print(f"{source} is larger than {largest / 1e6:.1f} MB as a page: results/ does not get it.")
        return False
    files.write_text(target, text)
    return True
