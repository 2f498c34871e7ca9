"""The documents made from `results/`: its README.md, which GitHub renders, and index.html, the same as a page that opens from disk.

Both come from one Markdown text. The page needs no server, no script, and no other host. Learning curves are SVG files, which are
legible on a light and on a dark screen.
"""

import contextlib
import io
import math
import re
from pathlib import Path

from colorize_lib import files, papers
from colorize_lib.errors import InputError
from colorize_lib.evaluation import scores
from colorize_lib.reproduction import results, standalone

WIDTH = 9.2  # inches, a column of GitHub's pages
NARROW = 500  # pixels of a picture that leaves room for another one next to it
EACH = 9  # up to this many networks get their own panels; more share one
GRAY = "#808080"  # of text and axes, which are legible on a light and on a dark screen
# Text stays text, and the same numbers give the same file.
LOOK = {"svg.fonttype": "none", "svg.hashsalt": "colorize", "font.family": "sans-serif", "font.size": 10}
LOOK |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GRAY)
BEGIN, END = "<!-- papers: made by `make results` -->", "<!-- end of papers -->"


# Figures.


@contextlib.contextmanager
def _figure(height, rows=1, columns=1):
    """Yield the panels of a figure, all of the same size, and an empty list that gets the text of its SVG file."""
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
        groups: {"pattern", "name"}: where networks share a panel, the group of the pattern in a network's name chooses its colour;
            networks without a match, whose losses are on another scale, are left out.

    Returns:
        The text, or None if no history has a loss.
    """
    shown = {
        name: rows
        for name, rows in histories.items()
        if any(math.isfinite(row.get("loss", row.get("val_loss", math.nan))) for row in rows)
    }
    if not shown:
        return None
    own = len(shown) <= EACH
    groups = {"pattern": "^()", "name": "validation loss"} | (groups or {})
    if not own:
        shown = {name: rows for name, rows in shown.items() if re.search(groups["pattern"], name)}
    lines = -(-len(shown) // 3) if own else 1
    with _figure(2.2 * lines if own else 4, lines, 3 if own else 1) as (panels, text):
        keys = {} if own else {name: re.search(groups["pattern"], name)[1] for name in shown}
        chosen = {key: f"C{number}" for number, key in enumerate(sorted(set(keys.values())))}
        for number, (name, rows) in enumerate(shown.items()):
            panel, colour = (panels[number], f"C{number}") if own else (panels[0], chosen[keys[name]])
            epochs, marker = [row["epoch"] for row in rows], "o" if len(rows) == 1 else None
            for column, style in (("loss", "-"), ("val_loss", "--")):
                values = [row.get(column, math.nan) for row in rows]
                if own:
                    panel.plot(epochs, values, style, color=colour, marker=marker)
                    panel.set_title(name, fontsize="medium")
                elif column == "val_loss":
                    panel.plot(epochs, values, color=colour, marker=marker, linewidth=0.8)
        if own:
            panels[0].figure.supxlabel("training solid, validation dashed", fontsize="medium")
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


def run_curves(run):
    """`curves` of a recorded run, None if one of its figures shows them; classifiers and detectors are left out."""
    layout = papers.published(run.paper).get("curves", {})
    if (run.folder / "figures" / f"{layout.get('figure')}.jpg").exists():
        return None
    histories = scores.histories(run.folder).items()
    found = {name: rows for name, rows in histories if rows and not name.startswith(("classifier", "detector_"))}
    return curves(found, layout)


def write_curves(root):
    """Write `curves.svg` of every recorded run."""
    for paper in papers.KEYS:
        for run in results.collected(paper, root):
            text, path = run_curves(run), run.folder / "curves.svg"
            path.unlink(missing_ok=True) if text is None else files.write_text(path, text)


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


# Photographs.


def strip(grid, systems, side=128):
    """The last photograph of a grid by a few of its systems, next to each other.

    Args:
        grid: PIL image of `plots.image_grid`: one column a system, or one row with its title above.
        systems: their places, such as [0, 1, -1].
        side: pixels of a picture in the result.

    Returns:
        PIL image, or None if the grid has too few systems.
    """
    import numpy as np
    from PIL import Image, ImageOps

    ink = np.asarray(grid.convert("L")) <= 235
    rows = _bands(ink.mean(axis=1))
    columns = _bands(ink[slice(*rows[-1])].mean(axis=0)) if rows else []
    titles = len(rows) > 1 and rows[1][0] - rows[0][1] > 10  # of systems, between the rows
    boxes = [(columns[-1], row) for row in rows] if titles else [(column, rows[-1]) for column in columns]
    if len(boxes) < len(systems):
        return None
    found = Image.new("RGB", (len(systems) * (side + 4) - 4, side), "white")
    for place, system in enumerate(systems):
        (left, right), (top, bottom) = boxes[system]
        picture = grid.convert("RGB").crop((left, top, right, bottom))
        found.paste(ImageOps.fit(picture, (side, side)), (place * (side + 4), 0))
    return found


def _bands(ink):
    """(start, end) of the pictures along one side of a grid, whose lines have these shares of ink."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.pad(ink > 0.1, 1).astype(int))).reshape(-1, 2)
    return [(int(start), int(end)) for start, end in edges if end - start > 30]


