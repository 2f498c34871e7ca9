"""What is recorded of a training, and what a notebook's edits change in it."""

import keras
import numpy as np
import pytest
import small_models
from IPython.core.interactiveshell import InteractiveShell

from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.training import record
from colorize_lib.training.adversarial import AdversarialColorizer, adam_optimizers
from colorize_lib.training.data import Batches, RandomResizedCrop

SETUP = """import keras
import numpy as np
from colorize_lib import models
from colorize_lib.dataset import Split
from colorize_lib.reproduction import parameters
from colorize_lib.training import runs
from colorize_lib.training.colorizer import Colorizer
from colorize_lib.training.data import Batches

split = Split(np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), "uint8"), np.zeros(16, "int32"))
run = runs.Run("polychromify", parameters.resolve({"quick": {}}, {}))
"""
MAKE = """
def make(rate=1e-3):
    \"\"\"A network, compiled.\"\"\"
    model = Colorizer(models.build("polychromify", size=16, width=0.05), "polychromify")
    # The loss of section 4.
    model.compile(keras.optimizers.Adam(rate), loss="mse")
    return model
"""
TRAIN = """histories = {}

for name in ["small"]:
    print("training", name)
    model, histories[name] = run.fit(name, make, Batches(split, 8, seed=0), Batches(split, 8), epochs=1)
print(len(histories))
"""


@pytest.fixture
def shell(capsys):
    """Function that executes cells as a notebook does, and returns the error that stopped them, or what they printed."""
    shell = InteractiveShell.instance()

    def execute(*cells):
        capsys.readouterr()
        for cell in cells:
            outcome = shell.run_cell(cell, store_history=True)
            if not outcome.success:
                assert isinstance(outcome.error_in_exec, InputError), outcome
                return str(outcome.error_in_exec)
        return capsys.readouterr().out

    yield execute
    InteractiveShell.clear_instance()


def test_an_edited_cell_does_not_get_the_old_numbers(shell):
    restored = "small: 1 of 1 epochs restored from"
    assert restored not in shell(SETUP, MAKE, TRAIN)
    assert restored in shell(TRAIN)
    # Comments, blank lines, docstrings, and what is printed or comes after the training change nothing.
    remarks = MAKE.replace("# The loss of section 4.", "\n    # Another remark.").replace("A network", "The network")
    words = TRAIN.replace('print("training", name)\n', "\n").replace("print(len(histories))", "len(histories) + 1")
    assert restored in shell(remarks, words)
    # The optimizer and the loss are named; other code is shown.
    rate = shell(MAKE.replace("rate=1e-3", "rate=3e-3"), TRAIN)
    assert "small holds another training: learning_rate of optimizer 0 was 0.001 and is now 0.003; choose" in rate
    assert "loss was 'mean_squared_error' and is now 'mean_absolute_error'" in shell(MAKE.replace("mse", "mae"), TRAIN)
    own = MAKE.replace('loss="mse"', "loss=distance")
    loss = "def distance(truth, prediction):\n    return keras.ops.mean((truth - prediction) ** 4)\n"
    assert "function of loss was 'mean_squared_error' and is now 'distance'" in shell(loss, own, TRAIN)
    code = shell(MAKE, TRAIN.replace("seed=0)", "seed=0, transform=None)"))
    assert "Batches(split, 8, seed=0), Batches(" in code
    assert "seed=0, transform=None), Batches(" in code
    assert "the code was `return model` and is now `model.trainable = True`" in shell(
        MAKE.replace("    return", "    model.trainable = True\n    return"), TRAIN
    )
    assert restored in shell(MAKE, TRAIN)
    assert restored not in shell(MAKE, TRAIN.replace("epochs=1", "epochs=1, fresh=True"))
    assert restored in shell(TRAIN)
    assert "small: 1 of 2 epochs restored" in shell(TRAIN.replace("epochs=1", "epochs=2"))


def test_the_body_of_a_loss_of_the_notebook_counts(shell):
    own = MAKE.replace('loss="mse"', "loss=distance")
    loss = "def distance(truth, prediction):\n    return keras.ops.mean((truth - prediction) ** 4)\n"
    shell(SETUP, loss, own, TRAIN)
    assert "restored" in shell(loss.replace("):", "):  # of fourth order"), own, TRAIN)
    assert "source of loss was 'def distance" in shell(loss.replace("** 4", "** 2"), own, TRAIN)


