"""What several test files share: the second backend, and a data home that holds nothing.

`KERAS_BACKEND=jax` runs the tests of what has to do with a backend, on JAX.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
# What a shell starts in the background ignores Ctrl+C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # Compilation is most of the time: as little optimization as possible.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    # What computes with Keras in this process. The other tests do not touch a backend, or start processes that choose their own.
    ON_JAX = (
        *("acceleration", "benchmarks/test_gpu.py", "color", "models"),
        *("evaluation/test_evaluate.py", "evaluation/test_judges.py"),
        *("training/test_adversarial.py", "training/test_classification.py", "training/test_colorizer.py"),
        *(
            "training/test_data.py",
            "training/test_distribution.py",
            "training/test_features.py",
            "training/test_runs.py",
        ),
    )
    NOT_ON_JAX = {"models/test_documentation.py", "models/test_torch_files.py"}
    _home = Path(__file__).parent
    _chosen = {path for name in ON_JAX for path in [_home / name, *(_home / name).glob("test_*.py")]}
    _chosen -= {_home / name for name in NOT_ON_JAX}
    collect_ignore = [str(path) for path in _home.rglob("test_*.py") if path not in _chosen]


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("soak") and "COLORIZE_SOAK" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="takes long: make soak"))


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory, monkeypatch):
    """No test reads the user's data or runs, or writes there."""
    monkeypatch.setenv("COLORIZE_DATA", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setenv("COLORIZE_RUNS", str(tmp_path_factory.mktemp("runs")))


@pytest.fixture
def small_disk(tmp_path):
    """Function (size, *options) that mounts a file system of that size on one folder, keeping its files when called again."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(size, *options):
        options = ",".join([f"size={size}", *options, *["remount"] * os.path.ismount(disk)])
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting a small file system needs root: {done.stderr.strip()}")
        return disk

    yield mount
    subprocess.run(["umount", disk], capture_output=True)


@pytest.fixture
def run_on_jax():
    """Function that runs Python code in a new process on Keras' JAX backend and returns what it printed."""

    def run(code):
        environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