def write_strips(root):
    """Write the picture of each paper in the first table: gray, colorized, and mostly the original."""
    from PIL import Image

    for paper in papers.KEYS:
        grid = root / paper / "figures" / "photos.jpg"
        found = strip(Image.open(grid), papers.published(paper, "picture")) if grid.exists() else None
        if found:
            with files.atomic(root / paper / "strip.jpg") as path:
                found.save(path, "JPEG", quality=88)


def pictures(run):
    """The figures of a run as [[(name, caption)]]: two narrow ones are placed next to each other."""
    from PIL import Image

    groups, single = [], False
    for name, caption in results.figures(run.paper).items():
        if (path := run.folder / "figures" / f"{name}.jpg").exists():
            narrow = Image.open(path).width <= NARROW
            if single and narrow:
                groups[-1].append((name, caption))
                single = False
            else:
                groups.append([(name, caption)])
                single = narrow
    return groups


def missing(run):
    """Captions of the figures that were not kept of a run."""
    there = {path.stem for path in (run.folder / "figures").glob("*.jpg")}
    return [caption for name, caption in results.figures(run.paper).items() if name not in there]


# The text.


def _table(header, rows):
    """A table in Markdown, which ends with an empty line."""
    lines = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in (header, *rows)]
    first, *others = [f"| {' | '.join(line)} |\n" for line in lines]
    return "".join([first, f"|{' --- |' * len(header)}\n", *others, "\n"])


def _link(paper, text):
    link = papers.published(paper).get("link")
    return f"[{text}]({link})" if link else text


def papers_table():
    """The papers as README shows them: a link, its number, ours, and the budget."""
    rows = []
    for paper in papers.KEYS:
        published, line = papers.published(paper), results.section(paper).headline
        year = f" {published['year']}" if "year" in published else ""
        notebook = f"[{paper}](notebooks/{published['notebook']}.ipynb)"
        title = f"{published['authors']}{year}, {_link(paper, published['title'])}"
        rows.append([notebook, title, line["paper"], line["here"], line["budget"]])
    return f"{BEGIN}\n\n{_table(['notebook', 'paper', 'its number', 'ours', 'budget'], rows)}{END}"


def write_papers_table(path):
    """Write the table of papers into README. Raises InputError if README has lost the two comments."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path} has no place for the table: it needs the lines {BEGIN} and {END}.")
    files.write_text(path, before + papers_table() + after)


def _natural():
    """The bundled colorizer's numbers on test photographs, None where `results/` has no run of it."""
    path = results.ROOT / "results" / "natural" / "metrics.json"
    return files.read_json(path, "numbers of the bundled colorizer")["test"] if path.exists() else None


def readme():
    """`results/README.md` as text, from `readme.md.jinja`."""
    import jinja2

    root = results.ROOT / "results"
    sections, rows = [results.section(paper) for paper in papers.KEYS], []
    for section in sections:
        picture = f"{section.paper}/strip.jpg"
        width = 52 * len(papers.published(section.paper, "picture"))
        tag = (
            f'<img src="{picture}" width="{width}" alt="A bundled photograph in gray and colorized by {section.paper}">'
        )
        cells = [section.headline[name] for name in ("claim", "paper", "here", "budget", "verdict")]
        rows.append([f"[{section.paper}](#{section.paper}){f'<br>{tag}' if (root / picture).exists() else ''}", *cells])
    sections += [results.section("comparison")] if results.collected("comparison") else []
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_name("readme.md.jinja").read_text(encoding="utf-8"))
    text = template.render(
        rows=rows,
        sections=sections,
        natural=_natural(),
        costs=costs(sections),
        still_missing=results.explained().get("missing"),
        published=papers.published,
        table=_table,
        pictures=pictures,
        missing=missing,
        link=_link,
        exists=Path.exists,
        root=root,
        place_of=lambda run: run.folder.relative_to(root).as_posix(),
        letter_of=lambda section, run: section.letters.get(id(run)),
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def costs(sections):
    """Rows of a table of what the recorded runs took: run, training, machine, day."""
    rows = []
    for section in sections:
        for run in section.runs:
            name = f"[{section.paper}](#{section.paper})"
            letter = f", run {section.letters[id(run)]}" if section.letters else ""
            hours = run.training_hours()
            took = results.duration(hours) if hours else "–"
            rows.append([name + letter, took, run.machine(), run.manifest["finished"][:10]])
    return rows


def page():
    """`results/index.html` as text."""
    text = readme().replace("# Results\n", "# Learned image colorization in Keras: the papers' numbers and ours\n", 1)
    return standalone.from_markdown(text, "Learned image colorization, reproduced")


def write_notebooks(root):
    """Write each paper's notebook as it was committed, executed in the quick profile, as `results/PAPER/quick.html`."""
    for paper in papers.KEYS:
        source = results.ROOT / "notebooks" / f"{papers.published(paper)['notebook']}.ipynb"
        target = root / paper / "quick.html"
        if source.exists() and target.parent.exists() and not standalone.is_of(source, target):
            standalone.write_notebook(source, target)


def write():
    """Write README.md and index.html of `results/` with their pictures and notebooks, and README's table of papers."""
    root = results.ROOT / "results"
    write_curves(root)
    write_strips(root)
    write_notebooks(root)
    if numbers := _natural():
        files.write_text(root / "natural" / "hues.svg", hue_shares(numbers))
    files.write_text(root / "README.md", readme())
    files.write_text(root / "index.html", page())
    write_papers_table(results.ROOT / "README.md")
