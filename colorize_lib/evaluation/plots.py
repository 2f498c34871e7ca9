"""Figures of the notebooks: learning curves, image grids, architectures. Each returns a matplotlib figure or a PIL image."""

import sys

import numpy as np


def _subplots(*arguments, **options):
    """`pyplot.subplots`; where matplotlib is told to open windows and there is no display, a backend without any."""
    from matplotlib import pyplot as plt

    try:
        return plt.subplots(*arguments, **options)
    except ImportError:
        plt.switch_backend("module://matplotlib_inline.backend_inline" if "ipykernel" in sys.modules else "agg")
        return plt.subplots(*arguments, **options)


def learning_curves(histories, column, label=None):
    """Training (solid) and validation (dashed) curves of one column over epochs.

    Args:
        histories: {system: list of one dictionary an epoch}, as `Run.fit` returns.
        column: name of the training column; validation's is "val_" + name.
        label: text of the vertical axis.
    """
    from matplotlib import pyplot as plt

    figure, axes = _subplots(figsize=(7, 4))
    for number, (system, history) in enumerate(histories.items()):
        epochs = [row["epoch"] for row in history]
        for name, style in ((column, "-"), (f"val_{column}", "--")):
            if name in history[0]:
                marker = "o" if len(history) == 1 else None
                text = f"{system}, {'validation' if name != column else 'training'}"
                axes.plot(epochs, [row[name] for row in history], style, marker=marker, color=f"C{number}", label=text)
    axes.set(xlabel="epoch", ylabel=label or column)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    plt.close(figure)
    return figure


def panels(rows, log=()):
    """Curves over epochs in small panels: one row a quantity, one column a system, one scale a row.

    Args:
        rows: {label of the vertical axis: {title of the column: {name: values, one an epoch, or one number}}}. A single number,
            such as what a constant scores, is a dotted line.
        log: labels of the rows with a logarithmic axis.
    """
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MaxNLocator

    columns = len(next(iter(rows.values())))
    size = (2.4 * columns + 0.8, 2.1 * len(rows) + 0.6)
    figure, axes = _subplots(len(rows), columns, figsize=size, squeeze=False, sharey="row", layout="constrained")
    for title, axis in zip(next(iter(rows.values())), axes[0], strict=True):
        axis.set_title(title, fontsize="small")
    for (label, systems), line in zip(rows.items(), axes, strict=True):
        line[0].set(ylabel=label, yscale="log" if label in log else "linear")
        for curves, axis in zip(systems.values(), line, strict=True):
            axis.grid(alpha=0.3)
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            for number, (name, values) in enumerate(curves.items()):
                if np.ndim(values):
                    marker = "o" if len(values) == 1 else None
                    axis.plot(np.arange(1, len(values) + 1), values, color=f"C{number}", marker=marker, label=name)
                else:
                    axis.axhline(values, color=f"C{number}", linestyle=":", label=name)
        line[0].legend(fontsize="x-small")
    for axis in axes[-1]:
        axis.set_xlabel("epoch")
    plt.close(figure)
    return figure


def image_grid(columns, captions=None, side=1.1):
    """Images side by side: one column a system, one row an image.

    Args:
        columns: {title: images}, each a sequence of the same number of RGB images, uint8 or float in [0, 1].
        captions: optional {title: texts} printed under the images of a column.
        side: inches of an image.
    """
    from matplotlib import pyplot as plt

    rows = len(next(iter(columns.values())))
    captions = captions or {}
    height = side * (1.22 if captions else 1.04)
    figure, axes = _subplots(rows, len(columns), figsize=(side * len(columns), height * rows), squeeze=False)
    for column, (title, images) in enumerate(columns.items()):
        axes[0, column].set_title(title, fontsize=8)
        for row, image in enumerate(images):
            axis = axes[row, column]
            axis.imshow(np.asarray(image))
            axis.set(xticks=[], yticks=[], frame_on=False)
            if title in captions:
                axis.set_xlabel(captions[title][row], fontsize=7, labelpad=1)
    figure.tight_layout(pad=0.2)
    plt.close(figure)
    return figure


def distributions(samples, label, bins=60, limit=None):
    """Densities of several samples over one axis, as outlines. `samples`: {name: numbers}; `limit`: upper end of the axis."""
    from matplotlib import pyplot as plt

    figure, axes = _subplots(figsize=(7, 3.2))
    limit = limit or max(float(np.percentile(values, 99.5)) for values in samples.values())
    for name, values in samples.items():
        axes.hist(np.clip(values, 0, limit), np.linspace(0, limit, bins), density=True, histtype="step", label=name)
    axes.set(xlabel=label, ylabel="density")
    axes.legend(fontsize="small")
    plt.close(figure)
    return figure


def architecture(model, scale=3, leave_out=()):
    """The layers of a Keras model as boxes in the size of their output, drawn by visualkeras; a PIL image.

    Args:
        scale: how large a pixel of an output is drawn.
        leave_out: classes of layers that are not drawn, such as normalizations and activations.
    """
    import warnings

    import visualkeras

    for layer in model.layers:
        layer.output_shape = tuple(layer.output.shape)  # visualkeras reads Keras 2's name of it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about visualkeras' own defaults
        options = dict(type_ignore=list({type(layer) for layer in model.layers if isinstance(layer, tuple(leave_out))}))
        options |= dict(scale_xy=scale, scale_z=0.5, max_z=130, spacing=14)
        image = visualkeras.layered_view(model, legend=True, **options)
    return image.convert("RGB")


def curves(panels, label):
    """Panels beside each other, several curves in each. `panels`: {label of the vertical axis: {name: (x, y)}}; `label`: of x."""
    from matplotlib import pyplot as plt

    figure, all_axes = _subplots(1, len(panels), figsize=(5 * len(panels), 3.4), squeeze=False)
    for axes, (y_label, lines) in zip(all_axes[0], panels.items(), strict=True):
        for number, (name, (x, y)) in enumerate(lines.items()):  # of curves that coincide both are seen
            style = ("-", "--", "-.", ":")[number % 4]
            axes.plot(x, y, style, marker="o" if len(x) == 1 else None, label=name)
        axes.set(xlabel=label, ylabel=y_label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    figure.tight_layout()
    plt.close(figure)
    return figure
