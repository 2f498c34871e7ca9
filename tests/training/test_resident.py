"""Training from the accelerator's memory learns what training batch by batch learns."""

import json
import sys
import types

import keras
import numpy as np
import pytest

from colorize_lib.dataset import Split
from colorize_lib.training import resident
from colorize_lib.training.data import Batches

CODE = """
import json, sys
import keras, numpy as np
from colorize_lib.training import adversarial, resident; from colorize_lib import models
from colorize_lib.training.colorizer import Colorizer
from colorize_lib.training.data import Batches; from colorize_lib.dataset import Split

random = np.random.default_rng(0)
train, validation = (
    Split(random.integers(0, 256, (count, 16, 16, 3), dtype="uint8"), random.integers(0, 3, count).astype("int32"))
    for count in (48, 21)
)

def gan():
    options = dict(size=16, width=0.02)
    parts = [models.build(name, **options) for name in ("kth_generator", "patch_discriminator")]
    model = adversarial.AdversarialColorizer(*parts, models.build("vac_classifier", classes=3, **options))
    model.compile(**adversarial.adam_optimizers(1e-3))
    return model

def supervised():
    model = Colorizer.from_name("polychromify", size=16, width=0.05)
    model.compile(keras.optimizers.Adam(1e-3), loss="mse")
    return model

class Order(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.batches, self.done, self.losses = batches, [], []
    def on_epoch_begin(self, epoch, logs=None):
        self.batches.set_epoch(epoch)
    def on_train_batch_end(self, batch, logs=None):
        self.done.append(self.model.batches_done(batch))
        self.losses.append(float(logs["loss"]))

found = {}
for name, make in {"supervised": supervised, "gan": gan}.items():
    for on in (False, True):
        resident._fits, resident.CALLS = lambda batches: on, 4
        keras.utils.set_random_seed(0)
        model, batches = make(), Batches(train, 8, seed=0, labels=name == "gan")
        order, held_out = Order(batches), Batches(validation, 8, labels=name == "gan")
        fitted = model.fit(batches, validation_data=held_out, epochs=2, verbose=0, callbacks=[order])
        scores = model.evaluate(held_out, verbose=0, return_dict=True)
        weights = np.concatenate([np.ravel(weight).astype("float64") for weight in model.get_weights()])
        found[f"{name} {on}"] = dict(history=fitted.history, scores=scores, weights=weights.tolist(), done=order.done)
        found[f"{name} {on}"] |= dict(losses=order.losses)

resident._fits = lambda batches: True
store = resident.ResidentBatches(Batches(train.take(range(43)), 8, seed=0), 3, fill=True)
items = [store[index][0] for index in range(len(store))]
found["filled"] = [[list(item.shape) for item in items], sorted(set(np.concatenate([i.ravel() for i in items]).tolist()))]
store = resident.ResidentBatches(Batches(train.take(range(43)), 8), 4, fill=False)
found["left over"] = [list(store[index][0].shape) for index in range(len(store))]
print("FOUND" + json.dumps(found))
"""


def test_the_same_losses_and_weights(run_on_jax, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")  # compiles faster than it would run faster
    found = json.loads(run_on_jax(CODE).partition("FOUND")[2])
    for name in ("supervised", "gan"):
        plain, resident = found[f"{name} False"], found[f"{name} True"]
        for part in ("history", "scores"):
            assert plain[part].keys() == resident[part].keys()
            for column, values in plain[part].items():
                pairs = np.stack([np.ravel(values), np.ravel(resident[part][column])], axis=-1)
                assert np.allclose(*pairs.T, rtol=2e-5, atol=2e-5), (name, column)
        difference = np.abs(np.subtract(plain["weights"], resident["weights"])).max()
        assert difference < 1e-4, (name, difference)
        assert plain["done"] == [1, 2, 3, 4, 5, 6] * 2
        assert resident["done"] == [2, 4, 6] * 2
        assert np.allclose(plain["losses"][1::2], resident["losses"], rtol=2e-5)  # means up to the last batch of a call
    shapes, rows = found["filled"]
    assert shapes == [[3, 8], [3, 8]]
    assert rows == list(range(43))
    assert found["left over"] == [[4, 8], [1, 8], [1, 3]]


@pytest.fixture
def gpu(monkeypatch):
    """A GPU as JAX shows it, with room for `gpu.limit` bytes."""
    device = types.SimpleNamespace(platform="gpu", limit=0)
    device.memory_stats = lambda: {"bytes_limit": device.limit}
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setitem(sys.modules, "jax", types.SimpleNamespace(devices=lambda: [device]))
    return device


def batches(**options):
    """Ten images of 768 bytes with labels of 4."""
    return Batches(Split(np.zeros((10, 16, 16, 3), "uint8"), np.zeros(10, "int32")), 4, **options)


def test_what_fits_into_two_fifths_of_the_memory_stays_there(gpu, monkeypatch):
    for limit, images, both in ((19_200, False, False), (19_250, True, False), (19_310, True, True)):
        gpu.limit = limit
        assert (resident._fits(batches()), resident._fits(batches(labels=True))) == (images, both)
    filled = batches()
    filled.multiple = 2
    assert not resident._fits(filled)
    assert not resident._fits(batches(transform=lambda images, generator: images))
    gpu.platform = "cpu"
    assert not resident._fits(batches())
    gpu.platform, gpu.memory_stats = "tpu", lambda: None  # a device that does not say what it has
    assert not resident._fits(batches())
    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    assert resident._fits(batches()) is False


class Trivial(resident.ResidentModel):
    """A model of one layer, compiled."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)
        self.compile("sgd", "mse")

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize("kept", [set(), {True}, {False}, {True, False}])
def test_training_and_validation_use_the_images_that_are_kept_for_each(monkeypatch, kept):
    model = Trivial()
    monkeypatch.setattr(resident, "_in_one_call", lambda step, store: (step.__name__, store))
    model._stores = {training: f"images of {training}" for training in kept}
    model.make_train_function()
    model.make_test_function()
    assert (model.train_function == ("train_step", "images of True")) == (True in kept)
    assert (model.test_function == ("test_step", "images of False")) == (False in kept)


def test_a_second_training_compiles_nothing_again():
    model, x = Trivial(), np.zeros((4, 1), "float32")
    model.fit(x, x, verbose=0)
    functions = model.train_function, model.make_test_function() or model.test_function
    model.fit(x, x, verbose=0)
    model.make_test_function()
    assert (model.train_function, model.test_function) == functions
