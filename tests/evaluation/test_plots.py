import keras
import numpy as np

from colorize_lib import models
from colorize_lib.evaluation import plots


def test_learning_curves_show_training_and_validation():
    history = [{"epoch": 1, "loss": 0.5, "val_loss": 0.6}, {"epoch": 2, "loss": 0.3, "val_loss": 0.4}]
    axes = plots.learning_curves({"cnn": history}, "loss").axes[0]
    assert [line.get_label() for line in axes.lines] == ["cnn, training", "cnn, validation"]
    assert [list(line.get_ydata()) for line in axes.lines] == [[0.5, 0.3], [0.6, 0.4]]


def test_image_grid_shows_every_image_with_title_and_caption():
    images = np.random.default_rng(0).random((3, 8, 8, 3))
    figure = plots.image_grid({"input": images, "cnn": images / 2}, {"cnn": ["a", "b", "c"]})
    assert len(figure.axes) == 6
    assert [axis.get_title() for axis in figure.axes[:2]] == ["input", "cnn"]
    assert [axis.get_xlabel() for axis in figure.axes[1::2]] == ["a", "b", "c"]
    assert np.array_equal(figure.axes[3].images[0].get_array(), images[1] / 2)


def test_distributions_are_densities():
    samples = {"truth": np.random.default_rng(0).uniform(0, 10, 500)}
    axes = plots.distributions(samples, "chroma").axes[0]
    assert axes.get_xlabel() == "chroma"
    assert [text.get_text() for text in axes.get_legend().texts] == ["truth"]


def test_architecture_is_drawn_from_the_model():
    small, large = (plots.architecture(models.build(name, size=32, width=0.1)) for name in ("cnn", "polychromify"))
    assert large.width > small.width  # more layers
    assert np.asarray(large).std() > 10
    network = models.build("kth_unet", width=0.1)
    whole, bare = (plots.architecture(network, 8, leave_out) for leave_out in ((), [keras.layers.BatchNormalization]))
    assert bare.width < whole.width


def test_curves_are_drawn_in_panels():
    lines = {"discriminator": ([1, 2, 3], [1.4, 1.2, 1.3]), "generator": ([1, 2, 3], [0.7, 0.8, 0.9])}
    figure = plots.curves({"loss": lines, "L1": {"generator": ([1], [0.1])}}, "batches")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "L1"]
    assert [list(line.get_ydata()) for line in figure.axes[0].lines] == [[1.4, 1.2, 1.3], [0.7, 0.8, 0.9]]
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == list(lines)


def test_panels_have_one_scale_a_row_and_dot_what_is_constant():
    loss = {"cnn": {"training": [0.5, 0.3], "no network": 0.2}, "unet": {"training": [0.9, 0.8], "no network": 0.1}}
    accuracy = {name: {"training": [0.5], "no network": 0.6} for name in loss}
    axes = plots.panels({"loss": loss, "accuracy": accuracy}, log=["loss"]).axes
    assert [axis.get_title() for axis in axes] == ["cnn", "unet", "", ""]
    assert [axes[0].get_ylabel(), axes[2].get_ylabel()] == ["loss", "accuracy"]
    assert [axis.get_yscale() for axis in axes] == ["log", "log", "linear", "linear"]
    assert axes[0].get_ylim() == axes[1].get_ylim()
    curve, constant = axes[0].lines
    assert [list(curve.get_xdata()), list(curve.get_ydata())] == [[1, 2], [0.5, 0.3]]
    assert (list(constant.get_ydata()), constant.get_linestyle()) == ([0.2, 0.2], ":")
