"""Run folders: the parameters of a run, its results, and trainings that resume.

A run folder, `runs/NOTEBOOK/KEY/`, holds

    manifest.json        parameters, versions, hardware, precision, dataset fingerprints, git commit, wall time, scored epochs,
                         the networks' sizes and their losses on the first batch
    metrics.json         the numbers of the notebook's tables
    figures/             its pictures
    notebook.ipynb/.html the executed notebook, if it ran headless
    SYSTEM/history.csv   one row an epoch
    SYSTEM/steps.csv     some rows within each epoch, if the notebook asks for them
    SYSTEM/training.json what decides the system's training, see `record`
    SYSTEM/network.json  how its network is built
    SYSTEM/best.weights.h5, last.weights.h5   the weights of the best epoch by validation, and of the last
    SYSTEM/state.npz     everything that a training needs to resume: variables, optimizer, random seeds, epoch

KEY is the name given by RUN=, or the profile and a hash of the parameters, so that another configuration never continues this
one. Each file is written under a temporary name and then renamed, so that a killed process leaves no half-written file.
"""

import contextlib
import math
import re
import shutil
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np

from colorize_lib import driver, files
from colorize_lib.errors import InputError, is_out_of_memory
from colorize_lib.training import checkpoint, devices, machine, progress, record
from colorize_lib.training.colorizer import describe, load_weights

FORMAT = 1
KEEP = ("best", "last")
TRAINING_FILES = ("training.json", "network.json", "history.csv", "steps.csv", "best.weights.h5", "last.weights.h5")
_PROCESS = ("started", "finished", "wall_seconds", "git_commit", "versions", "hardware")
# The entries of a manifest that other code uses, with their types.
_MANIFEST = dict.fromkeys(("notebook", "label", "command", "started"), str)
_MANIFEST |= dict.fromkeys(("parameters", "datasets", "versions", "hardware"), dict) | {"earlier": list}
_LATER = {"dtype": dict, "scored": dict, "networks": dict, "predates": list}  # older manifests lack these
_held = {}  # the run folders that this process holds, so that a cell which opens one can be executed again


