"""The files of a training: history, weights, and the state from which it resumes."""

import contextlib
import json
import math
import time
from pathlib import Path

import keras
import numpy as np

from colorize_lib import files
from colorize_lib.errors import InputError, reason
from colorize_lib.training.resident import ResidentModel

# The state is written after every epoch if that is quick, and otherwise less often, so that writing takes this share of the time.
SAVING_SECONDS, SAVING_SHARE = 0.3, 0.1


def saved_history(folder):
    """The history of the training whose state is saved in `folder`, one dictionary an epoch; [] without a state.

    Raises InputError if the state is damaged.
    """
    path = Path(folder) / "state.npz"
    if not path.exists():
        return []
    try:
        with np.load(path, allow_pickle=False) as state:
            history = json.loads(str(state["history"]))
        if [row["epoch"] for row in history] != list(range(1, 1 + len(history))) or not history:
            raise ValueError("its history has gaps")
    except Exception as error:  # a damaged file can fail in any part of the readers of zip, numpy and JSON
        raise _cannot_resume(path, f"{type(error).__name__}: {reason(error)}") from error
    return history


def _cannot_resume(path, why):
    return InputError(
        f"Cannot resume from {path} ({why}): use the version of the project that wrote it, or delete the folder {path.parent} to "
        "train this system again."
    )


def best_epoch(history, monitor):
    """The number of the best epoch by the column `monitor`, counted from 1, or the last epoch if there is no such column.

    The best value is the highest of a PSNR or an accuracy, and otherwise the lowest.
    """
    if monitor not in history[0]:
        return len(history)
    values = np.array([row[monitor] for row in history])
    return 1 + int(np.argmax(values) if "psnr" in monitor or "accuracy" in monitor else np.argmin(values))


def state_variables(model):
    """Everything that training changes: weights, metrics, random seeds, and the optimizers' variables, in a fixed order."""
    optimizers = getattr(model, "optimizers", None) or [model.optimizer]
    for optimizer in optimizers:
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
    return [*model.variables, *(variable for optimizer in optimizers for variable in optimizer.variables)]


@contextlib.contextmanager
def as_before(model):
    """Run a block that trains the model, and restore its weights, optimizers, and random seeds afterwards.

    The model must be built.
    """
    variables = state_variables(model)
    values = [np.array(variable) for variable in variables]
    try:
        yield model
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)


