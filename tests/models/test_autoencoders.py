"""The networks of Matos et al. against their printed listings, and the loading of pretrained weights."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers
from overfitting import batch, remaining_error

from colorize_lib import models
from colorize_lib.errors import InputError

# Options, input, output, as the report gives them or as they follow from its listings.
TABLE = {
    "autoencoder": ({}, (256, 256, 1), (256, 256, 2)),
    "resnet50_autoencoder": ({"weights": None}, (300, 300, 1), (300, 300, 2)),
    "vgg16_features": ({"weights": None}, (224, 224, 1), (7, 7, 512)),
    "vgg16_decoder": ({}, (7, 7, 512), (224, 224, 2)),
    "pix2pix_unet": ({}, (256, 256, 1), (256, 256, 3)),
    "dropout_autoencoder": ({}, (32, 32, 1), (32, 32, 3)),
}
SMALL = {
    "autoencoder": {"size": 24, "width": 0.25},
    "resnet50_autoencoder": {"size": 30, "width": 0.5, "weights": None},
    "vgg16_features": {"size": 64, "weights": None},
    "vgg16_decoder": {"size": 64, "width": 0.25},
    "pix2pix_unet": {"size": 128, "width": 0.125},
    "dropout_autoencoder": {"size": 40, "width": 0.25},
}


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


def conv(filters, kernel=3, strides=1, padding="same", activation="relu"):
    return layers.Conv2D(filters, kernel, strides, padding=padding, activation=activation)


def up(factor):
    return layers.UpSampling2D(factor)


def sequential(input_shape, *listing):
    return keras.Sequential([keras.Input(input_shape), *listing])


def assert_same_network(model, printed):
    """With the weights of the one, the other gives the same output; the weights are enlarged, so that no layer is idle."""
    weights = [array * 1.5 + 0.01 * (array.ndim == 1) for array in model.get_weights()]
    model.set_weights(weights)
    printed.set_weights(weights)
    inputs = np.random.default_rng(0).random((1, *model.input_shape[1:]), "float32")
    expected, found = printed.predict_on_batch(inputs), model.predict_on_batch(inputs)
    assert expected.std() > 1e-4
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_paper_has_these_networks():
    assert models.names("autoencoders") == sorted(TABLE)


@pytest.mark.long
@pytest.mark.parametrize("name", SMALL)
def test_width_and_size_make_a_smaller_network_of_the_same_layers(name):
    options = SMALL[name]
    small, full = models.build(name, **options), models.build(name, **TABLE[name][0])
    assert (full.input_shape[1:], full.output_shape[1:]) == TABLE[name][1:]
    assert [type(layer) for layer in small.layers] == [type(layer) for layer in full.layers]
    assert small.count_params() < full.count_params() or name == "vgg16_features"
    spatial = options["size"] // 32 if name == "vgg16_features" else options["size"]
    assert small.output_shape[1:3] == (spatial, spatial)


@pytest.mark.parametrize("name", SMALL)
def test_output_is_float32_in_range_also_in_mixed_precision(name):
    model = models.build(name, dtype="mixed_bfloat16", **SMALL[name])
    outputs = model.predict_on_batch(np.random.default_rng(0).random((2, *model.input_shape[1:]), "float32"))
    assert outputs.dtype == np.float32
    low = -1 if models.entry(name).convention == "miu" else 0
    high = np.inf if name == "vgg16_features" else 1
    assert outputs.min() >= low
    assert outputs.max() <= high


def test_autoencoder_is_the_printed_listing():
    printed = sequential(
        (32, 32, 1),
        conv(64, strides=2),
        conv(128),
        conv(128, strides=2),
        conv(256),
        conv(256, strides=2),
        conv(512),
        conv(512),
        conv(256),
        conv(128),
        up(2),
        conv(64),
        up(2),
        conv(32),
        conv(16),
        conv(2, activation="tanh"),
        up(2),
    )
    assert_same_network(models.build("autoencoder", size=32), printed)


def test_resnet50_head_is_the_printed_listing():
    model = models.build("resnet50_autoencoder", size=90, weights=None)
    head = keras.Model(model.get_layer("backbone_upsample").input, model.output)
    printed = sequential(
        head.input_shape[1:],
        up(4),
        conv(8, 4, 2, "valid"),
        conv(16, 4),
        conv(16, strides=2),
        conv(32),
        conv(32, strides=2),
        up(2),
        conv(32),
        up(3),
        conv(16, 2),
        up(5),
        conv(2, activation="tanh"),
    )
    assert_same_network(head, printed)


def test_vgg16_decoder_is_the_printed_listing():
    printed = sequential(
        (2, 2, 512),
        conv(256),
        conv(128),
        up(2),
        conv(64),
        up(2),
        conv(32),
        up(2),
        conv(16),
        up(2),
        conv(2, activation="tanh"),
        up(2),
    )
    assert_same_network(models.build("vgg16_decoder", size=64), printed)


def test_pix2pix_unet_is_the_printed_listing():
    x = inputs = keras.Input((128, 128, 1))
    down = []
    for filters in (32, 64, 128, 256, 256, 256, 256):
        x = layers.LeakyReLU(negative_slope=0.2)(conv(filters, 4, 2, activation=None)(x))
        x = layers.BatchNormalization(momentum=0.8)(x)
        down.append(x)
    for filters, level in zip((256, 256, 256, 128, 64, 32), (5, 4, 3, 2, 1, 0), strict=True):
        x = layers.BatchNormalization(momentum=0.8)(conv(filters, 4)(up(2)(x)))
        x = layers.Concatenate()([x, down[level]])
    printed = keras.Model(inputs, conv(3, 4, activation="sigmoid")(up(2)(x)))
    model = models.build("pix2pix_unet", size=128)
    momenta = {layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)}
    assert momenta == {0.8}
    assert_same_network(model, printed)


def test_pix2pix_unet_at_an_odd_multiple_of_64_has_six_steps():
    """64 halved six times is one pixel; the names of what is left are those of the whole network."""
    small, whole = models.build("pix2pix_unet", size=64), models.build("pix2pix_unet", size=128)
    assert small.output_shape == (None, 64, 64, 3)
    assert small.get_layer("down6_bn").output.shape[1:] == (1, 1, 256)
    missing = {layer.name for layer in whole.layers} - {layer.name for layer in small.layers}
    assert missing == {f"down7_{part}" for part in ("conv", "relu", "bn")} | {
        f"up1_{part}" for part in ("upsample", "conv", "bn", "skip")
    }


def test_dropout_autoencoder_is_the_cited_network():
    def transposed(filters, strides, activation):
        return layers.Conv2DTranspose(filters, 3, strides, padding="same", activation=activation)

    printed = sequential(
        (32, 32, 1),
        conv(64, strides=2),
        conv(128, strides=2),
        conv(256, strides=2),
        layers.Flatten(),
        layers.Dense(256),
        layers.Dense(4 * 4 * 256),
        layers.Reshape((4, 4, 256)),
        transposed(256, 2, "relu"),
        transposed(128, 2, "relu"),
        transposed(64, 2, "relu"),
        transposed(3, 1, "sigmoid"),
    )
    original = models.build("dropout_autoencoder", dropout=0)
    assert not any(isinstance(layer, layers.Dropout) for layer in original.layers)
    assert_same_network(original, printed)


def test_dropout_acts_in_training_only():
    model = models.build("dropout_autoencoder", width=0.25, dropout=0.5)
    inputs = np.full((1, 32, 32, 1), 0.5, "float32")
    trained = [np.asarray(model(inputs, training=True)) for _ in range(2)]
    applied = [np.asarray(model(inputs, training=False)) for _ in range(2)]
    assert np.abs(trained[0] - trained[1]).max() > 1e-4
    np.testing.assert_array_equal(applied[0], applied[1])


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "options", "steps", "learning_rate"),
    [
        ("autoencoder", {"size": 16, "width": 0.5}, 200, 0.003),
        pytest.param(
            *("resnet50_autoencoder", {"size": 30, "width": 2, "weights": None, "freeze_backbone": True}, 125, 0.001),
            marks=pytest.mark.soak,
        ),
        ("vgg16_decoder", {"size": 64, "width": 0.5}, 100, 0.001),
        ("pix2pix_unet", {"size": 128, "width": 0.125}, 60, 0.003),
        ("dropout_autoencoder", {"width": 0.25, "dropout": 0}, 60, 0.003),
    ],
)
def test_one_batch_can_be_overfitted(name, options, steps, learning_rate):
    model = models.build(name, **options)
    inputs, targets = batch(model.input_shape[1:], model.output_shape[1:], 0.25, 0.75)
    assert remaining_error(model, inputs, targets, steps, keras.optimizers.Adam(learning_rate)) < 0.5


@pytest.mark.long
@pytest.mark.parametrize("freeze", [False, True])
def test_resnet50_is_trained_unless_frozen(freeze):
    model = models.build("resnet50_autoencoder", size=30, weights=None, freeze_backbone=freeze)
    before = model.get_layer("resnet50").get_weights()
    inputs, targets = batch(model.input_shape[1:], model.output_shape[1:], 0.25, 0.75)
    model.compile("rmsprop", "mse")
    model.train_on_batch(inputs, targets)
    after = model.get_layer("resnet50").get_weights()
    changed = [not np.array_equal(old, new) for old, new in zip(before, after, strict=True)]
    assert not any(changed) if freeze else np.mean(changed) > 0.9


@pytest.mark.long
def test_vgg16_features_are_frozen_and_see_three_equal_channels():
    model = models.build("vgg16_features", size=64, weights=None)
    assert model.trainable_weights == []
    vgg16 = keras.applications.VGG16(weights=None)  # with its classifier, as printed
    first = sequential((64, 64, 3), *vgg16.layers[1:19])
    first.set_weights(model.get_weights())
    lightness = np.random.default_rng(0).random((2, 64, 64, 1), "float32")
    expected = first.predict_on_batch(np.repeat(lightness, 3, axis=-1))
    assert expected.std() > 0
    np.testing.assert_allclose(model.predict_on_batch(lightness), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "application"),
    [("vgg16_features", keras.applications.VGG16), ("resnet50_autoencoder", keras.applications.ResNet50)],
)
def test_weights_from_a_file(name, application, tmp_path):
    donor = application(include_top=False, weights=None, input_shape=(64, 64, 3))
    file = tmp_path / "backbone.weights.h5"
    donor.save_weights(file)
    size = {"vgg16_features": 64, "resnet50_autoencoder": 30}[name]
    model = models.build(name, size=size, weights=file)
    backbone = model.get_layer(application.__name__.lower())
    for expected, found in zip(donor.get_weights(), backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_weights_from_a_folder_of_keras_files(tmp_path):
    donor = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    donor.save(tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5")
    model = models.build("vgg16_features", size=32, weights=tmp_path)
    for expected, found in zip(donor.get_weights(), model.get_layer("vgg16").get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(InputError, match=r"no weights file .*resnet50_weights_tf_dim_ordering_tf_kernels_notop\.h5"):
        models.build("resnet50_autoencoder", size=30, weights=tmp_path)


@pytest.mark.filterwarnings("ignore:Skipping nested container")  # Keras, before it raises
def test_weights_of_another_network_are_refused(tmp_path):
    file = tmp_path / "other.weights.h5"
    models.build("dropout_autoencoder", width=0.1).save_weights(file)
    with pytest.raises(InputError, match="not a Keras weights file of VGG16"):
        models.build("vgg16_features", size=32, weights=file)


def test_imagenet_weights_without_network_say_which_file_goes_where(tmp_path):
    code = """
