"""The progress of a training: one line in a notebook, and messages to the terminal of the headless driver."""

import math
import sys
import time

import keras

from colorize_lib.driver import INTERVAL, report


class _Clock:
    """Predicts the seconds of a number of steps from the measured ones, except the first, which compiles."""

    def __init__(self):
        self._first = self._last = None
        self._steps = 0

    def begin(self, step):
        """Leave out the time between the last step of an epoch and the first step of the next."""
        if step == 0 and self._steps:
            self._first += time.monotonic() - self._last

    def end(self):
        self._last = time.monotonic()
        self._first = self._first if self._steps else self._last
        self._steps += 1

    def seconds(self, steps):
        """NaN before the second step."""
        return (self._last - self._first) / (self._steps - 1) * steps if self._steps > 1 else math.nan


class Progress(keras.callbacks.Callback):
    """Shows system, epoch, losses and the time left on the driver's terminal, and in a notebook as one line that is updated.

    After the first epoch that can be timed, a line with the duration of an epoch and of the remaining ones stays on the terminal.
    The first steps of training and of validation, which compile, are not counted.
    """

    def __init__(self, system, epochs):
        super().__init__()
        self._system, self._epochs = system, epochs
        self._said, self._display = -math.inf, None
        self._training, self._validation = _Clock(), _Clock()
        self._validation_steps, self._estimated, self._validation_loss = 0, False, None

    def on_train_begin(self, logs=None):
        self._steps = self.params["steps"]
        if "ipykernel" in sys.modules:
            from IPython.display import display

            self._display = display({"text/plain": f"{self._system}: compiling"}, raw=True, display_id=True)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._training.begin(batch)

    def on_train_batch_end(self, batch, logs=None):
        self._training.end()
        if time.monotonic() - self._said > INTERVAL:
            self._say((batch + 1) / self._steps, logs)

    def on_test_batch_begin(self, batch, logs=None):
        self._validation.begin(batch)

    def on_test_batch_end(self, batch, logs=None):
        self._validation.end()
        self._validation_steps = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        self._validation_loss = (logs or {}).get("val_loss")
        self._say(1.0, logs)
        left, each = self._epochs - epoch - 1, self._seconds(self._steps)
        if left and not self._estimated and math.isfinite(each):
            report(
                f"{self._system}: {_duration(each)} an epoch, about {_duration(left * each)} for the remaining {left}",
                stays=True,
            )
            self._estimated = True

    def _seconds(self, steps):
        """Seconds of a number of training steps and of the proportionate part of an epoch's validation."""
        validation = self._validation.seconds(self._validation_steps)
        return self._training.seconds(steps) + (0 if math.isnan(validation) else validation) * steps / self._steps

    def _say(self, share, logs):
        self._said = time.monotonic()
        seconds = self._seconds((self._epochs - self._epoch - share) * self._steps)
        loss = f"loss {float((logs or {}).get('loss', math.nan)):.4g}"
        if self._validation_loss is not None:
            loss += f", validation loss {float(self._validation_loss):.4g}"
        done = self._epoch + 1 == self._epochs and share == 1
        left = f", {_duration(seconds)} left" if math.isfinite(seconds) and not done else ""
        line = f"{self._system}: epoch {self._epoch + 1}/{self._epochs} ({share:.0%}), {loss}{left}"
        report(line)
        if self._display is not None:
            self._display.update({"text/plain": line}, raw=True)


def _duration(seconds):
    """Seconds as 0:42, 12:05 or 3:07:00."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