class Checkpoint(keras.callbacks.Callback):
    """Saves the history, the best and the last weights, and the full state, atomically; `restore` resumes from them.

    They are written at the end of each epoch, or less often where writing would take more than a tenth of the time: on a fast
    accelerator, an epoch can be shorter than writing a large network.

    Args:
        folder: the system's folder in the run folder.
        model: compiled model, built with its optimizers.
        train: the training's `data.Batches`.
        monitor: column of the history that chooses the best epoch, see `best_epoch`.
    """

    def __init__(self, folder, model, train, monitor):
        super().__init__()
        self.folder, self.train_batches, self.monitor = Path(folder), train, monitor
        self.history, self.epoch = [], 0
        self._variables = state_variables(model)
        self._written = self._cost = 0.0  # when the files were last written, and how long that took
        self._kept = 0  # the epoch after which they were last written
        self._best = None  # weights of the best epoch, if they are better than those on disk

    def restore(self):
        """Restore history and variables from the folder's state. Raises InputError if it is damaged or of another network."""
        history, path = saved_history(self.folder), self.folder / "state.npz"
        if not history:
            return
        try:
            with np.load(path, allow_pickle=False) as state:
                values = [state[f"variable{i}"] for i in range(len(self._variables))]
                if len(state.files) != 1 + len(values) or any(value.dtype.kind not in "biuf" for value in values):
                    raise ValueError("it is the state of another network")
        except Exception as error:  # as in `saved_history`
            raise _cannot_resume(path, f"{type(error).__name__}: {reason(error)}") from error
        for variable, value in zip(self._variables, values, strict=True):
            if tuple(variable.shape) != value.shape:
                shapes = f"{tuple(variable.shape)} in the network and {value.shape} in the file"
                raise _cannot_resume(path, f"{variable.path} has shape {shapes}")
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)
        self.history, self.epoch, self._kept = history, len(history), len(history)
        self._write_history()  # a process killed between the two files leaves the history one epoch behind

    def on_epoch_begin(self, epoch, logs=None):
        self.train_batches.set_epoch(epoch)
        self._begun = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._check_losses(logs or {})

    def _check_losses(self, logs):
        """Stop before anything is saved if any loss, of training or validation, is not finite."""
        for name, value in logs.items():
            if name.endswith("loss") and not math.isfinite(value):
                kept = f"the weights of epoch {self._kept} are kept" if self._kept else "no epoch was finished"
                raise InputError(
                    f"The {name} of {self.folder.name} became {float(value)} in epoch {1 + self.epoch}; {kept} in {self.folder}: "
                    "lower LEARNING_RATE, or train in DTYPE=float32."
                )

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.monotonic() - self._begun
        row = {"epoch": epoch + 1} | {name: float(value) for name, value in (logs or {}).items()}
        self._check_losses(row)
        self.history.append(row | {"seconds": round(seconds, 2)})
        self.epoch = epoch + 1
        network = self.model.network
        best = best_epoch(self.history, self.monitor) == self.epoch
        waits = self._cost > SAVING_SECONDS and time.monotonic() - self._written < self._cost / SAVING_SHARE
        if waits and self.epoch < self.params["epochs"]:
            if best:
                self._best = network.get_weights()
            return
        begun = time.monotonic()
        self._save_weights("last")
        if best:
            self._save_weights("best")
        elif self._best is not None:
            now = network.get_weights()
            network.set_weights(self._best)
            self._save_weights("best")
            network.set_weights(now)
        self._best = None
        # The state comes last: without it, a resumed run repeats these epochs and writes the same files again.
        state = {f"variable{i}": np.asarray(variable) for i, variable in enumerate(self._variables)}
        with files.atomic(self.folder / "state.npz") as path:
            np.savez(path, history=json.dumps(self.history), **state)
        self._write_history()
        self._written, self._kept = time.monotonic(), self.epoch
        self._cost = self._written - begun

    def _save_weights(self, name):
        variables = self.model.network.variables
        # HDF5 can crash the process on a full disk, so the space is reserved first, with some kilobytes a variable for HDF5 itself.
        size = sum(math.prod(variable.shape) * 4 for variable in variables) + 4096 * (len(variables) + 2)
        with files.atomic(self.folder / f"{name}.weights.h5", size=size) as path:
            self.model.network.save_weights(path)

    def _write_history(self):
        files.write_csv(self.folder / "history.csv", self.history)


class StepHistory(keras.callbacks.Callback):
    """Records losses within the epochs.

    The attribute `rows` has dictionaries of `step` (batches since the first epoch), `epoch`, and the columns of the history as
    means since the previous row.

    Args:
        path: CSV file, written after every epoch; a resumed run continues it.
        points: number of rows an epoch.
    """

    def __init__(self, path, points=20):
        super().__init__()
        self.path, self.points, self.rows = Path(path), points, []
        if self.path.exists():
            try:
                self.rows = [{name: float(value) for name, value in row.items()} for row in files.read_csv(self.path)]
                self.rows = [row for row in self.rows if row["step"] and row["epoch"]]
            except Exception as error:  # bytes of another file can fail anywhere
                raise InputError(
                    f"Cannot continue {self.path} ({reason(error)}): delete the folder {self.path.parent} to train again."
                ) from error

    def on_epoch_begin(self, epoch, logs=None):
        self.rows = [row for row in self.rows if row["epoch"] <= epoch]  # an epoch that was interrupted is repeated
        self._steps = self._done(self.params["steps"] - 1)
        self._epoch, self._every = epoch, max(1, self._steps // self.points)
        self._before, self._sums = 0, {}

    def _done(self, item):
        """The number of batches of the epoch that are learned; an item of `resident.ResidentBatches` holds several."""
        return self.model.batches_done(item) if isinstance(self.model, ResidentModel) else item + 1

    def on_train_batch_end(self, batch, logs=None):
        done = self._done(batch)
        count = done - self._before
        if count >= self._every:
            # Keras' values are means since the start of the epoch.
            sums = {name: float(value) * done for name, value in logs.items()}
            means = {name: (value - self._sums.get(name, 0.0)) / count for name, value in sums.items()}
            self.rows.append({"step": self._epoch * self._steps + done, "epoch": self._epoch + 1} | means)
            self._before, self._sums = done, sums

    def on_epoch_end(self, epoch, logs=None):
        files.write_csv(self.path, self.rows)
