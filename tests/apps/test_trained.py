from pathlib import Path

import keras
import numpy as np
import pytest
import small_models
from PIL import Image

from colorize_lib import __main__, files
from colorize_lib.apps import public_weights, trained
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.evaluation import photographs
from colorize_lib.reproduction import parameters
from colorize_lib.training import data, distribution, runs
from data_prep import load

OPTIONS = {"size": 16, "width": 0.05}


@pytest.fixture
def run_folder():
    """Folder of a run that trained a whole network and one of a single channel."""
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype="uint8")
    batches = data.Batches(Split(images, np.zeros(4, int)), 4)
    profiles = {"quick": {"epochs": 1, "dataset": "photos"}}
    run = runs.Run("polychromify", parameters.resolve(profiles, {"PROFILE": "quick", "RUN": "mine"}))
    for name, channels in (("polychromify", None), ("polychromify_a", [0])):
        run.fit(
            f"{name}_seed1",
            lambda name=name, channels=channels: small_models.colorizer(name, channels=channels, **OPTIONS),
            batches,
            batches,
            epochs=1,
        )
    return run.folder


def test_a_trained_network_is_built_again_from_its_folder(run_folder):
    (found,) = trained.of_run(run_folder)  # not the one of a single channel
    assert found.label == "polychromify / mine / polychromify_seed1"
    network = found.load()
    assert network.network.input_shape == (None, 16, 16, 1)
    photo = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype="uint8")
    direct = trained.load("polychromify", found.weights, **OPTIONS)
    np.testing.assert_array_equal(network.colorize(photo), direct.colorize(photo))
    assert [item.label for item in trained.find([found.weights.parent])] == ["natural", "polychromify", found.label]


@pytest.mark.long
def test_the_command_line_takes_the_folder_and_lists_it(run_folder, tmp_path, capsys):
    source = tmp_path / "a.png"
    Image.fromarray(np.zeros((20, 30, 3), "uint8") + 90).save(source)
    folder = str(run_folder / "polychromify_seed1")
    assert __main__.main(["colorize", str(source), "-m", folder]) == 0
    assert (tmp_path / "a-colorized.png").exists()
    assert __main__.main(["colorize", str(source), "-m", str(run_folder / "polychromify_a_seed1")]) == 2
    assert "does not colorize by itself" in capsys.readouterr().err
    files.data_home().mkdir(exist_ok=True)
    assert __main__.main(["models"]) == 0
    printed = capsys.readouterr().out
    lines = {line.split()[0]: line for line in reversed(printed.splitlines()) if line}
    assert "1,084,802" in lines["polychromify"]
    assert str(trained.WEIGHTS / "polychromify.weights.h5") in printed
    assert "python -m colorize_lib convert eccv16" in printed
    assert "make reproduce-vacgan" in lines["kth_unet"]
    assert "Ghiotto, 2021" in printed
    assert folder in printed


def test_public_weights_are_found_in_the_data_home():
    assert [item.label for item in trained.find()] == ["natural", "polychromify"]
    path = public_weights.weights_path("siggraph17")
    path.parent.mkdir(parents=True)
    path.touch()
    expected = [("natural", False), ("polychromify", False), ("siggraph17", True)]
    assert [(item.label, item.guided) for item in trained.find()] == expected
    assert trained.place("siggraph17") == f"public: {path}"
    with pytest.raises(InputError, match="Cannot read the weights"):
        trained.public()[0].load()


def test_a_folder_without_networks_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"There is no trained network in .*repeating an older run"):
        trained.of_run(tmp_path)
    (tmp_path / "network.json").write_text('{"channels": null}')
    (tmp_path / "best.weights.h5").touch()
    with pytest.raises(InputError, match="does not describe a network"):
        trained.of_run(tmp_path)[0].load()
    (tmp_path / "network.json").write_text("[]")
    for read in (trained.of_run, trained.load_trained, trained.load):
        with pytest.raises(InputError, match=r"network\.json does not describe a network"):
            read(tmp_path)


def test_a_folder_called_as_a_network_does_not_hide_it(tmp_path, monkeypatch):
    (tmp_path / "polychromify").mkdir()
    monkeypatch.chdir(tmp_path)
    assert trained.load("polychromify").network.name == "polychromify"
    with pytest.raises(InputError, match=r"network\.json: it does not exist"):
        trained.load("./polychromify")


@pytest.mark.parametrize("name", [item.model for item in trained.bundled()])
def test_a_bundled_network_gives_equal_outputs_in_onnxruntime_and_as_a_keras_file(tmp_path, name):
    colorizer = trained.load(name)
    network = colorizer.network
    lightness = np.random.default_rng(0).uniform(0, 100, (2, *network.input_shape[1:])).astype("float32")
    inputs = keras.ops.convert_to_numpy(colorizer.convention.network_input(lightness))
    outputs = keras.ops.convert_to_numpy(network(inputs))
    network.save(tmp_path / "network.keras")
    again = keras.saving.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(inputs)), outputs)
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx" if keras.backend.backend() == "tensorflow" else "jax2onnx")
    signature = [keras.InputSpec(shape=(None, *network.input_shape[1:]), dtype="float32")]
    network.export(tmp_path / "network.onnx", format="onnx", verbose=False, input_signature=signature)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx")
    (exported,) = session.run(None, {session.get_inputs()[0].name: inputs})
    np.testing.assert_allclose(exported, outputs, atol=5e-6 * np.abs(outputs).max())


def test_the_default_colorizer_is_not_brown():
    """On bundled photographs that it was not trained on, its hues are nearer to the true ones than those by squared error."""
    images = load("photos", size=200)["test"].images[::3]
    assert trained.load().network.name == "natural"
    found = {
        name: photographs.summary(photographs.compare(images, [colorizer.colorize(image) for image in images]))
        for name, colorizer in (("natural", trained.load()), ("polychromify", trained.load("polychromify")))
    }
    natural = found["natural"]
    assert natural["hue_distance"] < min(45, 0.75 * found["polychromify"]["hue_distance"])
    assert natural["green"] + natural["blue"] > 0.5 * (natural["true_green"] + natural["true_blue"])
    assert natural["delta_e2000"] < natural["gray_delta_e2000"] + 1.5


def test_the_bundled_range_is_that_of_the_recorded_run():
    chosen = files.read_json(Path(__file__).parents[2] / "results" / "natural" / "metrics.json", "metrics")["range"]
    assert list(distribution.CAREFUL) == chosen["careful"]
    assert list(distribution.VIVID) == chosen["vivid"]
    assert chosen["default"] == distribution.DEFAULT_VIVID
    assert trained.load("natural").input_size == (chosen["size"], chosen["size"])
    assert (trained.WEIGHTS / "natural.weights.h5").stat().st_size < 20e6


def test_vivid_on_the_command_line(tmp_path, capsys):
    source = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype="uint8")).save(source)
    pictures = []
    for vivid in ("0", "1"):
        target = tmp_path / vivid
        assert __main__.main(["colorize", str(source), "--vivid", vivid, "-o", str(target)]) == 0
        pictures.append(np.asarray(Image.open(target / "a.png")))
    assert (pictures[0] != pictures[1]).any()
    assert __main__.main(["colorize", str(source), "-m", "polychromify", "--vivid", "1"]) == 2
    assert "no range from careful to vivid" in capsys.readouterr().err
