import hashlib
import shutil

import numpy as np
import pytest
from keras import ops

from colorize_lib.__main__ import main
from colorize_lib.apps import public_weights
from colorize_lib.errors import InputError

torch = pytest.importorskip("torch")
zhang_torch = pytest.importorskip("zhang_torch")


@pytest.fixture(scope="module")
def originals():
    return {
        "eccv16": zhang_torch.random(zhang_torch.Eccv16()),
        "siggraph17": zhang_torch.random(zhang_torch.Siggraph17()),
    }


@pytest.fixture(scope="module")
def home(originals, tmp_path_factory):
    """A data home with both networks, saved from PyTorch and converted by the command line."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLORIZE_DATA", str(folder))
        for name, network in originals.items():
            torch.save(network.state_dict(), folder / f"{name}.pth")
            assert main(["convert", str(folder / f"{name}.pth")]) == 0
            assert public_weights.weights_path(name).exists()
    yield folder
    shutil.rmtree(folder)  # half a gigabyte, which pytest would keep


@pytest.fixture
def in_home(home, monkeypatch):
    monkeypatch.setenv("COLORIZE_DATA", str(home))
    return home


def images(size, channels, low, high, seed):
    """Two images of 64 pixels a side, one of 256: (…, size, size, channels), squares of even colour with noise."""
    generator = np.random.default_rng(seed)
    shape = (2 if size == 64 else 1, size // 16, size // 16, channels)
    coarse = generator.uniform(low, high, shape).repeat(16, axis=1).repeat(16, axis=2)
    return np.clip(coarse + generator.normal(0, 0.05 * (high - low), coarse.shape), low, high).astype("float32")


def in_torch(network, *inputs):
    """Outputs, channels last, for inputs that are."""
    with torch.no_grad():
        outputs = network(*(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()) for x in inputs))
    return [x.numpy().transpose(0, 2, 3, 1) for x in (outputs if isinstance(outputs, tuple) else (outputs,))]


def assert_same(ours, theirs):
    assert theirs.std() > 0.03  # the comparison is of something
    np.testing.assert_allclose(ops.convert_to_numpy(ours), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [64, 256])
def test_eccv16_equals_pytorch(in_home, originals, size):
    lightness = images(size, 1, 0, 100, seed=1)
    (ab,) = in_torch(originals["eccv16"], lightness)
    network = public_weights.pretrained("eccv16", size=size)
    assert_same(network((lightness - 50) / 100, training=False), ab / 110)


@pytest.mark.parametrize("size", [64, 256])
def test_siggraph17_without_hints_equals_pytorch(in_home, originals, size):
    lightness = images(size, 1, 0, 100, seed=2)
    ab, _ = in_torch(originals["siggraph17"], lightness)
    network = public_weights.pretrained("siggraph17", size=size)
    assert_same(network((lightness - 50) / 100, training=False), ab / 110)


@pytest.mark.parametrize("size", [64, 256])
def test_siggraph17_with_hints_equals_pytorch(in_home, originals, size):
    lightness, hints = images(size, 1, 0, 100, seed=3), images(size, 2, -80, 80, seed=4)
    mask = (np.random.default_rng(5).uniform(size=lightness.shape) < 0.05).astype("float32")
    ab, logits = in_torch(originals["siggraph17"], lightness, hints * mask, mask)
    network = public_weights.pretrained("siggraph17", hints=True, classes=True)
    inputs = {"lightness": (lightness - 50) / 100, "hints_ab": hints * mask / 110, "hints_mask": mask}
    outputs = network(inputs, training=False)
    assert_same(outputs["ab"], ab / 110)
    assert_same(outputs["class_logits"], logits)


@pytest.mark.parametrize("name", public_weights.FILES)
def test_every_tensor_has_its_place(originals, name):
    layers = {key.rpartition(".")[0] for key in originals[name].state_dict()}
    assert layers == set(public_weights.LAYERS[name])


def test_tensors_that_do_not_fit_are_named(originals, home, tmp_path):
    state = dict(originals["eccv16"].state_dict())
    del state["model3.2.bias"]
    state["model8.8.weight"] = torch.zeros(1)
    state["model8.6.weight"] = torch.zeros(200, 256, 1, 1)
    torch.save(state, home / "changed.pth")
    with pytest.raises(InputError) as error:
        public_weights.convert(home / "changed.pth", tmp_path / "out.weights.h5")
    assert "model3.2.bias is missing" in str(error.value)
    assert "model8.8.weight is left over" in str(error.value)
    assert "model8.6.weight has shape (200, 256, 1, 1) instead of (313, 256, 1, 1)" in str(error.value)
    assert not (tmp_path / "out.weights.h5").exists()


def test_many_problems_stay_one_sentence(tmp_path):
    torch.save({"model9up.0.weight": torch.zeros(1)}, tmp_path / "part.pth")
    with pytest.raises(InputError, match=r"siggraph17: model1\.0\.weight is missing; .* \(and 93 more\)") as error:
        public_weights.convert(tmp_path / "part.pth")
    assert len(str(error.value)) < 600


def test_another_network_is_refused(tmp_path):
    torch.save({"fc.weight": torch.zeros(3, 4)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="neither eccv16 nor siggraph17"):
        public_weights.convert(tmp_path / "other.pth")


def test_a_file_with_a_public_name_must_have_its_hash(tmp_path):
    path = tmp_path / "siggraph17-df00044c.pth"
    path.write_bytes(b"half of it")
    with pytest.raises(InputError, match=r"siggraph17-df00044c\.pth is not the authors' file"):
        public_weights.convert(path)


def test_output_of_another_format_is_refused(home, tmp_path):
    with pytest.raises(InputError, match=r"\.weights\.h5"):
        public_weights.convert(home / "eccv16.pth", tmp_path / "out.keras")


def test_missing_weights_say_how_to_get_them():
    with pytest.raises(InputError, match=r"python -m colorize_lib convert siggraph17.*siggraph17-df00044c\.pth"):
        public_weights.pretrained("siggraph17")


def test_no_public_weights_of_others():
    with pytest.raises(InputError, match="eccv16 and siggraph17"):
        public_weights.pretrained("polychromify")


def test_damaged_weights_say_so(home, monkeypatch, tmp_path):
    monkeypatch.setenv("COLORIZE_DATA", str(tmp_path))
    public_weights.weights_path("eccv16").parent.mkdir()
    with open(home / "weights" / "eccv16.weights.h5", "rb") as whole:
        public_weights.weights_path("eccv16").write_bytes(whole.read(1_000_000))
    with pytest.raises(InputError, match="delete the file and run"):
        public_weights.pretrained("eccv16")


def test_command_line_reports_in_one_line(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "none.pth")]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert "none.pth" in streams.err


class Server:
    """Stands for pooch's downloader: writes `content`."""

    def __init__(self, content):
        self.content, self.asked = content, []

    def __call__(self, progressbar):
        return self.serve

    def serve(self, url, output_file, pooch):
        self.asked.append(url)
        with open(output_file, "wb") as file:
            file.write(self.content)


def test_download_checks_the_hash(monkeypatch):
    monkeypatch.setattr("pooch.HTTPDownloader", Server(b"an error page"))
    with pytest.raises(InputError, match="is not the authors' file"):
        public_weights.download("eccv16")
    assert not list(public_weights.weights_path("eccv16").parent.iterdir())  # nothing half-made stays


def test_download_once(monkeypatch):
    content = b"weights"
    name = f"net-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    server = Server(content)
    monkeypatch.setattr("pooch.HTTPDownloader", server)
    monkeypatch.setitem(public_weights.FILES, "eccv16", name)
    assert public_weights.download("eccv16").read_bytes() == content
    assert public_weights.download("eccv16").name == name
    assert server.asked == [public_weights.ADDRESS + name]


def test_no_connection_is_a_sentence(monkeypatch, capsys):
    import requests

    def fail(url, output_file, pooch):
        raise requests.ConnectionError

    monkeypatch.setattr("pooch.HTTPDownloader", lambda progressbar: fail)
    assert main(["convert", "eccv16"]) == 2
    assert "check the connection" in capsys.readouterr().err
