"""What the terminal says of a training: losses, the time left, and after the first epoch how long the others will take."""

import json

import keras
import numpy as np
import pytest

from colorize_lib.training import progress


@pytest.fixture
def said(tmp_path, monkeypatch):
    """Function that returns what was reported so far, as (text, stays)."""
    path = tmp_path / "progress"
    monkeypatch.setenv("COLORIZE_PROGRESS", str(path))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


class Clock(keras.callbacks.Callback):
    """A training step takes two seconds, one of validation one, what is saved ten; the first steps compile for 100 seconds."""

    def __init__(self):
        super().__init__()
        self.now, self.steps = 0.0, {"train": 0, "test": 0}

    def monotonic(self):
        return self.now

    def _step(self, kind, seconds):
        self.now += seconds + (0 if self.steps[kind] else 100)
        self.steps[kind] += 1

    def on_train_batch_end(self, batch, logs=None):
        self._step("train", 2)

    def on_test_batch_end(self, batch, logs=None):
        self._step("test", 1)

    def on_epoch_end(self, epoch, logs=None):
        self.now += 10


@pytest.fixture
def fit(monkeypatch):
    """Function that trains a small network by `Clock`."""

    def fit(epochs, samples=40, validation=8):
        clock = Clock()
        monkeypatch.setattr(progress, "time", clock)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", loss="mse", run_eagerly=True)
        x = np.zeros((samples, 1), "float32")
        held_out = (x[:validation], x[:validation]) if validation else None
        callbacks = [clock, progress.Progress("small", epochs)]
        model.fit(x, x, batch_size=4, epochs=epochs, validation_data=held_out, verbose=0, callbacks=callbacks)

    return fit


def test_after_the_first_epoch_the_terminal_keeps_how_long_the_others_will_take(said, fit):
    fit(epochs=5)
    lines = said()
    # Ten steps of two seconds, and two of validation of one.
    assert [text for text, stays in lines if stays] == ["small: 0:22 an epoch, about 1:28 for the remaining 4"]
    texts = [text for text, _ in lines]
    place = texts.index("small: 0:22 an epoch, about 1:28 for the remaining 4")
    assert texts[place - 1] == "small: epoch 1/5 (100%), loss 0, validation loss 0, 1:28 left"
    assert texts[place + 1] == "small: epoch 2/5 (10%), loss 0, validation loss 0, 1:26 left"
    assert texts[-1] == "small: epoch 5/5 (100%), loss 0, validation loss 0"


def test_a_single_step_says_nothing_of_the_time(said, fit):
    fit(epochs=1, samples=4, validation=0)
    assert "left" not in said()[-1][0]
    assert "validation" not in said()[-1][0]


def test_durations():
    assert [progress._duration(seconds) for seconds in (0, 42.4, 725, 11_220)] == ["0:00", "0:42", "12:05", "3:07:00"]
