import h5py
import keras
import numpy as np
import pytest
import small_models
from PIL import Image
from skimage.color import rgb2lab

from colorize_lib import color, models
from colorize_lib.color import metrics
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.training.colorizer import Colorizer, ensemble, load_weights
from colorize_lib.training.data import Batches


@pytest.fixture(scope="module")
def colorizer():
    keras.utils.set_random_seed(0)
    return Colorizer.from_name("polychromify", size=16, width=0.05)


def photo(width, height, seed=0):
    """A smooth colour photo-like image, uint8 (height, width, 3)."""
    small = np.random.default_rng(seed).integers(40, 200, (4, 5, 3), dtype="uint8")
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def test_fit_learns_from_uint8_images():
    images = np.stack([photo(16, 16, seed) for seed in range(32)])
    split = Split(images, np.zeros(32, "int32"))
    keras.utils.set_random_seed(0)
    model = small_models.colorizer("polychromify_overfit", size=16, width=0.25, metrics=[metrics.psnr_ab])
    history = model.fit(Batches(split, 16, seed=0), validation_data=Batches(split, 32), epochs=30, verbose=0).history
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    assert {"psnr_ab", "val_loss", "val_psnr_ab"} <= set(history)
    # Keras' own loss is the convention's: mean squared error of ab / 128.
    predicted = np.asarray(model.predict_color(images)[0])
    expected = np.mean((predicted / 128 - rgb2lab(images)[..., 1:] / 128) ** 2)
    assert model.evaluate(Batches(split, 32), verbose=0)[0] == pytest.approx(expected, rel=1e-3)


def test_a_weight_that_nothing_else_moves_decays_as_by_pytorch_s_adam():
    """As in the notebook of ResNet and random field; with saturated sigmoids the penalty is the whole gradient."""
    inputs = keras.Input((16, 16, 1))
    hidden = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer="ones", name="before")(inputs)
    hidden = keras.layers.Rescaling(0.0)(hidden)
    network = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same", activation="sigmoid")(hidden))
    decay, rate, epsilon = 1e-10, 0.1, 1e-8
    for weight in network.trainable_weights:
        weight.regularizer = keras.regularizers.L2(decay / 2)
    model = Colorizer(network, "places")
    model.compile(keras.optimizers.Adam(rate, epsilon=epsilon), loss="mse")
    model.fit(Batches(np.stack([photo(16, 16)] * 4), 4), epochs=1, verbose=0)
    kernel = np.asarray(network.get_layer("before").kernel)
    # Adam's first step on the gradient decay × 1; Keras adds ε before the correction by √(1 - 0.999), which fades with the steps.
    step = rate * decay / (decay + epsilon / 0.001**0.5)
    assert 1 - kernel == pytest.approx(np.full_like(kernel, step), rel=0.01)


def test_channels_select_the_target():
    images = photo(16, 16)[None]
    for channel, name in enumerate(("polychromify_a", "polychromify_b")):
        model = Colorizer.from_name(name, channels=[channel], size=16, width=0.05)
        target = np.asarray(model(images)["target"])
        assert np.allclose(target[..., 0], rgb2lab(images)[..., 1 + channel] / 128, atol=1e-4)


def test_another_convention_scales_input_and_target():
    rgb = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    model = Colorizer.from_name("yosemite_unet", convention="kth", target="ab", size=64, width=0.05)
    assert np.allclose(model(rgb)["target"], color.CONVENTIONS["kth"].encode(rgb)[1])


def test_ensemble_joins_two_networks():
    first, second = (models.build(name, size=16, width=0.05) for name in ("polychromify_a", "polychromify_b"))
    joined = Colorizer(ensemble("polychromify_ab", first, second), "polychromify")
    images = photo(16, 16)[None]
    lightness = color.rgb_to_lab(images)[..., :1]
    expected = np.concatenate([first(lightness), second(lightness)], axis=-1) * 128
    assert np.allclose(joined.predict_color(images)[0], expected, atol=1e-3)


