import csv
import os
import signal
import subprocess
import sys
import types

import keras
import numpy as np
import pytest
import small_models

from colorize_lib import color
from colorize_lib.color import metrics
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.evaluation import scores
from colorize_lib.reproduction import parameters
from colorize_lib.training import checkpoint, runs
from colorize_lib.training.checkpoint import StepHistory
from colorize_lib.training.colorizer import Colorizer, load_weights
from colorize_lib.training.data import Batches

SAVING_SECONDS = checkpoint.SAVING_SECONDS
PROFILES = {"quick": {"epochs": 4, "width": 0.05, "learning_rate": 1e-3}}


def resolved(**given):
    return parameters.resolve(PROFILES, given)


@pytest.fixture(autouse=True)
def _every_epoch_is_written(monkeypatch):
    """Also where another process keeps the disk busy, so that writing takes long."""
    monkeypatch.setattr(checkpoint, "SAVING_SECONDS", float("inf"))


@pytest.fixture
def split():
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype="uint8")
    return Split(images, np.zeros(24, "int32"))


def train(run, split, epochs=4, system="polychromify", batch_size=8, order=0, held_out=None, fit=(), **compiled):
    """Train a small network; `fit`: further arguments of `Run.fit`; `compiled`: what differs in its making."""
    options = dict(size=16, width=0.05, learning_rate=run.parameters.learning_rate, metrics=[metrics.psnr_ab])

    def make():
        return small_models.colorizer(system, **options | compiled)

    batches = Batches(split, batch_size, seed=order)
    return run.fit(system, make, batches, Batches(held_out or split, 24), epochs=epochs, **dict(fit))


def started(**given):
    runs._held.clear()  # as if the former process had ended
    return runs.Run("polychromify", resolved(**given))


class Kill(keras.callbacks.Callback):
    """Stops training in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch == self.epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now and batch == 1:
            raise KeyboardInterrupt


def test_a_finished_run_has_its_files_and_is_not_trained_again(split):
    run = started()
    model, history = train(run, split)
    folder = run.folder / "polychromify"
    assert {path.name for path in folder.iterdir()} == {
        "history.csv",
        "best.weights.h5",
        "last.weights.h5",
        "network.json",
        "state.npz",
        "training.json",
    }
    with open(folder / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert float(rows[0]["loss"]) == pytest.approx(history[0]["loss"])
    assert {"loss", "val_loss", "psnr_ab", "val_psnr_ab", "seconds"} < set(rows[0])
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
    again, same_history = train(started(), split)
    assert same_history == history
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*.h5")}
    assert np.array_equal(again.predict_color(split.images)[0], model.predict_color(split.images)[0])


def test_the_best_epoch_is_returned(split):
    model, history = train(started(), split)
    best = min(row["val_loss"] for row in history)
    assert model.evaluate(Batches(split, 24), verbose=0)[0] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("system", ["polychromify", "polychromify_overfit"])  # with dropout and without
def test_a_resumed_run_equals_an_undisturbed_one(split, system):
    _, undisturbed = train(started(RUN="undisturbed"), split, system=system)
    for epoch in (0, 2):
        with pytest.raises(KeyboardInterrupt):
            train(started(RUN="killed"), split, system=system, fit={"callbacks": [Kill(epoch)]})
    run = started(RUN="killed")
    _, resumed = train(run, split, system=system)
    for one, other in zip(resumed, undisturbed, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-6)
    states = []
    for name in ("undisturbed", "killed"):
        with np.load(run.folder.parent / name / system / "state.npz") as state:
            states.append({key: state[key] for key in state.files if key != "history"})
    assert states[0].keys() == states[1].keys()
    assert all(np.allclose(states[0][key], states[1][key], atol=1e-6) for key in states[0])


@pytest.mark.parametrize("becomes", ["lost", "another error"])
@pytest.mark.parametrize("batch", [1, 11])  # in an epoch, and at the very end
def test_ctrl_c_stops_a_training_whatever_it_meets(split, becomes, batch):
    """As TensorFlow's tracing, which fails of it in its own way, and callbacks of the garbage collector, which drop it."""
    seen = []

    class Meets(keras.callbacks.Callback):
        def on_train_batch_end(self, _, logs=None):
            seen.append(logs)
            if len(seen) == 1 + batch:
                try:
                    signal.raise_signal(signal.SIGINT)
                except KeyboardInterrupt:
                    if becomes == "another error":
                        raise IndexError("list index out of range") from None

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(started(), split, fit={"callbacks": [Meets()]})
    assert len(seen) == 1 + batch
    assert signal.getsignal(signal.SIGINT) is handler
    _, history = train(started(), split)
    assert len(history) == 4


