"""The documents made from `results/`: its README.md, which GitHub renders, and index.html, the same as a page that opens from disk.

Both come from one Markdown text. The page needs no server, no script, and no other host. Learning curves are SVG files, which are
legible on a light and on a dark screen.
"""

import contextlib
import io
import math
import re

from colorize_lib import files, papers
from colorize_lib.errors import InputError
from colorize_lib.evaluation import scores
from colorize_lib.reproduction import results, standalone

WIDTH = 9.2  # inches, a column of GitHub's pages
EACH = 9  # up to so many networks have a panel of their own; more share one
GRAY = "#808080"  # of text and axes, which are legible on a light and on a dark screen
# Text stays text, and the same numbers give the same file.
LOOK = {"svg.fonttype": "none", "svg.hashsalt": "colorize", "font.family": "sans-serif", "font.size": 9}
LOOK |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GRAY)
BEGIN, END = "<!-- papers: made by `make results` -->", "<!-- end of papers -->"


# Figures.


@contextlib.contextmanager
def _figure(height, rows=1, columns=1):
    """Yield a figure of so many panels, all of the same size, and an empty list that gets the text of its SVG file."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(LOOK):
        figure = Figure((WIDTH, height), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel in panels:
            panel.spines[["top", "right"]].set_visible(False)
        text = []
        yield panels, text
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        text.append(re.sub(r"[ \t]+$", "", file.getvalue(), flags=re.M))


def curves(histories, groups=None):
    """Learning curves as an SVG document: training solid, validation dashed.

    Args:
        histories: {network: rows of its history}. More than nine networks share one panel, with their validation loss alone.
        groups: {"pattern", "name"}: the group of the pattern in a network's name chooses its colour where networks share a panel.

    Returns:
        The text, or None if no history has a loss.
    """
    shown = {name: rows for name, rows in histories.items() if any(math.isfinite(_loss(row)) for row in rows)}
    if not shown:
        return None
    own = len(shown) <= EACH
    lines = -(-len(shown) // 3) if own else 1
    with _figure(2 * lines if own else 4, lines, 3 if own else 1) as (panels, text):
        groups = groups or {"pattern": "^()", "name": "validation loss"}
        keys = {name: (re.search(groups["pattern"], name) or ("", ""))[1] for name in shown}
        chosen = {key: f"C{number}" for number, key in enumerate(sorted(set(keys.values())))}
        for number, (name, rows) in enumerate(shown.items()):
            panel, colour = (panels[number], f"C{number}") if own else (panels[0], chosen[keys[name]])
            epochs, marker = [row["epoch"] for row in rows], "o" if len(rows) == 1 else None
            for column, style in (("loss", "-"), ("val_loss", "--")):
                values = [row.get(column, math.nan) for row in rows]
                if own:
                    panel.plot(epochs, values, style, color=colour, marker=marker)
                    panel.set_title(name, fontsize="small")
                elif column == "val_loss":
                    panel.plot(epochs, values, color=colour, marker=marker, linewidth=0.8)
        if own:
            panels[0].figure.supxlabel("training solid, validation dashed", fontsize="small")
        else:
            labels = [f"{groups['name']} {key}".strip() for key in chosen]
            handles = [panels[0].plot([], color=colour)[0] for colour in chosen.values()]
            panels[0].legend(handles, labels, frameon=False)
        for panel in panels[: len(shown) if own else 1]:
            panel.set(xlabel="epoch", ylabel="loss" if own else "validation loss")
            panel.xaxis.get_major_locator().set_params(integer=True)
        for panel in panels[len(shown) :]:
            panel.set_axis_off()
    return text[0]


def _loss(row):
    return row.get("loss", row.get("val_loss", math.nan))


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
    """The bundled colorizer's shares of hues next to the truth's as an SVG document.

    Args:
        numbers: "test" of `results/natural/metrics.json`: {way of colorizing: `evaluation.photographs.summary`}.
    """
    rows = {"truth": {hue: numbers["default"][f"true_{hue}"] for hue in HUES}}
    rows |= {words: {hue: numbers[name][hue] for hue in HUES} for name, words in NATURAL.items() if name in numbers}
    with _figure(3) as ([panel], text):
        left = dict.fromkeys(rows, 0.0)
        for hue, colour in HUES.items():
            shares = [100 * row[hue] for row in rows.values()]
            bars = panel.barh([*rows], shares, left=[*left.values()], color=colour, label=hue.replace("_", "-"))
            words = [f"{share:.0f} %" if share > 4 else "" for share in shares]
            panel.bar_label(bars, words, label_type="center", color="white")
            left = {name: left[name] + share for name, share in zip(rows, shares, strict=True)}
        panel.invert_yaxis()
        panel.set(xlim=(0, 100), xlabel="% of all pixels; the others are nearly gray (chroma below 8 Lab units)")
        panel.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return text[0]


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
