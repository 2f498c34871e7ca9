import io

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from colorize_lib import models
from colorize_lib.dataset import Split
from colorize_lib.evaluation import evaluate, plots
from colorize_lib.evaluation.scores import Scores

HISTORY = [{"epoch": 1, "loss": 0.5, "val_loss": 0.4}, {"epoch": 2, "loss": 0.3, "val_loss": 0.6}]


def outside(axes):
    """Whether the legend lies to the right of the curves."""
    axes.figure.canvas.draw()
    return axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1


def test_learning_curves_show_training_and_validation_over_whole_epochs():
    axes = plots.learning_curves({"cnn": HISTORY}, "loss", "squared error", best=True).axes[0]
    assert [line.get_label() for line in axes.lines[:2]] == ["cnn, training", "cnn, validation"]
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [[0.5, 0.3], [0.4, 0.6]]
    assert (axes.lines[2].get_xdata()[0], axes.lines[2].get_ydata()[0]) == (1, 0.4)  # the lowest validation loss
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "squared error")
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    assert outside(axes)


def test_learning_curves_take_the_history_of_keras():
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(loss="mse")
    ones = np.ones((4, 1))
    history = model.fit(ones, ones, validation_data=(ones, ones), epochs=2, verbose=0)
    axes = plots.learning_curves({"mine": history}, "loss").axes[0]
    assert list(axes.lines[0].get_xdata()) == [1, 2]
    assert list(axes.lines[1].get_ydata()) == history.history["val_loss"]


def test_image_grid_shows_every_image_large_enough():
    images = np.zeros((2, 8, 8, 3))
    images[1] = 1
    grid = plots.image_grid({"input": images, "a system with a long name": images[::-1]}, {"input": ["a", "b"]})
    pixels = np.asarray(grid.image)
    middle = plots.SIDE // 2
    high = plots.SIDE + 17 + 4  # a picture, its caption, and a gap
    top = pixels.shape[0] - 2 * high
    rows = [top + middle, top + high + middle]
    columns = [middle, plots.SIDE + 4 + middle]
    assert [[pixels[row, column, 0] for column in columns] for row in rows] == [[0, 255], [255, 0]]
    assert pixels.shape[1] >= 2 * 160


def test_pictures_without_titles_take_no_room_for_them():
    row = np.zeros((3, 8, 8, 3))
    across = plots.image_grid({"": row}, across=True)
    assert across.image.size == (3 * (plots.SIDE + 4), plots.SIDE + 4)
    assert plots.image_grid({"": row}).image.size == across.image.size[::-1] == (plots.SIDE + 4, 3 * (plots.SIDE + 4))


def test_only_rows_with_captions_have_room_for_them():
    row = np.zeros((2, 8, 8, 3))
    rows = {"best": row, "original": row}
    heights = [plots.image_grid(rows, captions, across=True).image.height for captions in ({}, {"best": ["1", "2"]})]
    assert heights[1] - heights[0] == 17


def test_short_titles_stand_next_to_their_pictures():
    """At the height of the last line of a long one, not of its first."""
    images = np.ones((1, 8, 8, 3))
    grid = plots.image_grid({"a": images, "a title that takes three lines of the width of a picture": images}).image
    above = np.asarray(grid.convert("L"))[: grid.height - plots.SIDE - 4]
    of_short, of_long = above[:, : plots.SIDE], above[:, plots.SIDE + 4 :]
    first, last = (np.flatnonzero(part.min(1) < 128) for part in (of_long, of_short))
    assert first[0] < 20 < last[0]


def test_pictures_are_jpeg_in_a_notebook_and_on_disk(tmp_path):
    grid = plots.image_grid({"x": [np.full((8, 8, 3), 200, "uint8")]})
    grid.savefig(tmp_path / "partial", dpi=100)
    for data in (grid._repr_jpeg_(), (tmp_path / "partial").read_bytes()):
        assert Image.open(io.BytesIO(data)).format == "JPEG"
    assert not hasattr(grid, "_repr_png_")


