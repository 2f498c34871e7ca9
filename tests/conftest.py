"""What several test files share: the second backend, and a data home that holds nothing.

`KERAS_BACKEND=jax` runs the tests of what has to do with a backend, on JAX.
"""

import os
import signal
import subprocess
import sys

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What a shell starts in the background ignores Ctrl+C, and so would every process that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # Compilation is most of the time: as little optimization as possible.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
    # The other tests do not touch a backend, or start processes that choose their own.
    collect_ignore = [
        *(
            "apps/test_browser.py",
            "apps/test_films.py",
            "apps/test_photographs.py",
            "apps/test_public_weights.py",
            "apps/test_web.py",
            "apps/test_web_load.py",
        ),
        *("apps/test_turing.py", "benchmarks", "data_prep", "evaluation/test_plots.py", "evaluation/test_regions.py"),
        *(
            "models/test_torch_files.py",
            "reproduction",
            "test_commands.py",
            "test_dataset.py",
            "test_faults.py",
            "test_files.py",
            "test_images.py",
            "test_jax.py",
            "test_lab.py",
        ),
        *("test_mutations.py", "test_notebooks.py", "test_preprocess.py", "training/test_devices.py"),
        "training/test_resident.py",
    ]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path_factory, monkeypatch):
    """No test reads the user's data or runs, or writes there."""
    monkeypatch.setenv("COLORIZE_DATA", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setenv("COLORIZE_RUNS", str(tmp_path_factory.mktemp("runs")))


@pytest.fixture
def run_on_jax():
    """Function that runs Python code in a new process on Keras' JAX backend and returns what it printed."""

    def run(code):
        environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run