from colorize_lib import models
from colorize_lib.errors import InputError
for name in ("resnet50_autoencoder", "vgg16_features"):
    try:
        models.build(name, weights="imagenet")
    except InputError as error:
        print(error)
"""
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    environment = {**os.environ, **nowhere, "no_proxy": "", "NO_PROXY": "", "KERAS_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    sentences = [line for line in done.stdout.splitlines() if line.startswith("The ImageNet weights")]
    assert len(sentences) == 2, done.stderr
    for network, sentence in zip(("resnet50", "vgg16"), sentences, strict=True):
        assert f"put {network}_weights_tf_dim_ordering_tf_kernels_notop.h5 into {tmp_path / 'models'}" in sentence
        assert "weights=None" in sentence
    assert (tmp_path / "models").is_dir()  # where Keras looked


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("autoencoder", {"size": 100}, "multiple of 8, not 100"),
        ("autoencoder", {"width": 0}, "above 0, not 0"),
        ("resnet50_autoencoder", {"size": 256, "weights": None}, "multiple of 30 up to 450, not 256"),
        ("resnet50_autoencoder", {"size": 480, "weights": None}, "up to 450, not 480"),
        ("resnet50_autoencoder", {"weights": "imagnet"}, "no weights file imagnet"),
        ("vgg16_features", {"size": 16, "weights": None}, "multiple of 32, not 16"),
        ("vgg16_decoder", {"size": 0}, "multiple of 32, not 0"),
        ("pix2pix_unet", {"size": 300}, "multiple of 64, not 300"),
        ("dropout_autoencoder", {"size": 30}, "multiple of 8, not 30"),
        ("dropout_autoencoder", {"dropout": 1}, "below 1, not 1"),
        ("dropout_autoencoder", {"dropout": -0.1}, "at least 0"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(InputError, match=message):
        models.build(name, **options)