def test_a_function_of_the_notebook_that_trains_counts(shell):
    train = TRAIN.replace("run.fit(name, make, ", "fit(name, ")
    through = "def fit(name, *batches, epochs):\n    return run.fit(name, make, *batches, epochs=epochs)\n"
    shell(SETUP, MAKE, through, train)
    assert "restored" in shell(through, train)
    assert "restored" in shell(through.replace("epochs=epochs)", "epochs=epochs, keep='last')"), train)
    assert "make, *batches, callbacks=[])`; choose" in shell(
        through.replace("epochs=epochs)", "callbacks=[], epochs=epochs)"), train
    )


def taken(model, **options):
    split = Split(np.zeros((4, 16, 16, 3), "uint8"), np.zeros(4, "int32"))
    return record.taken(model, Batches(split, 2, seed=0, **options), Batches(split, 2), "val_loss", None)


def test_two_sessions_give_one_record():
    """Keras numbers layers, and names optimizers and losses, by what was made before."""

    def make():
        x = inputs = keras.Input((16, 16, 1))
        for layer in (keras.layers.Conv2D(4, 3, padding="same"), keras.layers.ReLU(), keras.layers.Softmax()):
            x = layer(x)
        x = keras.layers.Add()([x, keras.layers.Conv2D(4, 1)(inputs)])
        model = small_models.Colorizer(keras.Model(inputs, keras.layers.Conv2D(2, 1)(x)), "polychromify")
        model.compile(keras.optimizers.Adam(), loss=keras.losses.MeanSquaredError())
        return model

    first, second = make(), make()
    assert [layer.name for layer in first.network.layers] != [layer.name for layer in second.network.layers]
    assert taken(first) == taken(second)
    assert record.difference(taken(first), taken(second)) is None


def test_precision_is_no_difference():
    policies = ("float32", "mixed_bfloat16")
    one, other = (
        taken(small_models.colorizer("polychromify", size=16, width=0.05, dtype=policy)) for policy in policies
    )
    assert record.difference(one, other) is None


def test_transforms_and_weights_of_adversarial_training_count():
    def adversarial(**weights):
        parts = [
            small_models.models.build(name, size=16, width=0.02) for name in ("kth_generator", "patch_discriminator")
        ]
        model = AdversarialColorizer(*parts, **weights)
        model.compile(**adam_optimizers(1e-3))
        return taken(model)

    plain = adversarial()
    assert "reconstruction_weight of settings was 100.0 and is now 10.0" in record.difference(
        plain, adversarial(reconstruction_weight=10.0)
    )
    assert len(plain["optimizer"]) == 2
    assert plain["optimizer"][0]["learning_rate"]["config"]["decay_steps"] == 40_000
    model = small_models.colorizer("polychromify", size=16, width=0.05)
    crops = [taken(model, transform=RandomResizedCrop(16, area=(low, 1.0))) for low in (0.1, 0.5)]
    assert "area 0 of transform of training data was 0.1 and is now 0.5" in record.difference(*crops)


def test_a_line_that_is_added_or_removed_stands_against_nothing():
    short, long = {"code": ["a = 1"]}, {"code": ["a = 1", "b = 2"]}
    assert record.difference(short, long) == "the code was nothing and is now `b = 2`"
    assert record.difference(long, short) == "the code was `b = 2` and is now nothing"


class Holding:
    """A transform with one attribute."""

    def __init__(self, value):
        self.value = value

    def __call__(self, images, generator):
        return images


def test_what_is_deep_within_a_transform_counts_and_a_transform_next_to_none():
    model = small_models.colorizer("polychromify", size=16, width=0.05)
    shallow, deep, other = (taken(model, transform=Holding(value)) for value in (1.5, [[[[0.1]]]], [[[[0.2]]]]))
    assert "was 0.1 and is now 0.2" in record.difference(deep, other)
    assert "value of transform of training data was 1.5 and is now [[[[0.1]]]]" in record.difference(shallow, deep)
    assert "transform of training data was None and is now {'class': 'Holding'" in record.difference(taken(model), deep)
    assert "transform of training data was {'class': 'Holding'" in record.difference(deep, taken(model))
    arrays = [taken(model, transform=Holding(np.full(3, number))) for number in (1, 1, 2)]
    assert record.difference(*arrays[:2]) is None
    assert "sha256 of value of transform" in record.difference(*arrays[1:])
