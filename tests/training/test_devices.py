"""Two virtual devices on the CPU: losses and files of a run are those of one device. In processes of their own."""

import contextlib
import json
import os
import subprocess
import sys
import types

import keras
import pytest

from colorize_lib.errors import InputError
from colorize_lib.reproduction import parameters
from colorize_lib.training import devices, machine

CODE = """
import json, os, sys
import keras, numpy as np
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from keras import layers
from colorize_lib import models
from colorize_lib.color import metrics
from colorize_lib.dataset import Split
from colorize_lib.evaluation import evaluate
from colorize_lib.reproduction import parameters
from colorize_lib.training import runs
from colorize_lib.training.adversarial import AdversarialColorizer, adam_optimizers
from colorize_lib.training.colorizer import Colorizer
from colorize_lib.training.data import Batches

random = np.random.default_rng(0)
split = Split(random.integers(0, 256, (40, 16, 16, 3), "uint8"), random.integers(0, 10, 40).astype("int32"))

class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.rows = []
    def on_train_batch_end(self, batch, logs=None):
        self.rows.append(float(logs["loss"]))

def network(channels, *hidden):
    x = inputs = keras.Input((16, 16, channels))
    for layer in hidden:
        x = layer(x)
    return keras.Model(inputs, x)

def supervised():  # batch normalization, no dropout
    model = Colorizer.from_name("cnn", size=16, width=0.1)
    model.compile(keras.optimizers.Adam(1e-3), loss="mse", metrics=[metrics.psnr_ab])
    return model

def adversarial():
    convolution = lambda filters: layers.Conv2D(filters, 3, 2, "same", activation="tanh")
    model = AdversarialColorizer(
        network(1, layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.Conv2D(2, 1)),
        network(3, convolution(4), layers.Conv2D(1, 3)),
        network(3, convolution(4), layers.Flatten(), layers.Dense(10)),
    )
    model.compile(**adam_optimizers(1e-3, decay_steps=20))
    return model

found = {}
for make in (supervised, adversarial):
    for count in (None, 2):
        params = parameters.resolve({"quick": {"epochs": 2}}, {"RUN": f"{make.__name__}{count}", "DEVICES": count})
        run, losses = runs.Run("tiny", params), Losses()
        train, validation = (Batches(split, size, 0, labels=make is adversarial) for size in (8, 12))
        if make is supervised:
            validation = Batches(split.take(np.arange(13)), 12)  # a last batch of one image, for two devices
        model, history = run.fit(make.__name__, make, train, validation, epochs=2, callbacks=[losses])
        found[f"{make.__name__}{count}"] = [losses.rows, history[-1]["val_loss"]]
        assert getattr(model, "devices", None) == count
        if make is supervised and count is None:  # two devices fill the last batch up with its image
            filled = Batches(split.take([*range(13), 12]), 14)
            found["filled"] = model.evaluate(filled, verbose=0, return_dict=True)["loss"]
    if make is supervised:  # what was trained on two devices is scored on one, in batches of 15 and 10, and read again
        score = evaluate.score(model, split, 15, columns=["psnr_rgb"])["psnr_rgb"]
        again = runs.Run("tiny", params).fit(make.__name__, make, train, validation, epochs=2)[1]
        found["after"] = [len(score), history == again]
print("FOUND" + json.dumps(found))
"""


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.soak)])
def test_two_devices_have_the_losses_of_one(backend, tmp_path):
    environment = os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu", "COLORIZE_RUNS": str(tmp_path)}
    # Two devices, and a compiler in a hurry.
    environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    done = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.partition("FOUND")[2])
    # The one image of the last validation batch counts twice on two devices.
    expected = {"supervised": found["filled"], "adversarial": found["adversarialNone"][1]}
    for kind in ("supervised", "adversarial"):
        one, two = found[f"{kind}None"], found[f"{kind}2"]
        assert len(one[0]) == 10
        assert two[0] == pytest.approx(one[0], rel=0, abs=1e-5)
        assert one[0][0] != one[0][4]
        assert two[1] == pytest.approx(expected[kind], rel=1e-3 if kind == "supervised" else 1e-2)
    assert found["after"] == [40, True]


def test_more_devices_than_there_are():
    with pytest.raises(InputError, match=r"DEVICES is 99, and this machine has .*: take fewer"):
        devices.spread(lambda: None, 99, lambda model: None)


def test_the_manifest_names_the_gpus(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho Abacus 9000; echo Abacus 9000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "gpus" not in machine.hardware()
    assert machine.described().endswith(", no accelerator")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1"])
    assert machine.hardware()["gpus"] == ["Abacus 9000", "Abacus 9000"]
    assert machine.described().endswith(", Abacus 9000, Abacus 9000")
    program.write_text("#!/bin/sh\nexit 9\n")
    assert machine.hardware()["gpus"] == []


def test_every_notebook_takes_devices_and_the_folder_stays_the_same():
    profiles = {"quick": {"epochs": 4}}
    two = parameters.resolve(profiles, {"DEVICES": 2})
    assert two.devices == 2
    assert two.key() == parameters.resolve(profiles, {}).key()
    with pytest.raises(InputError, match="DEVICES is 0"):
        parameters.resolve(profiles, {"DEVICES": 0})


@pytest.fixture
def three_gpus(monkeypatch):
    """A machine with three GPUs as JAX sees it; what the library asks of Keras is noted instead of done."""
    asked = []
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0", "gpu:1", "gpu:2"])

    class Noted:
        def __init__(self, **options):
            asked.append(options)

        @contextlib.contextmanager
        def scope(self):
            asked.append("entered")
            yield

    monkeypatch.setattr(keras.distribution, "DataParallel", Noted)
    monkeypatch.setattr(devices, "_known", {})
    return asked


class Held:
    multiple = 7


@pytest.mark.parametrize("count", [None, 1, 2])
def test_on_jax_a_model_of_several_devices_is_trained_on_them_and_another_is_not(three_gpus, count):
    """Every process has all images: Keras must not divide them among processes as well."""
    model, batches = types.SimpleNamespace(), Held()
    if count:
        model.devices = count
    with devices.sharing(model, batches, None):
        assert three_gpus == (
            [{"devices": ["gpu:0", "gpu:1"], "auto_shard_dataset": False}, "entered"] if count == 2 else []
        )
    assert batches.multiple == (count or 1)  # batches are filled up to a multiple of the devices


@pytest.mark.parametrize("count", [1, 2])
def test_on_tensorflow_a_model_remembers_its_devices(monkeypatch, count):
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    monkeypatch.setattr(devices, "_strategy", lambda count: pytest.fail("entered again"))
    batches = Held()
    with devices.sharing(types.SimpleNamespace(devices=count), batches):
        pass
    assert batches.multiple == count