def test_best_and_worst_are_of_different_photographs_and_have_colour():
    images = np.zeros((8, 16, 16, 3), "uint8")
    files = ["a.jpg#0,0,9", "a.jpg#9,0,9", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg#1,1,9", "f.jpg#2,2,9"]
    split = Split(images, np.zeros(8, "int32"), files)
    table = pd.DataFrame({"delta_e2000": [1.0, 2, 3, 4, 0.5, 6, 7, 8], "gray": [False] * 4 + [True] + [False] * 3})
    found = Scores({"cnn": {"last": ("1", table)}})
    pictures, best, worst = plots.best_and_worst(found, "cnn", evaluate.ConstantColor(), split, count=3)
    assert best == [1, 3, 4]
    assert worst == [8, 6, 4]
    assert pictures.image.width > 3 * plots.SIDE


def test_distributions_are_densities():
    samples = {"truth": np.random.default_rng(0).uniform(0, 10, 500)}
    axes = plots.distributions(samples, "chroma").axes[0]
    assert sum(patch.get_height() * patch.get_width() for patch in axes.patches) == pytest.approx(1)
    figure = plots.distributions(samples | {"cnn": np.full(9, 2.0)}, "chroma")
    assert [axes.get_yticklabels()[0].get_text() for axes in figure.axes] == ["truth", "cnn"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "chroma"]
    assert figure.axes[1].lines[0].get_xdata()[0] == 2  # the median
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_curves_are_drawn_in_panels():
    lines = {"discriminator": ([1, 2, 3], [1.4, 1.2, 1.3]), "generator": ([1, 2, 3], [0.7, 0.8, 0.9])}
    figure = plots.curves({"loss": lines, "L1": {"generator": ([1], [0.1])}}, "batches")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "L1"]
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[1.4, 1.2, 1.3], [0.7, 0.8, 0.9]]
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == list(lines)
    assert outside(figure.axes[0])
    shared = plots.curves({"loss": lines, "error": lines}, "batches").axes
    assert [axes.get_legend() is None for axes in shared] == [True, False]


def test_panels_have_one_scale_a_row_and_dot_what_is_constant():
    loss = {"cnn": {"training": [0.5, 0.3], "no network": 0.2}, "unet": {"training": [0.9, 0.8], "no network": 0.1}}
    accuracy = {name: {"training": [0.5], "no network": 0.6} for name in loss}
    axes = plots.panels({"loss": loss, "accuracy": accuracy}, log=["loss"]).axes
    assert [axis.get_title() for axis in axes] == ["cnn", "unet", "", ""]
    assert [axes[0].get_ylabel(), axes[2].get_ylabel()] == ["loss", "accuracy"]
    assert [axis.get_xlabel() for axis in axes] == ["", "", "epoch", "epoch"]
    assert [axis.get_yscale() for axis in axes] == ["log", "log", "linear", "linear"]
    assert axes[0].get_ylim() == axes[1].get_ylim()
    axes[0].figure.canvas.draw()
    inner = axes[1].yaxis.get_ticklabels(
        which="both"
    )  # a logarithmic axis of less than a decade labels its smaller ticks
    assert not [text for text in inner if text.get_visible() and text.get_text()]
    curve, constant = axes[0].lines
    assert [list(curve.get_xdata()), list(curve.get_ydata())] == [[1, 2], [0.5, 0.3]]
    assert (list(constant.get_ydata()), constant.get_linestyle()) == ([0.2, 0.2], ":")


def test_panels_of_many_systems_are_continued_below_with_every_legend_at_the_right():
    names = [f"a_system_with_the_number_{number}" for number in range(5)]
    axes = plots.panels({"loss": {name: {"training": [0.5, 0.3]} for name in names}}).axes
    assert [axis.get_title().replace("\n", " ") for axis in axes] == [name.replace("_", " ") for name in names] + [""]
    assert max(len(line) for axis in axes for line in axis.get_title().splitlines()) <= 20
    assert [axis.get_legend() is not None for axis in axes] == [False, False, True] * 2
    assert [axis.axison for axis in axes] == [True] * 5 + [False]
    assert outside(axes[5])


def test_source_is_what_the_builder_is():
    shown = plots.source(models.entry("cnn").builder, models.polychromify._final)
    assert "def cnn(size=64" in str(shown)
    assert "def _final(" in str(shown)
    assert shown._repr_markdown_().startswith("```python\n")


