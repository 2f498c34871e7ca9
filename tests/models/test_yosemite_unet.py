"""The U-Net of Acharya and Pokhrel: what its text fixes, and the choices documented where it does not."""

import keras
import numpy as np
import pytest
from overfitting import batch, remaining_error

from colorize_lib import models
from colorize_lib.errors import InputError


@pytest.fixture(autouse=True)
def _seed():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize("decoder", ["upsample", "transpose"])
@pytest.mark.parametrize(("target", "channels"), [("rgb", 3), ("ab", 2)])
def test_shapes(decoder, target, channels):
    model = models.build("yosemite_unet", decoder=decoder, target=target)
    assert model.input_shape[1:] == (256, 256, 1)
    assert model.output_shape[1:] == (256, 256, channels)


@pytest.mark.parametrize("target", ["rgb", "ab"])
def test_both_decoders_have_as_many_parameters(target):
    options = dict(target=target, size=64, width=0.25)
    one, other = (models.build("yosemite_unet", decoder=decoder, **options) for decoder in ("upsample", "transpose"))
    assert one.count_params() == other.count_params()


@pytest.mark.parametrize(
    ("decoder", "kind"), [("upsample", keras.layers.Conv2D), ("transpose", keras.layers.Conv2DTranspose)]
)
def test_six_steps_down_and_six_up_mirror_each_other(decoder, kind):
    model = models.build("yosemite_unet", decoder=decoder)
    down = [model.get_layer(f"down{i}_conv") for i in range(1, 7)]
    up = [model.get_layer(f"up{i}_conv") for i in range(1, 7)]
    convolutions = [layer for layer in model.layers if hasattr(layer, "kernel_size")]
    assert convolutions == down + up
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    assert {layer.strides for layer in down} == {(2, 2)}
    slopes = [layer.negative_slope for layer in model.layers if isinstance(layer, keras.layers.LeakyReLU)]
    assert slopes == [0.3] * len(slopes)  # Keras' default
    assert {type(layer) for layer in up} == {kind}
    assert [layer.output.shape[1:] for layer in down] == [
        (128, 128, 64), (64, 64, 128), (32, 32, 256), (16, 16, 512), (8, 8, 512), (4, 4, 512)
    ]  # fmt: skip
    assert [layer.output.shape[1:] for layer in up[:-1]] == [layer.output.shape[1:] for layer in down[-2::-1]]
    assert [layer.activation.__name__ for layer in up] == ["relu"] * 5 + ["tanh"]
    for i in range(1, 6):
        own, skip = model.get_layer(f"up{i}_skip").input
        assert own is up[i - 1].output
        assert skip is model.get_layer(f"down{6 - i}_relu").output


@pytest.mark.parametrize("decoder", ["upsample", "transpose"])
def test_width_and_size_make_a_smaller_network_of_the_same_layers(decoder):
    small = models.build("yosemite_unet", size=64, width=0.25, decoder=decoder)
    full = models.build("yosemite_unet", decoder=decoder)
    assert [type(layer) for layer in small.layers] == [type(layer) for layer in full.layers]
    assert small.get_layer("down1_conv").filters == 16
    assert small.output_shape[1:] == (64, 64, 3)


@pytest.mark.parametrize("decoder", ["upsample", "transpose"])
def test_output_is_float32_in_range_also_in_mixed_precision(decoder):
    model = models.build("yosemite_unet", dtype="mixed_bfloat16", size=64, width=0.125, decoder=decoder)
    outputs = model.predict_on_batch(np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 1)).astype("float32"))
    assert outputs.dtype == np.float32
    assert np.abs(outputs).max() <= 1


@pytest.mark.long
@pytest.mark.parametrize(("decoder", "target"), [("upsample", "rgb"), ("transpose", "ab")])
def test_one_batch_can_be_overfitted(decoder, target):
    model = models.build("yosemite_unet", size=64, width=0.125, decoder=decoder, target=target)
    inputs, targets = batch(model.input_shape[1:], model.output_shape[1:], -0.5, 0.5)
    assert remaining_error(model, inputs, targets, 60, keras.optimizers.Adam(0.003)) < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 100}, "multiple of 64, not 100"),
        ({"width": -1}, "above 0, not -1"),
        ({"decoder": "pixelshuffle"}, "upsample or transpose.*'pixelshuffle'"),
        ({"target": "lab"}, "rgb or ab.*'lab'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        models.build("yosemite_unet", **options)
