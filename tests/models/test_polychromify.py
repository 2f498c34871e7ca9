import keras
import numpy as np
import pytest
from keras import layers

from colorize_lib import models
from colorize_lib.errors import InputError


def test_dropout_where_the_paper_has_it():
    def rates(name):
        return [layer.rate for layer in models.build(name, width=0.1).layers if isinstance(layer, layers.Dropout)]

    assert rates("polychromify") == rates("polychromify_a") == [0.5, 0.5]
    assert len(rates("polychromify_v6")) == 2
    for name in ("polychromify_overfit", "polychromify_v4", "polychromify_v5", "cnn"):
        assert rates(name) == []


# Encoder's convolutions, dense layers, decoder's convolutions: section 4, and section 5, "Size of network".
FINAL = ((64, 128, 256), (128, 64, 128), (256, 128, 64))
S1 = ((32, 64, 128), (128, 64, 128), (128, 64, 32))
S2 = ((32, 64, 128, 256), (128, 64, 32, 64, 128), (256, 128, 64, 32))


def written_out(sizes, channels=2, strided=True, batch_norm=True, dropout=True):
    """The final model as the paper's section 4 lists it, or a row of its Table 1, plainly."""
    encoder, dense, decoder = sizes
    network = [layers.Conv2D(filters, 3, 1 + strided, "same", activation="relu") for filters in encoder]
    network += [layers.BatchNormalization()] * batch_norm
    for units in dense[:-1]:
        network += [layers.Dense(units, "relu"), layers.Dropout(0.5)][: 1 + dropout]
    network += [layers.Dense(dense[-1], "relu")]
    network += [layers.BatchNormalization()] * batch_norm
    for filters in decoder:
        network += [layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.UpSampling2D()][: 1 + strided]
    return keras.Sequential([keras.Input((64, 64, 1)), *network, layers.Conv2D(channels, 1, activation="tanh")])


def assert_same_network(model, plain):
    """The same kinds of layers one after the other, and with the same random weights the same output."""
    assert [type(layer) for layer in model.layers[1:]] == [type(layer) for layer in plain.layers]
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.05, weight.shape) for weight in plain.get_weights()]
    weights = [np.abs(weight) if weight.ndim == 1 else weight for weight in weights]  # variances are positive
    plain.set_weights(weights)
    model.set_weights(weights)
    lightness = random.uniform(0, 100, (2, 64, 64, 1)).astype("float32")
    expected = np.asarray(plain(lightness))
    assert 0.02 < expected.std() < 0.5  # neither idle nor at the ends of the tanh
    assert np.allclose(model(lightness), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("polychromify", dict(sizes=FINAL)),
        ("polychromify_a", dict(sizes=FINAL, channels=1)),
        ("polychromify_v1", dict(sizes=S1, strided=False, batch_norm=False, dropout=False)),
        ("polychromify_v2", dict(sizes=S2, strided=False, batch_norm=False, dropout=False)),
        ("polychromify_v4", dict(sizes=S1, dropout=False)),
        ("polychromify_v6", dict(sizes=S1)),
    ],
)
def test_same_output_as_the_layers_written_out(name, plain):
    assert_same_network(models.build(name), written_out(**plain))


def test_cnn_same_output_as_the_layers_written_out():
    plain = keras.Sequential([keras.Input((64, 64, 1))])
    for filters in (32, 64, 128):
        plain.add(layers.Conv2D(filters, 3, padding="same", activation="relu"))
        plain.add(layers.BatchNormalization())
    plain.add(layers.Conv2D(2, 1, activation="tanh"))
    assert_same_network(models.build("cnn"), plain)


def test_width_scales_filters():
    narrow = models.build("polychromify", width=0.25)
    assert narrow.get_layer("encoder3_conv").filters == 64
    assert narrow.count_params() < 1_084_802 / 12


def test_mixed_precision_keeps_weights_and_output_in_float32():
    model = models.build("polychromify", width=0.1, dtype="mixed_bfloat16")
    assert model.get_layer("encoder1_conv").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"


def test_unknown_names_are_one_clear_sentence():
    with pytest.raises(InputError, match="did you mean 'polychromify'"):
        models.build("polychromfy")
    with pytest.raises(InputError, match="no option 'widht': it takes size, width"):
        models.build("polychromify", widht=2)


@pytest.mark.parametrize("name", models.names("polychromify"))
def test_sizes_that_come_out_larger_than_they_went_in_are_refused(name):
    if name in ("cnn", "polychromify_v1", "polychromify_v2"):  # without strides
        assert models.build(name, size=63, width=0.05).output_shape[1:3] == (63, 63)
        return
    with pytest.raises(InputError, match="a multiple of 8, not 63"):
        models.build(name, size=63, width=0.05)
    assert models.build(name, size=72, width=0.05).output_shape[1:3] == (72, 72)


@pytest.mark.parametrize("width", [0, -1, float("nan")])
def test_a_width_is_above_0_and_leaves_at_least_one_filter(width):
    with pytest.raises(InputError, match="width factor must be above 0, not"):
        models.build("cnn", size=8, width=width)
    assert {layer.filters for layer in models.build("cnn", size=8, width=1e-6).layers if hasattr(layer, "filters")} == {
        1,
        2,  # a and b
    }