def test_a_scatter_has_a_point_for_each_system_that_can_be_told_from_the_others():
    points = {f"system {number}": (10.0**number, number) for number in range(12)}
    left, right = plots.scatter({"ΔE2000": points, "distance": points}, "operations").axes
    assert left.get_xscale() == "log"
    assert [tuple(line.get_xydata()[0]) for line in left.lines] == list(points.values())
    assert len({(line.get_color(), line.get_marker()) for line in left.lines}) == 12
    assert [text.get_text() for text in right.get_legend().get_texts()] == list(points)
    assert (left.get_ylabel(), right.get_ylabel(), left.get_xlabel()) == ("ΔE2000", "distance", "operations")


def test_bars_of_shares_are_joined_from_their_parts_the_first_system_at_the_top():
    (axes,) = plots.shares({"truth": {"green": 0.2, "red": 0.3}, "net": {"green": 0.1, "red": 0}}, "share", "gr").axes
    green, red = axes.containers
    assert [text.get_text() for text in axes.get_yticklabels()] == ["net", "truth"]
    assert [bar.get_width() for bar in green] == [0.1, 0.2]
    assert [bar.get_x() for bar in red] == [0.1, 0.2]
    assert [bar.get_width() for bar in red] == pytest.approx([0, 0.3])


def test_a_single_epoch_is_a_point_and_one_column_has_its_own_scale():
    axes = plots.panels({"loss": {"cnn": {"long": [3.0, 2.0], "short": [2.0]}}}, log=["loss"]).axes
    assert [line.get_marker() for line in axes[0].lines] == ["None", "o"]
    assert axes[0].get_yscale() == "log"
    assert [len(axis.get_xticks()) < 8 for axis in axes] == [True]
    for length, marker in ((1, "o"), (2, "None")):
        lines = plots.learning_curves({"cnn": HISTORY[:length]}, "loss").axes[0].lines
        assert {line.get_marker() for line in lines} == {marker}


def test_pictures_are_shown_in_their_own_values_and_at_their_place():
    """Numbers of 0 to 1 and bytes are the same pictures; what is beyond is cut off."""
    values = np.array([-0.5, 0, 0.2, 0.4, 0.8, 1, 1.7])
    floats = np.broadcast_to(values[:, None, None, None], (7, 8, 8, 3))
    eight_bits = np.round(255 * floats.clip(0, 1)).astype("uint8")
    for images in (floats, floats.astype("float32"), eight_bits):
        pixels = np.asarray(plots.image_grid({"": images}).image)
        cells = pixels[:, : plots.SIDE].reshape(7, plots.SIDE + 4, plots.SIDE, 3)[:, : plots.SIDE]
        assert (cells == eight_bits[:, :1, :1]).all()


def test_systems_that_do_not_fit_next_to_each_other_are_below_each_other_each_under_its_title():
    images = np.zeros((3, 8, 8, 3))
    fitting = plots.PAGE // (plots.SIDE + plots.GAP)
    assert fitting == 5
    few, many = (plots.image_grid({f"{name}": images for name in range(count)}) for count in (fitting, fitting + 1))
    assert few.image.width == fitting * (plots.SIDE + plots.GAP)
    assert many.image.width == 3 * (plots.SIDE + plots.GAP)
    strips = np.split(np.asarray(many.image.convert("L")), fitting + 1)
    for strip in strips:
        assert (strip[-plots.GAP - plots.SIDE : -plots.GAP, : plots.SIDE] == 0).all()
        assert strip[: -plots.GAP - plots.SIDE].min() < 128  # the title
    forced = plots.image_grid({f"{name}": images for name in range(8)}, across=False)
    assert forced.image.width == 8 * (plots.SIDE + plots.GAP)


def test_long_rows_are_continued_below_in_equal_parts():
    images = np.arange(6)[:, None, None, None] / 6 * np.ones((6, 8, 8, 3))
    pixels = np.asarray(plots.image_grid({"": images}, across=True).image)
    step = plots.SIDE + plots.GAP
    assert pixels.shape[:2] == (2 * step, 3 * step)
    values = pixels[plots.SIDE // 2 :: step, plots.SIDE // 2 :: step, 0]
    assert values.tolist() == [[0, 42, 85], [128, 170, 212]]


def test_a_picture_says_how_large_the_smallest_one_on_it_is():
    """The shorter side of each is `side`, whatever its shape."""
    images = [np.zeros((30, 60, 3)), np.zeros((10, 10, 3)), np.zeros((500, 400, 3))]
    data = io.BytesIO(plots.image_grid({"": images}, side=100)._repr_jpeg_())
    assert Image.open(data).info["comment"] == b"smallest picture: 200x100 pixels"