@pytest.mark.parametrize(("width", "height"), [(16, 16), (301, 77), (5, 90), (1, 1), (1500, 900)])
def test_colorize_keeps_resolution_and_lightness(colorizer, width, height):
    image = photo(width, height)
    result = colorizer.colorize(image, saturation=0.3)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    # Lightness is the photo's own up to rounding to 8 bits: the small ab keeps colours inside sRGB.
    assert np.abs(rgb2lab(result)[..., 0] - rgb2lab(image)[..., 0]).max() < 1.0


def test_saturation_zero_is_gray(colorizer):
    result = colorizer.colorize(photo(40, 30), saturation=0).astype(int)
    assert (result.max(-1) - result.min(-1)).max() <= 1
    assert metrics.colorfulness(colorizer.colorize(photo(40, 30))[None] / 255)[0] > 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_colorize_takes_every_mode(colorizer, mode):
    image = Image.fromarray(photo(33, 21))
    image = (
        Image.fromarray(np.asarray(image.convert("L")).astype("uint16") * 257)
        if mode == "I;16"
        else image.convert(mode)
    )
    assert image.mode == mode
    result = colorizer.colorize(image)
    assert result.shape == (21, 33, 3)
    if mode not in ("1", "CMYK"):
        levels = Image.fromarray(photo(33, 21)).convert("L") if mode in ("L", "LA", "I;16") else image.convert("RGB")
        expected = colorizer.colorize(np.asarray(levels))
        assert np.abs(result.astype(int) - expected).max() <= 1


def test_colorize_reads_files_upright(colorizer, tmp_path):
    image = Image.fromarray(photo(40, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90°
    image.save(tmp_path / "turned.png", exif=exif)
    assert colorizer.colorize(tmp_path / "turned.png").shape == (40, 20, 3)


def test_wrong_photos_are_one_sentence(colorizer, tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(InputError, match=r"text\.jpg: no image of a known format"):
        colorizer.colorize(tmp_path / "text.jpg")
    with pytest.raises(InputError, match=r"missing\.jpg: it does not exist"):
        colorizer.colorize(tmp_path / "missing.jpg")
    for wrong in (np.full((4, 4, 3), 300.0), np.full((4, 4, 3), -1), np.full((4, 4), np.nan), np.zeros((0, 4))):
        with pytest.raises(InputError, match=r"Cannot colorize an array of shape|RGB of (int64|float64)"):
            colorizer.colorize(wrong)


def test_arrays_are_converted_where_their_meaning_is_sure(colorizer):
    gray = np.arange(0, 250, 10, dtype="uint8").reshape(5, 5)
    whole = colorizer.colorize(gray)
    for same in (gray.astype("int64"), gray.tolist(), gray / 255, np.stack([gray] * 3, axis=-1)):
        np.testing.assert_array_equal(colorizer.colorize(same), whole)
    deep = colorizer.colorize(gray.astype("uint16") * 257)
    assert deep.dtype == np.uint16
    np.testing.assert_allclose(deep / 257, whole, atol=0.6)


def test_a_network_of_free_size_colorizes():
    inputs = keras.Input((None, None, 1))
    network = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same")(inputs))
    assert Colorizer(network, "zhang").colorize(np.full((30, 50), 90, "uint8")).shape == (30, 50, 3)


def test_rgb_networks(colorizer):
    network = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(3, 1, activation="tanh")])
    model = Colorizer(network, "yosemite")
    ab, rgb = model.predict_color(photo(16, 16)[None])
    assert np.allclose(np.asarray(color.rgb_to_lab(rgb))[..., 1:], ab, atol=1e-3)
    assert model.colorize(photo(50, 40)).shape == (40, 50, 3)


def test_the_dataset_of_a_folder_that_keras_makes_is_refused_until_its_values_are_sure(tmp_path):
    tf = pytest.importorskip("tensorflow")
    for number in range(2):
        Image.fromarray(photo(16, 16, seed=number)).save(tmp_path / f"{number}.png")
    dataset = keras.utils.image_dataset_from_directory(tmp_path, labels=None, image_size=(16, 16), verbose=False)
    inputs = keras.Input((16, 16, 1))
    model = Colorizer(keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs)), "polychromify")
    model.compile("adam", "mse")
    with pytest.raises(InputError, match="float of 0 to 1"):
        model.fit(dataset, verbose=0)
    sure = dataset.map(lambda rgb: tf.cast(rgb, "uint8"))
    assert np.isfinite(model.fit(sure, validation_data=sure, verbose=0).history["loss"][0])


