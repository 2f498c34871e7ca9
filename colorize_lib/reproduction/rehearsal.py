"""How long the trainings of notebooks will take, from a short measurement on the machine at hand.

A rehearsal executes a notebook's cells as far as its heading "Evaluation", in a process of its own. Its data are the prepared
ones if they are there, else the bundled photographs in the numbers of the dataset; every `run.fit` trains for a few steps of each
kind of network and batch, and notes epochs and images. What comes out is images × epochs × measured seconds an image; a validation
image is counted as a third of a training image, because it has no way back through the network. Downloads, preparation,
compilation, scoring, figures, and networks that are trained after "Evaluation" are left out.
"""

import contextlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

from colorize_lib.reproduction import notebook
from colorize_lib.reproduction.series import aligned

# So long a paper, imports and data aside; thrice, where not even one network was measured until then.
SECONDS = {"quick": 20, "paper": 60}
FEW = 8  # images of the first measured steps
_MARK = "REHEARSED "


def table(papers, assignments):
    """A table of the papers' networks, epochs and hours of training, as text; it never raises for what a rehearsal ran into."""
    found = _in_a_process(papers, assignments)
    rows, total, open_end = [("paper", "networks", "epochs", "training")], 0.0, False
    for paper in papers:
        result = found.get(paper) or {"fits": [], "note": "the rehearsal did not get there"}
        seconds = sum(fit["seconds"] for fit in result["fits"])
        total, note = total + seconds, result["note"]
        open_end |= bool(note)
        epochs = sum(fit["epochs"] for fit in result["fits"])
        text = f"{'at least' if note else 'about'} {_words(seconds)}" if result["fits"] else "unknown"
        rows.append((paper, str(len(result["fits"])), str(epochs), text + (f" ({note})" if note else "")))
    rows.append(("all", "", "", f"{'at least' if open_end else 'about'} {_words(total)}"))
    measured = sum(fit["measured"] for result in found.values() for fit in result["fits"])
    return "\n".join(
        [
            f"Estimated training time on this machine, from a few steps of {measured} networks:",
            aligned(rows),
            "Left out: downloads, preparation, compilation, scoring, figures, and what other programs take from the machine.",
        ]
    )


def _words(seconds):
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds"


def _in_a_process(papers, assignments):
    """{paper: {"fits", "note"}} of as many papers as the process got through."""
    seconds = 3 * sum(SECONDS.values()) * len(papers) + 600
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"COLORIZE_RUNS": folder}
        command = [sys.executable, "-m", "colorize_lib.reproduction.rehearsal", json.dumps([papers, list(assignments)])]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
            try:
                printed, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                printed, _ = process.communicate()
            except BaseException:
                process.kill()
                raise
    lines = [
        line.removeprefix(_MARK) for line in printed.decode(errors="replace").splitlines() if line.startswith(_MARK)
    ]
    return dict(map(json.loads, lines))


class _OutOfTime(BaseException):
    """Not an `Exception`, so that no notebook takes it for an error of its own."""


@contextlib.contextmanager
def _at_most(seconds, enough):
    """Raise `_OutOfTime` in the block after so many seconds, but only thrice so many while `enough()` is false."""
    rounds = 0

    def stop(signum, frame):
        nonlocal rounds
        rounds += 1
        if enough() or rounds == 3:
            raise _OutOfTime

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@contextlib.contextmanager
def _paused():
    """Stop the clock of `_at_most` for the block."""
    left = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)


def rehearse(paper, assignments=(), seconds=None, measure=True):
    """Rehearse one notebook.

    Args:
        paper, assignments: as in `notebook.reproduce`.
        seconds: when to stop, once a network is measured; None: `SECONDS` of the profile.
        measure: False counts images and epochs only, and takes 0 seconds for each.

    Returns:
        Dictionary of `fits`, one a training (name, epochs, images, seconds, whether it was measured), and a `note` on what cut the
        rehearsal short, or "".
    """
    import keras  # noqa: F401 — takes seconds, before the clock runs
    import nbformat

    path, _, given, resolved = notebook.prepare(paper, assignments)
    fits, note, names = [], "", {"__name__": "rehearsal", "display": lambda *_, **__: None}
    if "BACKBONE_WEIGHTS" in notebook.declared(path):
        given["BACKBONE_WEIGHTS"] = "random"  # nothing is downloaded for an estimate
    try:
        with _at_most(seconds or SECONDS[resolved.profile], lambda: fits), _stand_ins(fits, measure), _folder_of(path):
            for cell in nbformat.read(path, as_version=4).cells:
                if cell.cell_type == "markdown" and "## Evaluation" in cell.source.splitlines():
                    break
                if cell.cell_type == "code":
                    try:
                        exec(compile(cell.source, path.name, "exec"), names)  # our own notebook
                    except Exception as error:
                        if "run.fit" in cell.source or not fits:  # else a figure, whose histories are not there
                            note = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
                            break
                if "parameters" in cell.metadata.get("tags", ()):
                    names.update(given)
    except _OutOfTime:
        note = f"not all was seen in {seconds or SECONDS[resolved.profile]} s"
    return {"fits": fits, "note": note}


@contextlib.contextmanager
def _folder_of(path):
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        os.chdir(before)


class _Row(dict):
    """A row of a history; a column that nobody measured is NaN."""

    def __missing__(self, column):
        return float("nan")