def test_another_configuration_is_refused(split):
    started(RUN="mine")
    with pytest.raises(InputError, match=r"WIDTH was 0.05 and is now 0.1"):
        started(RUN="mine", WIDTH=0.1)


@pytest.mark.parametrize(("when", "last"), [("in the epoch", (2, 1)), ("at its end", (2, 2))])
def test_a_loss_that_is_not_finite_keeps_the_last_good_weights(split, when, last):
    """Weights that are spoilt by the last step of an epoch show in the validation loss alone."""
    run, seen = started(), []

    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.epoch = epoch

        def on_train_batch_begin(self, batch, logs=None):
            seen.append((self.epoch, batch))
            if when == "in the epoch" and seen[-1] == last:
                self.poison()

        def on_train_batch_end(self, batch, logs=None):
            if when == "at its end" and seen[-1] == last:
                self.poison()

        def poison(self):
            bias = self.model.network.layers[-1].bias
            bias.assign(np.nan * bias)

    name = "loss" if when == "in the epoch" else "val_loss"
    message = rf"The {name} of polychromify became nan in epoch 3; the weights of epoch 2 are kept .*LEARNING_RATE"
    with pytest.raises(InputError, match=message):
        train(run, split, fit={"callbacks": [Poison()]})
    assert seen[-1] == last
    assert len((run.folder / "polychromify" / "history.csv").read_text().splitlines()) == 1 + 2
    model = Colorizer.from_name("polychromify", size=16, width=0.05)
    load_weights(model.network, run.folder / "polychromify" / "last.weights.h5")
    assert all(np.isfinite(weight).all() for weight in model.network.get_weights())


def test_a_damaged_state_is_refused(split):
    run = started()
    train(run, split, epochs=1)
    path = run.folder / "polychromify" / "state.npz"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"Cannot resume from .*delete the folder"):
        train(started(), split)


def test_weights_of_another_network_are_refused(split, tmp_path):
    run = started()
    train(run, split, epochs=1)
    path = run.folder / "polychromify" / "best.weights.h5"
    other = Colorizer.from_name("polychromify", size=16, width=0.1).network
    with pytest.raises(InputError, match="do not fit the network 'polychromify'"):
        load_weights(other, path)
    with pytest.raises(InputError, match="There are no weights in"):
        load_weights(other, tmp_path / "missing.weights.h5")
    (tmp_path / "broken.weights.h5").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="do not fit"):
        load_weights(other, tmp_path / "broken.weights.h5")


