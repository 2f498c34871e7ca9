"""Runs: run folders, manifests, training that resumes.

A run folder, `runs/NOTEBOOK/KEY/`, holds

    manifest.json        parameters, versions, hardware, seed, dataset fingerprints, git commit, wall time
    metrics.json         the numbers of the notebook's tables
    figures/             its pictures
    notebook.ipynb/.html the executed notebook, when it ran headless
    SYSTEM/history.csv   one row an epoch
    SYSTEM/steps.csv     some rows within each epoch, where a notebook asks for them
    SYSTEM/network.json  how its network is built
    SYSTEM/best.weights.h5, last.weights.h5   the network of the best epoch by validation, and of the last
    SYSTEM/state.npz     everything that training needs to go on: variables, optimizer, random seeds, epoch

KEY names the profile and a hash of the parameters, so that another configuration never continues this one. Every file is
written beside its name and then renamed: a process killed at any moment leaves no half-written file.
"""

import contextlib
import csv
import json
import math
import os
import platform
import re
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import keras
import numpy as np

import colorize_lib
from colorize_lib import files
from colorize_lib.errors import InputError, is_out_of_memory, reason
from colorize_lib.files import run_root
from colorize_lib.training import devices
from colorize_lib.training.colorizer import describe, load_weights
from colorize_lib.training.progress import Progress
from colorize_lib.training.resident import ResidentModel

FORMAT = 1
# What a killed run needs is written after every epoch where that is quick, else so often that it takes this share of the time.
SAVING_SECONDS, SAVING_SHARE = 0.3, 0.1
_PROCESS = ("started", "finished", "wall_seconds", "git_commit", "versions", "hardware")
# What other code takes from a manifest, with its types.
_MANIFEST = dict.fromkeys(("notebook", "label", "command", "started"), str)
_MANIFEST |= dict.fromkeys(("parameters", "datasets", "versions", "hardware"), dict) | {"earlier": list}


def dtype_policy(choice):
    """The Keras dtype policy for `choice`: "auto" takes bfloat16 where the hardware multiplies it natively.

    TensorFlow on CPUs with AVX512-BF16 or AMX, and GPUs; JAX on a CPU emulates bfloat16 slowly and stays in float32.
    """
    if choice != "auto":
        return choice
    if hardware()["accelerators"]:
        return "mixed_bfloat16"
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    native = "avx512_bf16" in flags or "amx_bf16" in flags
    return "mixed_bfloat16" if native and keras.backend.backend() == "tensorflow" else "float32"


