import contextlib
import pickle
import sys

import numpy as np
import pytest

from colorize_lib.errors import InputError
from colorize_lib.models.torch_files import read_state_dict


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def saved(torch, tmp_path):
    """A checkpoint, and what it holds."""
    tensors = {"conv.weight": torch.randn(4, 3, 2, 2), "conv.bias": torch.arange(4, dtype=torch.float64)}
    torch.save(tensors, tmp_path / "net.pth")
    return tmp_path / "net.pth", {name: tensor.numpy() for name, tensor in tensors.items()}


def assert_holds(path, expected):
    state = read_state_dict(path)
    assert list(state) == list(expected)
    for name, array in expected.items():
        assert state[name].dtype == "float32"
        np.testing.assert_allclose(state[name], array)


def test_reads_tensors(saved):
    assert_holds(*saved)


def test_reads_the_old_format(torch, saved, tmp_path):
    tensors = {name: torch.from_numpy(array) for name, array in saved[1].items()}
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_holds(tmp_path / "old.pth", saved[1])


def test_reads_a_training_checkpoint_of_several_gpus(torch, saved, tmp_path):
    tensors = {f"module.{name}": torch.from_numpy(array) for name, array in saved[1].items()}
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "training.pth")
    assert_holds(tmp_path / "training.pth", saved[1])


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("how", ["pickle", "torch", "torch_old"])
def test_code_in_a_file_is_not_run(torch, tmp_path, how):
    trace, path = tmp_path / "trace", tmp_path / "harmful.pth"
    content = {"conv.weight": Harmful(trace)}
    if how == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "torch")
    with contextlib.suppress(RuntimeError):  # a bare pickle is no checkpoint, but runs before torch can see that
        torch.load(path, weights_only=False)
    assert trace.exists()  # the file does harm where it is trusted
    trace.unlink()
    with pytest.raises(InputError, match=r"harmful\.pth"):
        read_state_dict(path)
    assert not trace.exists()


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("new", [True, False])
def test_a_truncated_file_is_a_sentence(torch, tmp_path, share, new):
    path = tmp_path / "cut.pth"
    torch.save({"conv.weight": torch.randn(100, 100)}, path, _use_new_zipfile_serialization=new)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"Cannot read .*cut\.pth"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [b"<html>Not found</html>", b"\x89HDF\r\n\x1a\n", b"\x80\x02."])
def test_another_file_is_a_sentence(torch, tmp_path, content):
    (tmp_path / "other.pth").write_bytes(content)
    with pytest.raises(InputError, match="as a PyTorch state dict"):
        read_state_dict(tmp_path / "other.pth")


def test_something_else_than_tensors_is_a_sentence(torch, tmp_path):
    for content in ([1, 2], {"lr": 0.1}, torch.zeros(3)):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(InputError, match="as a PyTorch state dict"):
            read_state_dict(tmp_path / "other.pth")


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_state_dict(tmp_path / "none.pth")


def test_without_pytorch_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "net.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="pip install torch"):
        read_state_dict(tmp_path / "net.pth")


def test_an_unsafe_pytorch_is_refused(torch, monkeypatch, saved):
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(InputError, match=r"2\.5\.1\+cpu cannot read"):
        read_state_dict(saved[0])


def test_the_first_safe_pytorch_is_taken(torch, monkeypatch, saved):
    monkeypatch.setattr(torch, "__version__", "2.6.0")
    assert_holds(*saved)