def test_training_refuses_values_whose_meaning_is_not_sure(colorizer):
    inputs = keras.Input((16, 16, 1))
    model = Colorizer(keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs)), "polychromify")
    model.compile("adam", "mse")
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), "uint8")
    with pytest.raises(InputError, match="float of 0 to 1"):
        model.fit(images.astype("float32"), verbose=0)
    with pytest.raises(InputError, match="float of 0 to 1"):
        model.fit(images, validation_data=images.astype("float32"), verbose=0)
    with pytest.raises(InputError, match="float of 0 to 1"):
        model.fit(images, validation_data=(images.astype("float32"), images), verbose=0)
    assert np.isfinite(model.fit(images.astype("int64"), verbose=0).history["loss"][0])
    with pytest.raises(InputError, match="float of 0 to 1"):
        model.fit(keras.ops.convert_to_tensor(images, "float32"), verbose=0)
    assert np.isfinite(model.fit(keras.ops.convert_to_tensor(images, "int32"), verbose=0).history["loss"][0])
    with pytest.raises(InputError, match=r"no convention 'lab'.*: the conventions are"):
        Colorizer(model.network, "lab")


def test_a_colorizer_that_is_called_has_no_dropout(colorizer):
    images = np.stack([photo(16, 16, seed) for seed in range(4)])
    called = np.asarray(colorizer(images)["prediction"])
    np.testing.assert_allclose(128 * called, np.asarray(colorizer.predict_color(images)[0]), atol=1e-3)


def test_guided_colour_changes_where_lightness_does():
    """A network sees the picture in 16 columns, in one of which the picture has its edge."""
    edge = 59
    image = np.full((64, 128), 60, "uint8")
    image[:, edge:] = 200
    ab = np.zeros((16, 16, 2), "float32")
    ab[:, :7, 0], ab[:, 8:, 0] = 40, -40
    inputs = keras.Input((16, 16, 1))
    model = Colorizer(keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs)), "polychromify")
    steps = []
    for guided in (False, True):
        model.guided = guided
        a = rgb2lab(model.colorize(image, ab=ab))[32, :, 1]
        assert (a[:40] > 35).all()
        assert (a[80:] < -35).all()
        steps.append(a[edge - 1] - a[edge])
    assert steps[1] > 2 * steps[0] > 0


def test_strips_of_a_photograph_have_no_seams(colorizer, monkeypatch):
    whole = colorizer.colorize(photo(12, 9))
    monkeypatch.setattr("colorize_lib.training.colorizer.STRIP_PIXELS", 7)
    np.testing.assert_array_equal(colorizer.colorize(photo(12, 9)), whole)


@pytest.mark.parametrize("beyond", [0, 1])
def test_weights_may_be_eight_times_the_networks_and_64_mb(tmp_path, beyond):
    """A file of that size is read, and does not fit; a larger one is refused before. Neither is written: HDF5 leaves gaps."""
    inputs = keras.Input((4, 4, 1))
    network = keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs))  # four numbers
    with h5py.File(tmp_path / "zeros.weights.h5", "w") as weights:
        weights.create_dataset("zeros", (8 * 4 * 4 + (64 << 20) + beyond,), "uint8", chunks=(1 << 20,))
    with pytest.raises(InputError, match="unpack to" if beyond else "do not fit"):
        load_weights(network, tmp_path / "zeros.weights.h5")
