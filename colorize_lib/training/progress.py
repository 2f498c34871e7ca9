"""What a run does now: one line in a notebook, and messages to the headless driver's terminal."""

import contextlib
import json
import math
import os
import sys
import time

import keras

INTERVAL = 1.0  # seconds between two messages


def report(message):
    """Append a message to the file that the headless driver shows on the terminal; without a driver, do nothing."""
    path = os.environ.get("COLORIZE_PROGRESS")
    if path:
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(message) + "\n")


class _Line:
    """Text that a notebook shows as it is."""

    def __init__(self, text):
        self._text = text

    def __repr__(self):
        return self._text


class Progress(keras.callbacks.Callback):
    """Says system, epoch, loss and time left, to the driver and, in a notebook, as one line that is updated."""

    def __init__(self, system, epochs):
        super().__init__()
        self._system, self._epochs = system, epochs
        self._said, self._display = -math.inf, None

    def on_train_begin(self, logs=None):
        self._steps, self._done, self._begun = self.params["steps"], 0, time.monotonic()
        if "ipykernel" in sys.modules:
            from IPython.display import display

            self._display = display(_Line(f"{self._system}: compiling"), display_id=True)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._done += 1
        if time.monotonic() - self._said > INTERVAL:
            self._say((batch + 1) / self._steps, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._say(1.0, logs)

    def _say(self, share, logs):
        self._said = time.monotonic()
        remaining = (self._epochs - self._epoch - share) * self._steps
        left = round((self._said - self._begun) / self._done * remaining)
        line = (
            f"{self._system}: epoch {self._epoch + 1}/{self._epochs} ({share:.0%}), "
            f"loss {float((logs or {}).get('loss', math.nan)):.4g}, {left // 60}:{left % 60:02d} left"
        )
        report(line)
        if self._display is not None:
            self._display.update(_Line(line))