def test_manifest_and_metrics(split):
    run = started(SEED=3)
    run.metrics = {"ssim": np.float32(0.5), "psnr": np.inf, "list": np.arange(2)}
    run.finish()
    manifest = runs.read_manifest(run.folder / "manifest.json")
    assert manifest["parameters"]["seed"] == 3
    assert manifest["command"].startswith("make reproduce-polychromify")
    assert "SEED=3" in manifest["command"]
    assert manifest["versions"]["keras"] == keras.__version__
    assert manifest["hardware"]["cores"] >= 1
    assert manifest["wall_seconds"] >= 0
    assert manifest["earlier"] == []
    again = started(SEED=3)
    assert runs.read_manifest(run.folder / "manifest.json") == manifest  # opened again, it stays as it was finished
    again.finish()
    again = runs.read_manifest(run.folder / "manifest.json")
    assert [process["started"] for process in again["earlier"]] == [manifest["started"]]
    assert again["earlier"][0]["git_commit"] == manifest["git_commit"]
    run.metrics = {"ssim": np.float32(0.5), "psnr": np.inf, "list": np.arange(2)}
    run.finish()
    assert runs.read_manifest(run.folder / "metrics.json") == {"format": 1, "ssim": 0.5, "psnr": None, "list": [0, 1]}
    (run.folder / "metrics.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="format 99"):
        runs.read_manifest(run.folder / "metrics.json")


def test_steps_within_epochs_are_the_means_since_the_row_before(split):
    run = started(RUN="steps")
    path = run.folder / "polychromify" / "steps.csv"

    class EveryBatch(keras.callbacks.Callback):
        means = []  # noqa: RUF012

        def on_train_batch_end(self, batch, logs=None):
            self.means.append(logs["loss"])

    steps, every = StepHistory(path, points=3), EveryBatch()
    _, history = train(run, split, epochs=2, fit={"callbacks": [steps, every]})  # three batches an epoch
    assert [(row["step"], row["epoch"]) for row in steps.rows] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2)]
    losses = np.array([row["loss"] for row in steps.rows]).reshape(2, 3)
    assert np.allclose(losses.mean(1), [row["loss"] for row in history], rtol=1e-5)
    assert np.allclose(losses.cumsum(1) / [1, 2, 3], np.array(every.means).reshape(2, 3), rtol=1e-5)

    resumed = StepHistory(path, points=3)
    for row, expected in zip(resumed.rows, steps.rows, strict=True):
        assert row == pytest.approx(expected)
    train(run, split, epochs=3, fit={"callbacks": [resumed]})
    assert [row["step"] for row in resumed.rows] == list(range(1, 10))


