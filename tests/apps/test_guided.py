import keras
import numpy as np
import pytest
from PIL import Image

from colorize_lib import __main__, models
from colorize_lib.apps import guided, public_weights, trained
from colorize_lib.errors import InputError


@pytest.fixture(scope="module")
def network():
    """A narrow SIGGRAPH17 with random weights."""
    keras.utils.set_random_seed(0)
    return models.build("siggraph17", size=None, width=0.05, hints=True)


def test_a_hint_is_a_place_and_a_color():
    x, y, a, b = guided.hint(0.25, 1, "#ff0000")
    assert (x, y) == (0.25, 1.0)
    np.testing.assert_allclose([a, b], [80.09, 67.20], atol=0.02)  # scikit-image's Lab of red
    for place in ((1.2, 0), (0, float("nan")), ("0", 0)):
        with pytest.raises(InputError, match="outside the photo"):
            guided.hint(*place, "#ff0000")
    for colour in ("#ff00", "red", None):
        with pytest.raises(InputError, match="#rrggbb"):
            guided.hint(0, 0, colour)


def test_hints_reach_the_network_at_their_place(network):
    """The weights of hint and mask enter linearly before the first ReLU: a hint changes the colours around its place most."""
    colorizer = guided.GuidedColorizer(network, size=64)
    photo = np.random.default_rng(0).integers(0, 256, (30, 90, 3), dtype="uint8")
    without = colorizer.predict_ab(photo)
    assert without.shape == (64, 64, 2)
    hinted = colorizer.predict_ab(photo, [guided.hint(0.75, 0.25, "#ff0000")])
    change = np.abs(hinted - without).sum(-1)
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert abs(row - 16) <= 8
    assert abs(column - 48) <= 8
    corner = colorizer.predict_ab(photo, [guided.hint(1, 1, "#ff0000")])  # the last pixel, not the one after it
    assert np.abs(corner - without).max() > 0
    assert colorizer.colorize(photo, ab=hinted).shape == photo.shape


def test_without_the_public_weights_it_says_how_to_get_them():
    with pytest.raises(InputError, match=r"python -m colorize_lib convert siggraph17"):
        guided.GuidedColorizer()


def test_it_takes_the_weights_of_the_data_home(monkeypatch):
    full = models.build("siggraph17", classes=True)
    path = public_weights.weights_path("siggraph17")
    path.parent.mkdir(parents=True)
    full.save_weights(path)
    loaded = guided.GuidedColorizer().network
    kernel = full.get_layer("block1_conv1").kernel
    np.testing.assert_array_equal(loaded.get_layer("block1_conv1").kernel, kernel)


def test_hints_are_read_from_a_file(tmp_path):
    (tmp_path / "hints.txt").write_text("0.25 1 #ff0000 ; the roof\n\n; nothing\n0.5, 0.5, #00ff00\n")
    hints = guided.read_hints(tmp_path / "hints.txt")
    assert hints == (guided.hint(0.25, 1, "#ff0000"), guided.hint(0.5, 0.5, "#00ff00"))
    for wrong in ("2 0 #ff0000", "0 0", "0 0 red", "x y #ff0000", "0.5 0.5 #ff0000 junk 7"):
        (tmp_path / "wrong.txt").write_text(f"0 0 #000000\n{wrong}\n")
        with pytest.raises(InputError, match=r"wrong\.txt, line 2, is not a hint"):
            guided.read_hints(tmp_path / "wrong.txt")
    with pytest.raises(InputError, match="it does not exist"):
        guided.read_hints(tmp_path / "missing.txt")


def test_the_command_takes_hints(tmp_path, network, monkeypatch):
    colorizer = guided.GuidedColorizer(network, size=64)
    monkeypatch.setattr(trained, "load", lambda *arguments, **options: colorizer)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 90, 3), dtype="uint8")).save(tmp_path / "a.png")
    (tmp_path / "hints.txt").write_text("0.75 0.25 #ff0000\n")
    assert __main__.main(["colorize", str(tmp_path / "a.png"), "-o", str(tmp_path / "without")]) == 0
    arguments = [
        "colorize",
        str(tmp_path / "a.png"),
        "-o",
        str(tmp_path / "with"),
        "--hints",
        str(tmp_path / "hints.txt"),
    ]
    assert __main__.main(arguments) == 0
    results = [np.asarray(Image.open(tmp_path / folder / "a.png")).astype(int) for folder in ("without", "with")]
    change = np.abs(results[1] - results[0]).sum(-1)
    assert change[:15, 45:].mean() > change[15:, :45].mean()