@contextlib.contextmanager
def _stand_ins(fits, measure):
    """Replace what takes long: data that are not there, trainings, features of whole datasets, pictures."""
    import numpy as np

    import data_prep
    from colorize_lib.evaluation import plots
    from colorize_lib.training import features, runs

    rates = {}

    class Rehearsed(runs.Run):
        """A run that trains a few steps, writes nothing, and notes what would have been trained."""

        def fit(self, name, make, train, validation, *, epochs, monitor="val_loss", callbacks=()):
            from colorize_lib.training import devices

            model = devices.spread(make, self.parameters.devices, lambda model: model(train[0][0][:1]))
            # Outputs tell a network with strides from one without; dropout costs nothing.
            values = sum(math.prod(layer.output.shape[1:]) for layer in model.network.layers if layer.weights)
            kind = type(model).__name__, model.network.count_params(), values, train[0][0].shape, train.batch_size
            first = kind not in rates
            if first:
                rates[kind] = _measured(model, train) if measure else (0.0, {"loss": 0.0})
            each, logs = rates[kind]
            images = len(train.split) + len(validation.split) / 3
            fits.append(dict(name=name, epochs=int(epochs), images=len(train.split), measured=first and measure))
            fits[-1]["seconds"] = float(each * images * epochs)
            row = _Row(logs | {f"val_{column}": value for column, value in logs.items()})
            object.__setattr__(
                model, "evaluate", lambda *_, return_dict=False, **__: logs if return_dict else list(logs.values())
            )
            return model, [_Row(row | {"epoch": epoch, "seconds": 0.0}) for epoch in (1, 2)]

        def figure(self, figure, name):
            return figure

    def few_features(network, images, folder, **options):
        values = network.predict_on_batch(np.zeros((1, *network.input_shape[1:]), "float32"))
        return features.Features(np.broadcast_to(values, (len(images), *values.shape[1:])), Path(folder), 0.0)

    with contextlib.ExitStack() as stack:
        for owner, name, replacement in (
            (data_prep, "load", _load(data_prep.load)),
            (runs, "start", lambda notebook, parameters, **datasets: Rehearsed(notebook, parameters, datasets)),
            (features, "cached_features", few_features),
            (plots, "architecture", lambda *_, **__: None),
        ):
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield


def _measured(model, train):
    """Seconds of training an image, and the losses and metrics of the last step."""
    each, logs = _step_seconds(model, train, min(FEW, train.batch_size))
    if each * train.batch_size < 2 and train.batch_size > FEW:
        each, logs = _step_seconds(model, train, train.batch_size)
    return each, logs


def _step_seconds(model, train, images, steps=4):
    import keras

    class Few(keras.utils.PyDataset):
        """The same images again and again, so that reading is not what is measured."""

        def __init__(self):
            super().__init__()
            self.batch = tuple(values[:images] for values in train[0])

        def __len__(self):
            return steps

        def __getitem__(self, index):
            return self.batch

    class Watch(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.ends = []

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])  # waits for an accelerator
            self.ends.append(time.perf_counter())

    few, watch = Few(), Watch()
    history = model.fit(few, epochs=1, verbose=0, callbacks=[watch]).history
    best = min(after - before for before, after in zip(watch.ends[:-1], watch.ends[1:], strict=True))
    return best / len(few.batch[0]), {column: values[-1] for column, values in history.items()}


# Images of the datasets' splits, for those that are not prepared yet.
_COUNTS = {
    "tiny-imagenet": lambda options: (100_000, 10_000, 10_000),
    "cifar10": lambda options: (45_000, 5_000, 10_000),
    "coco": lambda options: _coco(options),
    "yosemite": lambda options: (1231, 155, 154) if options["domain"] == "a" else (962, 119, 119),
    "places": lambda options: (40_000, 500, 500),
}


def _coco(options):
    images = {"val2017": 5_000, "train2017": 118_287, "both": 123_287}[options["part"]]
    test = round(options["test"] * images)
    validation = round(options["validation"] * (images - test))
    return images - test - validation, validation, test


def _load(real):
    import numpy as np

    from colorize_lib import files
    from colorize_lib.dataset import Dataset, Split
    from data_prep import registry

    class Repeated:
        """The bundled photographs as often as a dataset has images."""

        def __init__(self, images, count):
            self.images, self.shape = images, (count, *images.shape[1:])

        def __len__(self):
            return self.shape[0]

        def __getitem__(self, rows):
            rows = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows)
            return self.images[rows % len(self.images)]

    def load(name, **options):
        with _paused():
            return load_now(name, **options)

    def load_now(name, *, size=None, home=None, **options):
        if name not in _COUNTS:
            return real(name, size=size, home=home, **options)
        resolved = registry.resolve(name, options)
        size = size or registry.find(name).size
        if (files.data_home(home) / "prepared" / registry.key(name, size, None, resolved) / "manifest.json").exists():
            return real(name, size=size, home=home, **options)
        photos = real("photos", size=size)["train"].images
        splits = {}
        for split, count in zip(("train", "validation", "test"), _COUNTS[name](resolved), strict=True):
            labels = np.arange(count, dtype="int32") % 10
            splits[split] = Split(Repeated(photos, count), labels, [f"{split}/{row}.jpg" for row in range(count)])
        return Dataset(splits, [str(label) for label in range(10)], {"name": name, "fingerprint": "rehearsal"})

    return load


if __name__ == "__main__":
    chosen, given = json.loads(sys.argv[1])
    for one in chosen:
        try:
            outcome = rehearse(one, given)
        except Exception as error:
            outcome = {"fits": [], "note": f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"}
        print(_MARK + json.dumps([one, outcome]), flush=True)