def test_steps_of_an_epoch_that_was_cut_off_are_dropped(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("step,epoch,loss\n1,1,0.5\n2,2,0.4\n")
    steps = StepHistory(path)
    steps.set_params({"steps": 1})
    steps.on_epoch_begin(1)
    assert [row["step"] for row in steps.rows] == [1]


# What is given back is what the code describes


def test_an_edited_training_is_refused_in_a_sentence_that_says_what_differs(split):
    train(started(RUN="mine"), split, epochs=2)
    other, dark = split.take(np.arange(23)), Split(split.images // 2, split.labels)

    def refused(message, split=split, **edited):
        with pytest.raises(
            InputError, match=rf"mine/polychromify holds another training: {message}; choose .*fresh=True"
        ):
            train(started(RUN="mine"), split, **{"epochs": 2, **edited})

    refused("function of loss was 'mean_squared_error' and is now 'mean_absolute_error'", loss="mae")
    refused(r"learning_rate of optimizer 0 was 0\.001 and is now 0\.003", learning_rate=3e-3)
    refused("metrics 0 was 'psnr_ab' and is now None", metrics=[])
    refused("convention of settings was 'polychromify' and is now 'kth'", convention="kth")
    refused("filters of layers 1 of network was 3 and is now 2", width=0.025)
    refused("batch_size of training data was 8 and is now 6", batch_size=6)
    refused("seed of the order of training data was 0 and is now 1", order=1)
    refused("images of training data was 24 and is now 23", split=other, held_out=split)
    refused("fingerprint of training data was .* and is now .*", split=dark, held_out=split)
    refused("fingerprint of validation data was .* and is now .*", held_out=dark)
    refused("monitor was 'val_loss' and is now 'val_psnr_ab'", fit={"monitor": "val_psnr_ab"})
    with pytest.raises(InputError, match=r"polychromify holds 2 epochs, and 1 are asked for; choose"):
        train(started(RUN="mine"), split, epochs=1)
    _, history = train(started(RUN="mine"), split, epochs=2)
    assert len(history) == 2


def test_fresh_trains_again_and_more_epochs_resume(split, capsys):
    _, before = train(started(), split, epochs=2)
    _, more = train(started(), split, epochs=3)
    assert more[:2] == before
    assert "polychromify: 2 of 3 epochs restored from " in capsys.readouterr().out
    _, edited = train(started(), split, epochs=1, loss="mae", fit={"fresh": True})
    assert len(edited) == 1
    assert "restored" not in capsys.readouterr().out
    assert train(started(), split, epochs=1, loss="mae")[1] == edited


def test_keep_chooses_the_weights_that_are_scored_and_trains_nothing(split):
    """After an epoch that makes the network worse, the last epoch is not the best."""

    class Worsen(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                bias = self.model.network.layers[-1].bias
                bias.assign(bias + 1.0)

    run = started()
    best, history = train(run, split, epochs=3, fit={"callbacks": [Worsen()]})
    assert history[2]["val_loss"] > min(row["val_loss"] for row in history[:2])
    assert run.scored_epoch("polychromify") == 1 + int(np.argmin([row["val_loss"] for row in history]))

    def loss(model):
        return model.evaluate(Batches(split, 24), verbose=0, return_dict=True)["loss"]

    assert loss(best) == pytest.approx(min(row["val_loss"] for row in history), rel=1e-4)
    again = started(KEEP="last")
    assert again.folder == run.folder
    before = (run.folder / "polychromify" / "state.npz").stat().st_mtime_ns
    last, same = train(again, split, epochs=3, fit={"keep": "last"})
    assert same == history
    assert again.scored_epoch("polychromify") == 3
    assert loss(last) == pytest.approx(history[2]["val_loss"], rel=1e-4)
    assert again.load_epoch("polychromify", last, "best") == run.scored_epoch("polychromify")
    assert loss(last) == pytest.approx(loss(best), rel=1e-6)
    again.finish()
    assert runs.read_manifest(run.folder / "manifest.json")["scored"] == {
        "polychromify": {"keep": "last", "epoch": 3, "epochs": 3}
    }
    assert (run.folder / "polychromify" / "state.npz").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="keep is 'first': it must be one of best, last"):
        train(again, split, fit={"keep": "first"})


def test_a_folder_without_a_record_is_read_and_says_so(split, capsys):
    run = started(RUN="old")
    _, history = train(run, split, epochs=2)
    (run.folder / "polychromify" / "training.json").unlink()
    manifest = runs.read_manifest(run.folder / "manifest.json")
    for name in ("dtype", "scored", "predates"):
        del manifest[name]
    del manifest["parameters"]["learning_rate"]  # as written by a version without these
    runs.files.write_json(run.folder / "manifest.json", manifest)
    capsys.readouterr()
    assert train(started(RUN="old"), split, epochs=2)[1] == history
    assert "2 of 2 epochs restored from " in (printed := capsys.readouterr().out)
    assert "is older than the records" in printed
    assert len(train(started(RUN="old"), split, epochs=3)[1]) == 3
    with pytest.raises(InputError, match=r"weights in .*best\.weights\.h5 do not fit"):
        train(started(RUN="old"), split, epochs=3, width=0.1)


def test_a_run_prints_its_folder_and_finish_releases_it(split, capsys, tmp_path):
    run = started()
    assert f"run folder: {run.folder}" in capsys.readouterr().out
    lock = f"from colorize_lib import files\nwith files.lock({str(run.folder)!r}, 'run'): pass"

    def another_process():
        return subprocess.run([sys.executable, "-c", lock], capture_output=True, text=True).stderr

    assert "Another process is working on the run" in another_process()
    run.finish()
    assert another_process() == ""
    train(run, split, epochs=1)  # a cell executed again
    assert "Another process is working on the run" in another_process()
    run.close()


def test_the_manifest_has_the_precision_that_was_used(split):
    run = started(RUN="precise")
    for system, dtype in (("polychromify", "mixed_bfloat16"), ("polychromify_a", "float32")):
        train(run, split, epochs=1, system=system, dtype=dtype, channels=[0] if system.endswith("_a") else None)
    found = runs.read_manifest(run.folder / "manifest.json")["dtype"]
    assert found == {"polychromify": "mixed_bfloat16", "polychromify_a": "float32"}
    train(started(RUN="precise"), split, epochs=2, dtype="float32")
    found = runs.read_manifest(run.folder / "manifest.json")["dtype"]
    assert found["polychromify"] == "mixed_bfloat16, then float32"


# What seeds, orders and epochs mean to a run, with a network that learns in no time


class Watched(Batches):
    """Batches that note which rows they gave in which epoch."""

    def __init__(self, *arguments, **options):
        self.seen = {}
        super().__init__(*arguments, **options)

    def rows(self, index, multiple=1):
        rows = super().rows(index, multiple)
        self.seen.setdefault(self.epoch, {})[index] = rows.tolist()
        return rows


def dot(learning_rate=0.1, metrics_=()):
    """Function that makes a colorizer of one weight a channel."""

    def make():
        inputs = keras.Input((16, 16, 1))
        model = Colorizer(keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs)), "miu")
        model.compile(keras.optimizers.SGD(learning_rate), loss="mse", metrics=list(metrics_), run_eagerly=True)
        return model

    return make


