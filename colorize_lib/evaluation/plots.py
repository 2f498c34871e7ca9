"""What notebooks show: learning curves, distributions, pictures, and text such as the source of a network.

Curves are matplotlib figures. Pictures are `Pictures`, which a notebook shows as JPEG: a tenth of a PNG's size. Text is
`Markdown`, which every front end sets in its own fonts and colours.
"""

import inspect
import math
import sys
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from colorize_lib.images import jpeg

SIDE = 160  # pixels of a picture's shorter side
PAGE = 830  # pixels across: JupyterLab next to its sidebar, in a window of 1280, shows smaller what is wider
GAP = 4  # pixels between pictures
ACROSS = 3  # panels next to each other, at most
QUALITY = 88  # of JPEG


def _subplots(*arguments, **options):
    """`pyplot.subplots`; where matplotlib is told to open windows and there is no display, a backend without any."""
    from matplotlib import pyplot as plt

    try:
        return plt.subplots(*arguments, **options)
    except ImportError:
        plt.switch_backend("module://matplotlib_inline.backend_inline" if "ipykernel" in sys.modules else "agg")
        return plt.subplots(*arguments, **options)


def _finish(figure, axes, x_label, y_label, legend=True):
    """Names of the axes, a grid, whole epochs, the legend to the right of the curves; the figure is closed and returned."""
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    axes.set(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    if x_label == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if legend:
        _legend(axes)
    plt.close(figure)
    return figure


def _legend(axes, entries=()):
    """The legend to the right of the axes, of their own curves or of others' (handles, labels)."""
    axes.legend(*entries, fontsize="small", loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)


def rows_of(history):
    """A history as rows, one dictionary an epoch: a Keras `History` becomes what `Run.fit` returns, which stays as it is."""
    if not hasattr(history, "history"):
        return history
    epochs = zip(*history.history.values(), strict=True)
    return [
        dict(zip(history.history, values, strict=True)) | {"epoch": 1 + epoch}
        for epoch, values in zip(history.epoch, epochs, strict=True)
    ]


def learning_curves(histories, column, label=None, best=False):
    """Training (solid) and validation (dashed) curves of one column over epochs.

    Args:
        histories: {system: history}, each a Keras `History` or a list of one dictionary an epoch.
        column: name of the training column; validation's is "val_" + name.
        label: text of the vertical axis, with the unit.
        best: mark the best epoch of each validation curve: the highest value of a PSNR or an accuracy, the lowest of a loss.
    """
    from colorize_lib.evaluation.scores import best_row

    figure, axes = _subplots(figsize=(8.3, 4), layout="constrained")
    for color_number, (system, history) in enumerate(histories.items()):
        rows = rows_of(history)
        for name, style, part in ((column, "-", "training"), (f"val_{column}", "--", "validation")):
            if name in rows[0]:
                look = dict(color=f"C{color_number}", marker="o" if len(rows) == 1 else None)
                axes.plot(
                    [row["epoch"] for row in rows],
                    [row[name] for row in rows],
                    style,
                    **look,
                    label=f"{system}, {part}",
                )
        if best and f"val_{column}" in rows[0]:
            row = best_row(rows, f"val_{column}")
            axes.plot(row["epoch"], row[f"val_{column}"], "*", color=f"C{color_number}", markersize=11)
    return _finish(figure, axes, "epoch", label or column)


def panels(rows, log=()):
    """Curves over epochs in small panels: one row a quantity, one column a system, one scale a quantity.

    More than three systems take further rows.

    Args:
        rows: {label of the vertical axis: {title of the column: {name: values, one an epoch, or one number}}}. A single number,
            such as what a constant scores, is a dotted line.
        log: labels of the rows with a logarithmic axis.
    """
    titles = list(next(iter(rows.values())))
    across = math.ceil(len(titles) / math.ceil(len(titles) / ACROSS))
    blocks = [titles[start : start + across] for start in range(0, len(titles), across)]
    lines = [(label, block) for block in blocks for label in rows]
    size = (min(2.4 * across, 6.1) + 2.2, 2.1 * len(lines) + 0.6)
    figure, axes = _subplots(len(lines), across, figsize=size, squeeze=False, layout="constrained")
    first = {}
    for number, (line, (label, block)) in enumerate(zip(axes, lines, strict=True)):
        for axis, title in zip(line, block, strict=False):
            if first.setdefault(label, axis) is not axis:
                axis.sharey(first[label])
            _panel(axis, rows[label][title])
            _finish(figure, axis, "", label if axis is line[0] else "", legend=False)
            axis.tick_params("y", which="both", labelleft=axis is line[0])
            if number % len(rows) == 0:
                axis.set_title(textwrap.fill(title.replace("_", " "), 20), fontsize="small")
            if number % len(rows) == len(rows) - 1:
                axis.set_xlabel("epoch")
        _legend(line[-1], line[len(block) - 1].get_legend_handles_labels())
        for axis in line[len(block) :]:
            axis.set_axis_off()
    for label in log:
        first[label].set_yscale("log")
    return figure


def _panel(axis, curves):
    from matplotlib.ticker import MaxNLocator

    for number, (name, values) in enumerate(curves.items()):
        if np.ndim(values):
            marker = "o" if len(values) == 1 else None
            axis.plot(np.arange(1, len(values) + 1), values, color=f"C{number}", marker=marker, label=name)
        else:
            axis.axhline(values, color=f"C{number}", linestyle=":", label=name)
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def curves(panels, label):
    """Panels next to each other, several curves in each.

    Args:
        panels: {label of the vertical axis: {name: (x, y)}}. Where all panels have the same names, they share one legend.
        label: of the horizontal axis.
    """
    shared = len({tuple(lines) for lines in panels.values()}) == 1
    size = (min(3.4 * len(panels), 6.5) + 1.8 if shared else 5 * len(panels) + 1.8, 3.2)
    figure, all_axes = _subplots(1, len(panels), figsize=size, squeeze=False, layout="constrained")
    for axes, (y_label, lines) in zip(all_axes[0], panels.items(), strict=True):
        for number, (name, (x, y)) in enumerate(lines.items()):  # curves that coincide stay visible
            style = ("-", "--", "-.", ":")[number % 4]
            axes.plot(x, y, style, marker="o" if len(x) == 1 else None, label=name)
        _finish(figure, axes, label, y_label, legend=not shared or axes is all_axes[0, -1])
    return figure


def scatter(panels, label):
    """Panels next to each other, with a point for each system, over a logarithmic axis.

    Args:
        panels: {label of the vertical axis: {name: (x, y)}}.
        label: of the horizontal axis.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, all_axes = _subplots(
        1, len(panels), figsize=(3.1 * len(panels) + 2.1, 3.6), squeeze=False, layout="constrained"
    )
    for axes, (y_label, points) in zip(all_axes[0], panels.items(), strict=True):
        for number, (name, place) in enumerate(points.items()):
            axes.plot(*place, "os^D"[number // 10 % 4], color=f"C{number}", label=name)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        _finish(figure, axes, label, y_label, legend=axes is all_axes[0][-1])
    return figure


def shares(parts, label, colours):
    """A bar a system, made of its parts. `parts`: {system: {part: share}}; `label`: of their axis; `colours`: one a part."""
    figure, axes = _subplots(figsize=(8, 0.28 * len(parts) + 1.2), layout="constrained")
    names = list(parts)[::-1]  # the first at the top
    left = np.zeros(len(names))
    for part, colour in zip(next(iter(parts.values())), colours, strict=True):
        widths = np.array([parts[name][part] for name in names])
        axes.barh(names, widths, left=left, color=colour, label=part.replace("_", " "))
        left += widths
    return _finish(figure, axes, label, "")


def distributions(samples, label):
    """Histograms below each other over one axis, each with its median as a line.

    The axis ends where all but 0.5 % of each sample's numbers are shown.

    Args:
        samples: {name: numbers}.
        label: of the axis, with the unit.
    """
    size = (8, 0.55 * len(samples) + 0.9)
    figure, axes = _subplots(len(samples), 1, figsize=size, squeeze=False, sharex=True, layout="constrained")
    limit = max(float(np.percentile(values, 99.5)) for values in samples.values())
    for number, (axis, (name, values)) in enumerate(zip(axes[:, 0], samples.items(), strict=True)):
        look = dict(color="black" if number == 0 else "C0", alpha=0.6)
        axis.hist(np.clip(values, 0, limit), np.linspace(0, limit, 60), density=True, **look)
        axis.axvline(float(np.median(values)), color="C3")
        _finish(figure, axis, label if axis is axes[-1, 0] else "", "", legend=False)
        axis.set_yticks([axis.get_ylim()[1] / 2], [name])
        axis.tick_params("y", length=0)
        axis.grid(False, axis="y")
        axis.spines[["left", "right", "top"]].set_visible(False)
    return figure


class Pictures:
    """Photographs in one image; a notebook shows it as JPEG.

    Attributes:
        image: `PIL.Image.Image`.
        comment: bytes kept in the JPEG: the size of the smallest picture, see `image_grid`.
        format: "jpg".
    """

    format = "jpg"

    def __init__(self, image, comment=b""):
        self.image, self.comment = image, comment

    def savefig(self, path, **options):
        """Write a JPEG, whatever the path's suffix. `options` are matplotlib's, for whom this method is called as well."""
        Path(path).write_bytes(self._repr_jpeg_())

    def _repr_jpeg_(self):
        return jpeg(self.image, QUALITY, comment=self.comment)

    def __repr__(self):
        return f"pictures, {self.image.width}×{self.image.height} pixels"


def image_grid(columns, captions=None, side=SIDE, across=None):
    """Pictures side by side: one column a system, one row an image.

    Args:
        columns: {title: images}, each a sequence of the same number of RGB images, uint8 or float in [0, 1]; an empty title
            takes no room.
        captions: optional {title: texts} printed under the pictures of a column.
        side: pixels of a picture's shorter side; smaller pictures are enlarged, larger ones are reduced.
        across: one row a system instead, its title above it, and rows that are wider than a page are continued below; None:
            only where the columns are wider than a page.

    Returns:
        `Pictures`.
    """
    captions, font = captions or {}, _font()
    columns = {title: [_resized(image, side) for image in images] for title, images in columns.items()}
    count = len(next(iter(columns.values())))
    pairs = {
        title: list(zip(column, captions.get(title, [""] * count), strict=True)) for title, column in columns.items()
    }
    wide = GAP + max(picture.width for column in columns.values() for picture in column)
    fitting = max(1, PAGE // wide)
    if across or (across is None and len(columns) > fitting):
        lines = math.ceil(count / fitting)
        length = math.ceil(count / lines)  # of rows that are about equally long
        starts = range(0, count, length)
        rows = [([title], row[start : start + length]) for start in starts for title, row in pairs.items()]
        width = length * wide
    else:
        of_images = zip(*pairs.values(), strict=True)
        rows = [([] if number else list(pairs), row) for number, row in enumerate(of_images)]
        width = len(pairs) * wide
    strips = [_strip(titles, row, (width, wide), font) for titles, row in rows]
    image = Image.new("RGB", (width, sum(strip.height for strip in strips)), "white")
    top = 0
    for strip in strips:
        image.paste(strip, (0, top))
        top += strip.height
    smallest = min((picture.size for column in columns.values() for picture in column), key=min)
    return Pictures(image, b"smallest picture: %dx%d pixels" % smallest)


def _strip(titles, row, widths, font):
    """A row of (picture, caption), `widths` = (of all, of each), below its titles: one for each picture, or one for all."""
    width, wide = widths
    line = round(1.3 * font.size)
    wrapped = [_wrapped(title, font, (wide if len(titles) > 1 else width) - GAP) for title in titles]
    above = line * max(map(len, wrapped)) + GAP if any(titles) else 0
    high = max(picture.height + line * bool(caption) for picture, caption in row)
    image = Image.new("RGB", (width, above + high + GAP), "white")
    draw = ImageDraw.Draw(image)
    for place, lines in enumerate(wrapped):  # down to the pictures, where another title has more lines
        for down, text in enumerate(lines):
            draw.text((place * wide + 1, above - GAP + line * (down - len(lines))), text, "black", font)
    for place, (picture, caption) in enumerate(row):
        image.paste(picture, (place * wide, above))
        draw.text((place * wide, above + picture.height + 1), caption, "black", font)
    return image


def _resized(image, side):
    image = np.asarray(image)
    if image.dtype != np.uint8:
        image = np.round(255 * np.clip(image, 0, 1)).astype("uint8")
    image = Image.fromarray(image)
    scale = side / min(image.size)
    if scale == 1:
        return image
    # Small pictures keep their pixels: what a network did is to be seen, not what a filter makes of it.
    filter_ = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.LANCZOS
    return image.resize([max(1, round(scale * edge)) for edge in image.size], filter_)


def _font():
    from matplotlib import font_manager

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 13)


def _wrapped(text, font, width):
    """The lines of a title that is broken at spaces and underscores where it is wider than a picture."""
    lines = [""]
    for word in text.replace("_", " ").split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def best_and_worst(scores, name, system, split, count=5):
    """The best and the worst pictures of a system by ΔE2000 among those that have colour, each from a photograph of its own.

    Args:
        scores: `Scores`.
        name: of the system there.
        system: object with `predict_color`.
        split: the `Split` that was scored. Patches of one photograph (FILE#LEFT,TOP,SIDE) count as one.
        count: pictures a row.

    Returns:
        `Pictures` of four rows, and the values of the best and of the worst.
    """
    ranked = scores.values(name, "delta_e2000").sort_values()
    sources = [file.partition("#")[0] for file in split.files] or list(range(len(split)))
    rows, captions, values = {}, {}, []
    for part, order in (("best", ranked.index), ("worst", ranked.index[::-1])):
        first = {}
        for row in order:
            first.setdefault(sources[row], row)
        chosen = list(first.values())[:count]
        values.append(ranked.loc[chosen].tolist())
        rows[f"{part}, colorized"] = np.asarray(system.predict_color(split.images[chosen])[1])
        rows[f"{part}, original"] = split.images[chosen]
        captions[f"{part}, colorized"] = [f"ΔE {value:.1f}" for value in values[-1]]
    return image_grid(rows, captions, across=True), *values


class Markdown:
    """Text that a notebook shows as Markdown, and a terminal as it is."""

    def __init__(self, text):
        self._text = text

    def _repr_markdown_(self):
        return self._text

    def __repr__(self):
        return self._text


def source(*functions):
    """The source of functions or classes, highlighted where a notebook shows it."""
    code = "\n\n\n".join(inspect.getsource(function).rstrip() for function in functions)
    return Markdown(f"```python\n{code}\n```")
