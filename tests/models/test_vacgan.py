import keras
import numpy as np
import pytest
from keras import layers

from colorize_lib import models
from colorize_lib.errors import InputError

SMALL = dict(size=16, width=1 / 16)


def test_shapes():
    assert models.build("kth_unet", width=0.05).output_shape == (None, 32, 32, 2)
    assert models.build("kth_generator", size=64, width=0.05).output_shape == (None, 64, 64, 2)
    assert models.build("patch_discriminator", width=0.05).output_shape == (None, 4, 4, 1)
    assert models.build("vac_classifier", width=0.05, classes=8).output_shape == (None, 8)


def test_dropout_where_the_code_has_it():
    def dropouts(name):
        return [layer.name for layer in models.build(name, **SMALL).layers if isinstance(layer, layers.Dropout)]

    decoder = ["decoder1_dropout", "decoder2_dropout"]
    assert dropouts("kth_unet") == decoder
    assert dropouts("kth_generator") == ["encoder4_dropout", "encoder5_dropout", *decoder]
    assert dropouts("patch_discriminator") == dropouts("vac_classifier") == []


def test_same_output_as_the_layers_written_out():
    def encode(x, filters, strides=2):
        x = layers.Conv2D(filters, 4, strides, "same")(x)
        return layers.LeakyReLU(0.2)(layers.BatchNormalization()(x))

    def decode(x, skip, filters):
        x = layers.Conv2DTranspose(filters, 4, 2, "same")(x)
        return layers.Concatenate()([skip, layers.ReLU()(layers.BatchNormalization()(x))])

    inputs = keras.Input((16, 16, 1))
    e1 = encode(inputs, 4, strides=1)
    e2 = encode(e1, 8)
    e3 = encode(e2, 16)
    e4 = encode(e3, 32)
    x = decode(encode(e4, 32), e4, 32)
    x = decode(decode(decode(x, e3, 16), e2, 8), e1, 4)
    plain = keras.Model(inputs, layers.Conv2D(2, 1, activation="tanh")(x))
    model = models.build("kth_generator", **SMALL)
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.15, weight.shape) for weight in plain.get_weights()]
    weights = [np.abs(weight) if weight.ndim == 1 else weight for weight in weights]  # variances are positive
    plain.set_weights(weights)
    model.set_weights(weights)
    lightness = random.uniform(-1, 1, (2, 16, 16, 1)).astype("float32")
    expected = np.asarray(plain(lightness))
    assert expected.std() > 0.1
    assert np.allclose(model(lightness), expected, atol=1e-5)


def test_the_report_s_discriminator():
    report = models.build("patch_discriminator", reading="report", width=0.05)
    assert report.output_shape == (None, 1, 1, 1)
    strides = [layer.strides[0] for layer in report.layers if isinstance(layer, layers.Conv2D)]
    assert strides == [2] * 5
    assert sum(isinstance(layer, layers.BatchNormalization) for layer in report.layers) == 4
    pairs = np.random.default_rng(0).normal(0, 9, (16, 32, 32, 3)).astype("float32")
    probabilities = np.asarray(report(pairs))
    assert 0 <= probabilities.min() < probabilities.max() <= 1
    code = models.build("patch_discriminator", width=0.05)
    assert [layer.strides[0] for layer in code.layers if isinstance(layer, layers.Conv2D)] == [2, 2, 2, 1, 1]
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in code.layers)


def test_the_rate_of_the_dropout_is_a_parameter():
    rates = [
        layer.rate for layer in models.build("kth_generator", dropout=0.2, **SMALL).layers if "dropout" in layer.name
    ]
    assert rates == [0.2] * 4


@pytest.mark.parametrize(
    ("name", "frozen", "train"),
    [
        ("kth_unet", dict(batch_norm="frozen"), dict(batch_norm="train")),
        ("patch_discriminator", dict(reading="code", size=32), dict(reading="report", size=32)),
    ],
)
def test_frozen_batch_norm_knows_no_batch(name, frozen, train):
    def spread(options):
        """How far an image's output in training depends on the others in the batch."""
        model = models.build(name, **SMALL | options)
        for layer in model.layers:
            if isinstance(layer, layers.Dropout):
                layer.rate = 0.0
        images = np.random.default_rng(0).uniform(-1, 1, (8, *model.input_shape[1:])).astype("float32")
        return np.abs(np.asarray(model(images, training=True))[:4] - model(images[:4], training=True)).max()

    assert spread(frozen) < 1e-6
    assert spread(train) > 1e-3


def test_the_code_s_frozen_scale_and_offset_are_trained():
    model = models.build("kth_unet", **SMALL)
    trained = [variable.path for variable in model.trainable_variables]
    assert "encoder1_bn/gamma" in trained
    assert "encoder1_bn/beta" in trained


def test_initializers_differ_in_their_tails():
    """In standard deviations a uniform distribution ends at √3, the normal one truncated at 2 of its own at 2.27."""

    def reach(initializer):
        kernel = models.build("vac_classifier", initializer=initializer, width=0.5).get_layer("block3_conv").kernel
        return np.abs(np.asarray(kernel)).max() / np.sqrt(2 / (16 * (64 + 128)))

    assert reach("glorot_uniform") == pytest.approx(np.sqrt(3), rel=1e-3)
    assert reach("glorot_normal") == pytest.approx(2 / 0.8796, rel=1e-2)


def test_mixed_precision_keeps_weights_and_outputs_in_float32():
    for name in models.names("vacgan"):
        model = models.build(name, dtype="mixed_bfloat16", **SMALL)
        assert model.layers[1].compute_dtype == "bfloat16"
        assert model.output.dtype == "float32"
        assert {weight.dtype for weight in model.trainable_weights} == {"float32"}


def test_impossible_choices_are_one_clear_sentence():
    with pytest.raises(InputError, match="kth_unet takes a size that is a multiple of 16, not 30"):
        models.build("kth_unet", size=30)
    with pytest.raises(InputError, match='takes reading "code" or "report", not \'paper\''):
        models.build("patch_discriminator", reading="paper")
    with pytest.raises(InputError, match="patch_discriminator takes a size that is a multiple of 32, not 16"):
        models.build("patch_discriminator", reading="report", size=16)
    with pytest.raises(InputError, match='takes batch_norm "frozen", "train" or None, not \'on\''):
        models.build("kth_generator", batch_norm="on")
    with pytest.raises(InputError, match='takes initializer "glorot_uniform" or "glorot_normal", not \'he\''):
        models.build("vac_classifier", initializer="he")


@pytest.mark.parametrize("name", models.names("vacgan"))
def test_every_leaky_relu_has_the_slope_of_the_code(name):
    slopes = [
        layer.negative_slope for layer in models.build(name, **SMALL).layers if isinstance(layer, layers.LeakyReLU)
    ]
    assert slopes == [0.2] * len(slopes)
    assert len(slopes) >= 3