def fit_dot(run, split, epochs, make=None, **options):
    batches = Watched(split, 8, seed=5)
    model, history = run.fit("dot", make or dot(), batches, Batches(split, 24), epochs=epochs, **options)
    return model, history, batches.seen


def test_a_training_sees_each_epoch_in_its_own_order_also_after_a_resume(split):
    *_, undisturbed = fit_dot(started(RUN="undisturbed"), split, 4)
    assert len({str(order) for order in undisturbed.values()}) == 4
    *_, before = fit_dot(started(RUN="stopped"), split, 2)
    _, history, after = fit_dot(started(RUN="stopped"), split, 4)
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    orders = {epoch: order for epoch, order in after.items() if epoch >= 2}  # the first batch shows its shape before
    assert before | orders == undisturbed


def test_a_seed_chooses_the_first_weights_whatever_ran_before(split):
    def first(seed, before):
        keras.utils.set_random_seed(before)
        model, _, _ = fit_dot(started(RUN=f"{seed}-{before}", SEED=seed), split, 1, dot(learning_rate=0.0))
        return model.network.get_weights()[0].tolist()

    assert first(3, before=1) == first(3, before=2) != first(4, before=1)


@pytest.mark.parametrize(
    ("column", "values", "best"),
    [
        ("val_loss", [0.3, 0.1, 0.2], 2),
        ("val_psnr_ab", [20.0, 19.0, 22.0, 21.0], 3),
        ("val_larger_channel_accuracy", [0.5, 0.6, 0.4], 2),
        ("val_mae", [0.3, 0.2, 0.1], 3),
    ],
)
def test_the_best_epoch_has_the_lowest_error_or_the_highest_psnr_or_accuracy(column, values, best):
    history = [{"epoch": epoch, column: value} for epoch, value in enumerate(values, 1)]
    assert checkpoint.best_epoch(history, column) == best
    assert scores.best_row(history, column)["epoch"] == best
    assert checkpoint.best_epoch(history, "another") == scores.best_row(history, "another")["epoch"] == len(values)