class Run:
    """One run of a notebook, in a folder that this process holds until `finish` or `close`.

    Opening a run prints its folder. The folder of a finished run is not changed until something is trained or `finish` is called.

    Args:
        notebook: key of the notebook's paper, the name of the folder's parent.
        parameters: resolved `parameters.Parameters`.
        **datasets: `Dataset`s by name, to be described in the manifest.

    Attributes:
        folder: `pathlib.Path` of the run folder.
        parameters: the resolved parameters.
        metrics: nested dictionary that `finish` writes to `metrics.json`.

    Raises:
        InputError: another process works in the folder, it holds another configuration, or it cannot be written.
    """

    def __init__(self, notebook, parameters, /, **datasets):
        self.notebook, self.parameters = notebook, parameters
        self.folder = files.run_root() / notebook / parameters.key()
        self.metrics = {}
        self._started = time.monotonic()
        self._trained = {}  # system → its history, and the column that chooses its best epoch
        self._hold()
        files.sweep(self.folder)
        before = self._former_manifest()
        self._manifest = {
            "format": FORMAT,
            "notebook": notebook,
            "label": parameters.label,
            "parameters": vars(parameters) | {"run": None},
            "command": parameters.command(notebook),
            "datasets": {
                name: {
                    "name": dataset.manifest["name"],
                    "fingerprint": dataset.fingerprint,
                    "counts": {split: len(rows) for split, rows in dataset.splits.items()},
                }
                for name, dataset in datasets.items()
            },
            "versions": machine.versions(),
            "hardware": machine.hardware(),
            "git_commit": machine.git_commit(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "finished": None,
            "wall_seconds": None,
            # By system: the precision that was used, and the epoch whose weights were scored.
            "dtype": dict(before.get("dtype", {})),
            "scored": {},
            # By system: the number of parameters, and the loss on the first batch before training.
            "networks": dict(before.get("networks", {})),
            # Fixes that change numbers and were made after this run, in words.
            "predates": list(before.get("predates", [])),
            # The earlier processes of a run that was stopped and resumed, each with its own commit.
            "earlier": [*before.get("earlier", []), {name: before.get(name) for name in _PROCESS}] if before else [],
        }
        if not before.get("finished"):
            self._write_manifest()
        print(f"run folder: {files.shown(self.folder)}")

    def _hold(self):
        if self.folder not in _held:
            holder = contextlib.ExitStack()
            holder.enter_context(files.lock(self.folder, "run"))
            _held[self.folder] = holder

    def close(self):
        """Release the folder for other processes. The next call of a method holds it again."""
        if self.folder in _held:
            _held.pop(self.folder).close()

    def _write_manifest(self):
        files.write_json(self.folder / "manifest.json", self._manifest)

    def _former_manifest(self):
        """The manifest of an earlier process, or {}. Raises InputError if that process had other parameters."""
        path = self.folder / "manifest.json"
        if not path.exists():
            return {}
        before = read_manifest(path)
        for name, value in self.parameters.trained().items():
            # A parameter that did not exist when the folder was made counts as unchanged.
            former = before["parameters"].get(name, value)
            if former != value:
                raise InputError(
                    f"The run folder {self.folder} holds another configuration: {name.upper()} was {former!r} and is now "
                    f"{value!r}; choose another name with RUN=, or delete the folder."
                )
        return before

    def fit(self, name, make, train, validation, *, epochs, keep="best", monitor="val_loss", callbacks=(), fresh=False):
        """Train one system, resume its training, or restore it if it is finished.

        A training is only resumed or restored if the current code describes the same one: see `record`. The random seed is set
        before `make` is called, so that the result does not depend on which systems were trained before.

        Args:
            name: name of the system and of the folder with its files.
            make: function without arguments that returns a compiled model with an attribute `network` to be saved.
            train, validation: `data.Batches`.
            epochs: total number of epochs.
            keep: "best" or "last": the model gets the weights of the best epoch by `monitor`, or of the last one. The folder keeps
                both, so that another `keep` needs no training.
            monitor: column of the history that chooses the best epoch, see `checkpoint.best_epoch`.
            callbacks: further Keras callbacks.
            fresh: delete the files of this system, and train it again.

        Returns:
            The model with the weights that `keep` names, and the history, one dictionary an epoch. `scored_epoch` tells the epoch.

        Raises:
            InputError: the folder holds a training with another network, loss, optimizer, data or code; the loss is not finite; no
                space or memory is left.
        """
        if keep not in KEEP:
            raise InputError(f"keep is {keep!r}: it must be one of {', '.join(KEEP)}.")
        self._hold()
        folder = self.folder / name
        code = record.code_on_screen(make)
        keras.utils.set_random_seed(self.parameters.seed)
        model = self._made(make, train)
        if fresh and folder.exists():
            with files.disk_errors(folder):
                for file in (
                    folder / "state.npz",
                    *folder.glob("*.*"),
                ):  # first the state, without which nothing is restored
                    file.unlink(missing_ok=True)
        history = self._recorded(folder, record.taken(model, train, validation, monitor, code), epochs)
        if description := describe(model):
            files.write_json(folder / "network.json", description)
        if len(history) < epochs:
            history = self._train(folder, model, train, validation, epochs, monitor, callbacks)
        self._trained[name] = history, monitor
        self._manifest["scored"][name] = {"keep": keep, "epoch": self.load_epoch(name, model, keep), "epochs": epochs}
        return model, history

    def extend(self, name, former):
        """Let the system `name` start with the epochs of another system that was trained in the same way.

        `fit` then trains the remaining epochs. If the folder already holds epochs of `name`, they stay as they are.

        Args:
            name: the system that is to be trained for more epochs.
            former: the system whose training it extends.
        """
        self._hold()
        source, target = self.folder / former, self.folder / name
        if checkpoint.saved_history(target):
            return
        with files.disk_errors(self.folder):
            for file in (*TRAINING_FILES, "state.npz"):  # the state last: without it, nothing is resumed
                if (source / file).exists():
                    with files.atomic(target / file) as copy:
                        shutil.copyfile(source / file, copy)

    def _made(self, make, train):
        """The built model, on the number of devices that the parameters ask for."""

        def build(model):
            model(train[0][0][:1])  # creates the variables
            checkpoint.state_variables(model)

        with _interrupts(), _out_of_memory(train.batch_size):
            return devices.spread(make, self.parameters.devices, build)

    def _recorded(self, folder, now, epochs):
        """The history of the training in `folder`, or [] if there is none, in which case `now` becomes its record.

        Raises InputError if the folder's record differs from `now`.
        """
        history, path = checkpoint.saved_history(folder), folder / "training.json"
        if not history:
            files.write_json(path, now)
            return []
        advice = "choose another run folder with RUN=, give Run.fit fresh=True to train it again, or delete the folder"
        note = ""
        if not path.exists():
            note = (
                "; it is older than the records of networks, losses and optimizers, so that only shapes can be compared"
            )
        elif different := record.difference(_read_record(path), now):
            raise InputError(f"{folder} holds another training: {different}; {advice}.")
        if len(history) > epochs:
            raise InputError(f"{folder} holds {len(history)} epochs, and {epochs} are asked for; {advice}.")
        message = f"{folder.name}: {len(history)} of {epochs} epochs restored from {files.shown(folder)}{note}"
        print(message)
        driver.report(message, stays=True)
        return history

    def _train(self, folder, model, train, validation, epochs, monitor, callbacks):
        """Train the remaining epochs, and return the whole history."""
        kept = checkpoint.Checkpoint(folder, model, train, monitor)
        kept.restore()
        before, now = self._manifest["dtype"].get(folder.name), _precision(model.network)
        self._manifest["dtype"][folder.name] = now if before in (None, now) else f"{before}, then {now}"
        self._write_manifest()
        # `StepHistory` writes its file before the state says that the epoch is done.
        steps = [callback for callback in callbacks if isinstance(callback, checkpoint.StepHistory)]
        others = [callback for callback in callbacks if callback not in steps]
        sizes = self._manifest["networks"].setdefault(folder.name, {})
        sizes["parameters"] = model.network.count_params()

        def after_batch(batch, logs):
            check()
            if not kept.history and model.batches_done(batch) == 1 and math.isfinite(logs["loss"]):
                sizes["first_loss"] = float(logs["loss"])
                self._write_manifest()

        with _interrupts() as check, files.disk_errors(self.folder), _out_of_memory(train.batch_size):
            heed = keras.callbacks.LambdaCallback(on_train_batch_end=after_batch)
            model.fit(
                train,
                validation_data=validation,
                epochs=epochs,
                initial_epoch=kept.epoch,
                verbose=0,
                callbacks=[heed, *steps, kept, progress.Progress(folder.name, epochs), *others],
            )
        return kept.history

    def load_epoch(self, name, model, keep):
        """Load the weights of a system's "best" or "last" epoch into `model`, and return the number of that epoch.

        Raises InputError if `fit` was not called for the system, or its weights are damaged.
        """
        if name not in self._trained:
            raise InputError(f"{name!r} is not trained in this run: call Run.fit first.")
        history, monitor = self._trained[name]
        load_weights(model.network, self.folder / name / f"{keep}.weights.h5")
        return checkpoint.best_epoch(history, monitor) if keep == "best" else len(history)

    def scored_epoch(self, name):
        """The number of the epoch, counted from 1, whose weights the system's model got from `fit`."""
        return self._manifest["scored"][name]["epoch"]

    def figure(self, figure, name):
        """Save a matplotlib figure as `figures/NAME.png`, or `evaluation.plots.Pictures` as `figures/NAME.jpg`, and return it."""
        self._hold()
        save_figure(figure, self.folder, name)
        return figure

    def finish(self, paper_vs_here=None):
        """Write `metrics.json` and, from a pandas DataFrame, `paper_vs_here.csv`, complete the manifest, and release the folder."""
        self._hold()
        if paper_vs_here is not None:
            files.write_table(self.folder / "paper_vs_here.csv", paper_vs_here)
        files.write_json(self.folder / "metrics.json", {"format": FORMAT, **_plain(self.metrics)})
        self._manifest["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self._manifest["wall_seconds"] = round(time.monotonic() - self._started, 1)
        self._write_manifest()
        self.close()


def save_figure(figure, folder, name):
    """Save what `Run.figure` takes as `figures/NAME.png` or `.jpg` in a run folder."""
    with files.atomic(folder / "figures" / f"{name}.{getattr(figure, 'format', 'png')}") as path:
        figure.savefig(path, dpi=100, bbox_inches="tight")


def _precision(network):
    """The dtype policies of the layers that have weights, such as "mixed_bfloat16", without float32 if there are others."""
    found = {layer.dtype_policy.name for layer in devices.layers(network) if layer.weights}
    return ", ".join(sorted(found - {"float32"})) or "float32"


def _read_record(path):
    found = files.read_json(path, "record of a training")
    if not isinstance(found, dict) or found.get("format") != record.FORMAT:
        raise InputError(
            f"{path} is not a record of format {record.FORMAT}: use the version of the project that wrote it, or delete the folder "
            f"{path.parent} to train this system again."
        )
    return found


def _plain(value):
    """Convert numbers and containers of numpy to JSON's; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_manifest(path):
    """Read a run's manifest or its `metrics.json`. Raises InputError if it is damaged or of another format."""
    content = files.read_json(path, "run file")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise InputError(
            f"{path} is of format {found!r}, and this version of the project reads format {FORMAT}: use the version that wrote it."
        )
    if Path(path).name == "manifest.json":
        wrong = [name for name, kind in _MANIFEST.items() if not isinstance(content.get(name), kind)]
        wrong += [name for name, kind in _LATER.items() if not isinstance(content.get(name, kind()), kind)]
        if wrong or not re.fullmatch("[a-z0-9_-]+", content["notebook"]):
            raise InputError(
                f"The manifest {path} is damaged at {', '.join(wrong) or 'notebook'}: delete it and run the command that made it "
                "again; what is trained is kept."
            )
    return content


@contextlib.contextmanager
def _out_of_memory(batch_size):
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(type(error).__name__, error):
            raise
        raise InputError(
            f"Memory ran out at batch size {batch_size}: lower BATCH_SIZE or WIDTH; finished epochs are kept."
        ) from error


@contextlib.contextmanager
def _interrupts():
    """Make sure that Ctrl+C ends the block with a `KeyboardInterrupt`.

    Python raises it between any two instructions: while TensorFlow traces a function, it can turn into an IndexError, and in a
    callback of the garbage collector it is lost. Yields a function that raises it again if it was lost.
    """
    previous, heard = signal.getsignal(signal.SIGINT), []

    def hear(number, frame):
        try:
            previous(number, frame)
        except KeyboardInterrupt:
            heard.append(number)
            raise

    def check():
        if heard:
            raise KeyboardInterrupt

    if not callable(previous) or threading.current_thread() is not threading.main_thread():
        yield check
        return
    signal.signal(signal.SIGINT, hear)
    try:
        yield check
        check()
    except Exception as error:
        if heard:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, previous)