def hardware():
    """The machine in words: processor, cores usable, memory in GiB, accelerators, and the names of NVIDIA's among them."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = None
    with contextlib.suppress(ValueError, OSError, AttributeError):
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = keras.distribution.list_devices()
    accelerators = [device for device in devices if not device.lower().startswith("cpu")]
    found = {"processor": model, "cores": cores, "memory_gib": memory, "accelerators": accelerators}
    return found | ({"gpus": _gpus()} if accelerators else {})


def _gpus():
    """Names of the machine's NVIDIA GPUs, as its driver's own program says them."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def versions():
    """Versions of Python, the project and the packages that make the numbers."""
    backend = keras.backend.backend()
    found = {"python": platform.python_version(), "colorize_lib": colorize_lib.__version__, "backend": backend}
    for package in ("keras", backend, "numpy", "pillow", "scikit-image"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def git_commit():
    """The checkout's commit, with "+" if files differ from it; that of a bundle, from its file COMMIT; None elsewhere."""
    root = Path(__file__).parents[2]
    if (root / "COMMIT").is_file():
        return (root / "COMMIT").read_text(encoding="utf-8").strip()

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


_held = {}  # run folders that this process holds, so that a notebook cell may be run again


def _hold(folder):
    if folder not in _held:
        holder = contextlib.ExitStack()
        holder.enter_context(files.lock(folder, "run"))
        _held[folder] = holder


class Run:
    """One notebook's run in its folder. Made by `start`.

    Attributes:
        folder: `pathlib.Path` of the run folder.
        parameters: the resolved `Parameters`.
        metrics: nested dictionary that `finish` writes to `metrics.json`.
    """

    def __init__(self, notebook, parameters, datasets):
        self.notebook, self.parameters = notebook, parameters
        self.folder = run_root() / notebook / parameters.key()
        self.metrics = {}
        self._started = time.monotonic()
        _hold(self.folder)
        files.sweep(self.folder)
        before = self._former_manifest()
        self._manifest = {
            "format": FORMAT,
            "notebook": notebook,
            "label": parameters.label,
            "parameters": vars(parameters) | {"run": None},
            "command": parameters.command(notebook),
            "datasets": {name: _describe(dataset) for name, dataset in datasets.items()},
            "versions": versions(),
            "hardware": hardware(),
            "git_commit": git_commit(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "finished": None,
            "wall_seconds": None,
            # A run that was stopped and went on: the processes before this one, each with its own commit.
            "earlier": [*before.get("earlier", []), {name: before.get(name) for name in _PROCESS}] if before else [],
        }
        files.write_json(self.folder / "manifest.json", self._manifest)

    def _former_manifest(self):
        """The manifest of the process before this one, {} without one. Raises InputError if it had other parameters."""
        path = self.folder / "manifest.json"
        if not path.exists():
            return {}
        before = read_manifest(path)
        for name, value in self.parameters.trained().items():
            former = before["parameters"].get(name)
            if former != value:
                raise InputError(
                    f"The run folder {self.folder} holds another configuration: {name.upper()} was {former!r} and is now "
                    f"{value!r}; choose another name with RUN=, or delete the folder."
                )
        return before

    def fit(self, name, make, train, validation, *, epochs, monitor="val_loss", callbacks=()):
        """Train one system, or go on where an earlier process stopped.

        The seed is set before `make` is called, so that a system's result does not depend on which others ran before it.

        Args:
            name: the system; its files go to the folder of this name.
            make: function without arguments that returns a compiled model with an attribute `network` to be saved.
            train, validation: `data.Batches`.
            epochs: how many in all.
            monitor: the history's column whose lowest value ("val_psnr…": highest) chooses the best epoch.
            callbacks: further Keras callbacks.

        Returns:
            The model with the best epoch's weights, and the history: one dictionary an epoch.

        Raises:
            InputError: the loss is not finite; no space or memory; the folder's state is of another network.
        """
        keras.utils.set_random_seed(self.parameters.seed)

        def build(model):
            model(train[0][0][:1])  # creates the variables
            _state_variables(model)

        with _interrupts(), _out_of_memory(train.batch_size):
            model = devices.spread(make, self.parameters.devices, build)
        description = describe(model)
        if description:
            files.write_json(self.folder / name / "network.json", description)
        checkpoint = _Checkpoint(self.folder / name, model, train, monitor)
        # What steps write is on disk before the state says that the epoch is done.
        steps = [callback for callback in callbacks if isinstance(callback, StepHistory)]
        others = [callback for callback in callbacks if callback not in steps]
        if checkpoint.epoch < epochs:
            with _interrupts() as check, files.disk_errors(self.folder), _out_of_memory(train.batch_size):
                heed = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: check())
                model.fit(
                    train,
                    validation_data=validation,
                    epochs=epochs,
                    initial_epoch=checkpoint.epoch,
                    verbose=0,
                    callbacks=[heed, *steps, checkpoint, Progress(name, epochs), *others],
                )
        load_weights(model.network, self.folder / name / "best.weights.h5")
        return model, checkpoint.history

    def figure(self, figure, name):
        """Save a matplotlib figure as `figures/NAME.png`, atomically, and return it."""
        with files.atomic(self.folder / "figures" / f"{name}.png") as path:
            figure.savefig(path, dpi=100, bbox_inches="tight")
        return figure

    def finish(self, paper_vs_here=None):
        """Write `metrics.json` and `paper_vs_here.csv` (a DataFrame of `evaluate`), and complete the manifest."""
        if paper_vs_here is not None:
            with files.atomic(self.folder / "paper_vs_here.csv") as path:
                flat = paper_vs_here.set_axis([" ".join(column) for column in paper_vs_here.columns], axis="columns")
                flat.to_csv(path, index_label="system")
        files.write_json(self.folder / "metrics.json", {"format": FORMAT, **_plain(self.metrics)})
        self._manifest["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self._manifest["wall_seconds"] = round(time.monotonic() - self._started, 1)
        files.write_json(self.folder / "manifest.json", self._manifest)


def start(notebook, parameters, **datasets):
    """Open the run folder for `parameters`, hold it, and write its manifest.

    Args:
        notebook: name of the notebook without suffix.
        parameters: from `parameters`.
        datasets: name → `data.Dataset`, described in the manifest.

    Raises:
        InputError: another process works in the folder, it holds another configuration, or it cannot be written.
    """
    return Run(notebook, parameters, datasets)


def _describe(dataset):
    counts = {name: len(split) for name, split in dataset.splits.items()}
    return {"name": dataset.manifest["name"], "fingerprint": dataset.fingerprint, "counts": counts}


def _plain(value):
    """Numbers and containers of numpy as JSON knows them; what is not finite becomes None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_manifest(path):
    """A run's manifest, or its `metrics.json`; another format version is an InputError that says so."""
    content = files.read_json(path, "run file")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else None
        raise InputError(
            f"{path} is of format {found!r}, and this version of the project reads format {FORMAT}: use the version that wrote it."
        )
    if Path(path).name == "manifest.json":
        wrong = [name for name, kind in _MANIFEST.items() if not isinstance(content.get(name), kind)]
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
        if not isinstance(error, MemoryError) and not is_out_of_memory(type(error).__name__, error):
            raise
        raise InputError(
            f"Memory ran out at batch size {batch_size}: lower BATCH_SIZE or WIDTH; finished epochs are kept."
        ) from error


@contextlib.contextmanager
def _interrupts():
    """Let Ctrl+C end the block as `KeyboardInterrupt`, whatever the code that it meets makes of it.

    Python raises that between any two instructions. Where it met TensorFlow tracing a function, an IndexError came out; where it
    met a callback of the garbage collector, nothing did. Yields a function that raises it again if it was lost.
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


class _Checkpoint(keras.callbacks.Callback):
    """Keeps history, best and last weights, and the full state, atomically; restores them when made.

    All are written at the end of an epoch, unless that takes long, and more than a tenth of the time since they were written last:
    on a fast accelerator epochs can be shorter than writing a large network.
    """

    def __init__(self, folder, model, train, monitor):
        super().__init__()
        self.folder, self.train_batches, self.monitor = folder, train, monitor
        self.history, self.epoch = [], 0
        self._variables = _state_variables(model)
        self._written, self._cost, self._kept = (
            0.0,
            0.0,
            0,
        )  # when all was last written, how long that took, after which epoch
        self._best = None  # weights of the best epoch, where they are better than those on disk
        self._restore()

    def _restore(self):
        path = self.folder / "state.npz"
        if not path.exists():
            return
        try:
            with np.load(path, allow_pickle=False) as state:
                self.history = json.loads(str(state["history"]))
                values = [state[f"variable{i}"] for i in range(len(self._variables))]
                if len(state.files) != 1 + len(values) or any(value.dtype.kind not in "biuf" for value in values):
                    raise ValueError("it is the state of another network")
            if [row["epoch"] for row in self.history] != list(range(1, 1 + len(self.history))) or not self.history:
                raise ValueError("its history has gaps")
        except Exception as error:  # a damaged file can fail in any part of the readers of zip, numpy and JSON
            raise InputError(
                f"Cannot resume from {path} ({type(error).__name__}: {reason(error)}): delete the folder {self.folder} to train "
                "this system anew."
            ) from error
        for variable, value in zip(self._variables, values, strict=True):
            if tuple(variable.shape) != value.shape:
                raise InputError(
                    f"Cannot resume from {path}: {variable.path} has shape {tuple(variable.shape)} in the network and "
                    f"{value.shape} in the file; delete the folder {self.folder} to train this system anew."
                )
            variable.assign(value)
        self.epoch = self._kept = len(self.history)
        self._write_history()  # a kill between the state and the history leaves the latter one epoch behind

    def on_epoch_begin(self, epoch, logs=None):
        self.train_batches.set_epoch(epoch)
        self._begun = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._check_losses(logs or {})

    def _check_losses(self, logs):
        """Stop before anything is saved when a loss is not finite, be it of training, of validation, or of one of several."""
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
        best = _best_epoch(self.history, self.monitor) == epoch
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
        # The state comes last: until it is there, a resumed run repeats these epochs, which write the same files again.
        state = {f"variable{i}": np.asarray(variable) for i, variable in enumerate(self._variables)}
        with files.atomic(self.folder / "state.npz") as path:
            np.savez(path, history=json.dumps(self.history), **state)
        self._write_history()
        self._written, self._kept = time.monotonic(), self.epoch
        self._cost = self._written - begun

    def _save_weights(self, name):
        with files.atomic(self.folder / f"{name}.weights.h5") as path:
            self.model.network.save_weights(path)

    def _write_history(self):
        with files.atomic(self.folder / "history.csv") as path:
            _write_csv(path, self.history)


class StepHistory(keras.callbacks.Callback):
    """Losses within the epochs. `rows`: dictionaries of `step` (batches from the first epoch on), `epoch`, and the columns of
    the history as means since the row before.

    Args:
        path: CSV file, written after every epoch; a resumed run goes on with it.
        points: rows an epoch.
    """

    def __init__(self, path, points=20):
        super().__init__()
        self.path, self.points, self.rows = Path(path), points, []
        if self.path.exists():
            try:
                with open(self.path, newline="", encoding="utf-8") as file:
                    self.rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
                self.rows = [row for row in self.rows if row["step"] and row["epoch"]]
            except Exception as error:  # bytes of another file can fail anywhere
                raise InputError(
                    f"Cannot go on with {self.path} ({reason(error)}): delete the folder {self.path.parent} to train anew."
                ) from error

    def on_epoch_begin(self, epoch, logs=None):
        self.rows = [row for row in self.rows if row["epoch"] <= epoch]  # an epoch that was cut off is repeated
        self._steps = self._done(self.params["steps"] - 1)
        self._epoch, self._every = epoch, max(1, self._steps // self.points)
        self._before, self._sums = 0, {}

    def _done(self, item):
        """Batches learned of the epoch; an item of `resident.ResidentBatches` holds several."""
        return self.model.batches_done(item) if isinstance(self.model, ResidentModel) else item + 1

    def on_train_batch_end(self, batch, logs=None):
        done = self._done(batch)
        count = done - self._before
        if count >= self._every:
            sums = {
                name: float(value) * done for name, value in logs.items()
            }  # Keras' are means since the epoch's begin
            means = {name: (value - self._sums.get(name, 0.0)) / count for name, value in sums.items()}
            self.rows.append({"step": self._epoch * self._steps + done, "epoch": self._epoch + 1} | means)
            self._before, self._sums = done, sums

    def on_epoch_end(self, epoch, logs=None):
        with files.atomic(self.path) as path:
            _write_csv(path, self.rows)


def _write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def _state_variables(model):
    """All that training changes: weights, metrics, random seeds, and the optimizers' variables, in a fixed order."""
    optimizers = getattr(model, "optimizers", None) or [model.optimizer]
    for optimizer in optimizers:
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
    return [*model.variables, *(variable for optimizer in optimizers for variable in optimizer.variables)]


def _best_epoch(history, monitor):
    """Index of the best epoch by the column `monitor`; without such a column, the last."""
    if monitor not in history[0]:
        return len(history) - 1
    values = np.array([row[monitor] for row in history])
    return int(np.argmax(values) if "psnr" in monitor or "accuracy" in monitor else np.argmin(values))