@pytest.mark.parametrize("monitor", ["val_loss", "val_psnr_ab"])
def test_the_weights_of_the_best_epoch_are_kept_apart_from_the_last(split, monitor):
    """Three epochs whose weights are given: the second is right, the others are off, the last one most."""
    right = [np.zeros((1, 1, 1, 2), "float32"), np.full(2, 128 / 255, "float32")]  # gray

    class Give(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.network.set_weights([right[0] + [0.1, 0.0, 0.2][epoch], right[1]])

    gray = Split(np.full((24, 16, 16, 3), 200, "uint8"), np.zeros(24, "int32"))
    options = dict(make=dot(0.0, metrics_=[metrics.psnr_ab]), callbacks=[Give()], monitor=monitor)
    run = started()
    model, history, _ = fit_dot(run, gray, 3, **options)
    assert [row["val_loss"] for row in history] == pytest.approx([0.005, 0, 0.02], rel=0.5, abs=1e-5)
    for name, off in (("best", 0.0), ("last", 0.2)):
        load_weights(model.network, run.folder / "dot" / f"{name}.weights.h5")
        assert np.allclose(model.network.get_weights()[0], off)
    del options["callbacks"]
    assert np.allclose(fit_dot(run, gray, 3, **options)[0].network.get_weights()[0], 0.0)  # the best, unless asked
    assert run.scored_epoch("dot") == 2
    assert np.allclose(fit_dot(run, gray, 3, keep="last", **options)[0].network.get_weights()[0], 0.2)


def test_every_file_of_a_run_is_on_the_disk_before_it_has_its_name(split, monkeypatch):
    """Each is written under another name, synced when it is whole, and renamed."""
    synced, renamed = {}, set()
    sync, replace = os.fsync, os.replace

    def noting_sync(handle):
        sync(handle)
        synced[os.fstat(handle).st_ino] = os.fstat(handle).st_size

    def noting_replace(source, target):
        assert synced[os.stat(source).st_ino] == os.stat(source).st_size > 0
        renamed.add(str(target))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noting_sync)
    monkeypatch.setattr(os, "replace", noting_replace)
    run = started()
    steps = StepHistory(run.folder / "dot" / "steps.csv")
    fit_dot(run, split, 2, callbacks=[steps])
    run.metrics = {"one": 1}
    run.finish()
    written = {str(path) for path in run.folder.rglob("*") if path.is_file() and path.name != ".lock"}
    assert len(written) >= 8
    assert written <= renamed


def test_the_manifest_says_how_the_run_is_to_be_called_and_what_its_networks_are(split):
    run = started()
    model, _, _ = fit_dot(run, split, 1, dot(learning_rate=0.0))
    manifest = runs.read_manifest(run.folder / "manifest.json")
    assert manifest["label"] == "quick (budgeted)"
    assert manifest["networks"]["dot"]["parameters"] == 4
    rows = Batches(split, 8, seed=5).rows(0)
    first = model.evaluate(split.images[rows], verbose=0)
    assert manifest["networks"]["dot"]["first_loss"] == pytest.approx(first, rel=1e-5)
    assert runs.read_manifest(started(EPOCHS=1).folder / "manifest.json")["label"] == "budgeted"


def test_a_longer_training_extends_a_shorter_one(split, capsys):
    """Its epochs are those of an undisturbed training; the shorter one, and what the longer one has, stay as they are."""
    run = started()
    _, alone = train(run, split, epochs=4, system="polychromify_overfit")

    def fit(name, epochs):
        def make():
            return small_models.colorizer("polychromify_overfit", size=16, width=0.05, metrics=[metrics.psnr_ab])

        return run.fit(name, make, Batches(split, 8, seed=0), Batches(split, 24), epochs=epochs)

    fit("short", 2)
    (run.folder / "short" / "steps.csv").write_text("step,epoch\n1,1\n")
    run.extend("long", "short")
    assert (run.folder / "long" / "steps.csv").read_text() == "step,epoch\n1,1\n"
    model, long = fit("long", 4)
    assert "long: 2 of 4 epochs restored" in capsys.readouterr().out
    assert [row["loss"] for row in long] == [row["loss"] for row in alone]
    assert [row["epoch"] for row in fit("short", 2)[1]] == [1, 2]
    run.extend("long", "short")
    assert fit("long", 4)[1] == long
    weights = [np.array(weight) for weight in model.network.weights]
    assert run.load_epoch("short", model, "last") == 2
    assert any(not np.array_equal(one, other) for one, other in zip(weights, model.network.weights, strict=True))


def test_the_validation_images_are_those_that_validate(split):
    dark = Split(split.images // 4, split.labels)
    batches = Batches(split, 8, seed=5)
    model, history = started().fit("dot", dot(0.0), batches, Batches(dark, 24), epochs=1)
    for images, column in ((split.images, "loss"), (dark.images, "val_loss")):
        assert history[0][column] == pytest.approx(model.evaluate(images, verbose=0), rel=1e-4)
    assert history[0]["loss"] != pytest.approx(history[0]["val_loss"], rel=0.05)


def test_the_validation_images_choose_the_epoch_and_the_training_images_do_not(split):
    """The first epoch's weights are right for the gray training images, the second's for the reddish ones that validate."""
    gray, red = (Split(np.full((24, 16, 16, 3), pixel, "uint8"), split.labels) for pixel in (200, (200, 120, 120)))
    a, b = np.asarray(color.rgb_to_lab(red.images[:1]))[0, 0, 0, 1:]
    right = [np.full(2, 128 / 255), np.array([a + 128, b + 128]) / 255, np.zeros(2)]

    class Give(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.network.set_weights([np.zeros((1, 1, 1, 2)), right[epoch]])

    run = started()
    batches = Batches(gray, 8, seed=5), Batches(red, 24)
    _, history = run.fit("dot", dot(0.0), *batches, epochs=3, callbacks=[Give()])
    assert history[0]["loss"] < 1e-4 < 1e-3 < history[1]["loss"]
    assert history[1]["val_loss"] < 1e-4 < 1e-3 < history[0]["val_loss"]
    assert run.scored_epoch("dot") == 2


@pytest.mark.parametrize(("seconds", "kept"), [(1.0, [1, 4, 7, 8]), (0.2, [1, 2, 3, 4, 5, 6, 7, 8])])
def test_where_writing_is_slow_it_takes_a_tenth_of_the_time_and_the_best_epoch_is_not_lost(
    split, monkeypatch, seconds, kept
):
    """Eight epochs of four seconds. The second is the best, and the others get worse and worse."""
    clock, saved = types.SimpleNamespace(now=1000.0), []
    clock.monotonic = lambda: clock.now
    save = checkpoint.Checkpoint._save_weights

    def slow(self, name):
        save(self, name)
        saved.append((self.epoch, name))
        clock.now += seconds * (name == "last")

    monkeypatch.setattr(checkpoint, "SAVING_SECONDS", SAVING_SECONDS)
    monkeypatch.setattr(checkpoint, "time", clock)
    monkeypatch.setattr(checkpoint.Checkpoint, "_save_weights", slow)
    off = [0.1, 0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]

    class Give(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            clock.now += 4
            self.model.network.set_weights([np.full((1, 1, 1, 2), off[epoch]), np.full(2, 128 / 255)])

        def on_epoch_end(self, epoch, logs=None):
            assert np.allclose(self.model.network.get_weights()[0], off[epoch])

    gray = Split(np.full((8, 16, 16, 3), 200, "uint8"), split.labels[:8])
    run = started()
    model, history, _ = fit_dot(run, gray, 8, dot(0.0), callbacks=[Give()])
    assert [epoch for epoch, name in saved if name == "last"] == kept
    assert [epoch for epoch, name in saved if name == "best"] == [1, 2 if 2 in kept else 4]
    assert [row["seconds"] for row in history] == [4.0] * 8
    assert np.allclose(model.network.get_weights()[0], 0.0)
    assert run.scored_epoch("dot") == 2
    run.load_epoch("dot", model, "last")
    assert np.allclose(model.network.get_weights()[0], 0.7)


def test_pictures_of_a_run_have_the_suffix_of_their_format():
    class Drawn:
        def savefig(self, path, **options):
            path.write_text("drawn")

    class Photographs(Drawn):
        format = "jpg"

    run = started()
    for drawn, name in ((Drawn(), "curves"), (Photographs(), "photos")):
        assert run.figure(drawn, name) is drawn
    assert {path.name for path in (run.folder / "figures").iterdir()} == {"curves.png", "photos.jpg"}
