"""Runs that are killed, crowded, or starved of disk and memory: what is done is kept, and each ends in one sentence.

`COLORIZE_SOAK=1` (`make soak`) kills every training twenty times with each signal instead of three times.
"""

import contextlib
import csv
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import tiny_training
import toy_project

from colorize_lib import files
from colorize_lib.errors import InputError
from colorize_lib.training import runs
from data_prep import load
from data_prep.prepared import open_dataset

ROOT = Path(__file__).parent.parent
SOAK = "COLORIZE_SOAK" in os.environ
KILLS = 20 if SOAK else 3
SYSTEMS = ["supervised"] + SOAK * ["supervised-dropout", "adversarial", "adversarial-dropout"]
PATIENCE = 900  # seconds; a machine that is busy with other things is no fault
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]


class Trainer:
    """The process of `tiny_training.py`, which trains in forks of it, one after another."""

    def __init__(self, folder):
        self.log = folder / "stderr"
        with open(self.log, "w") as log:
            command = [sys.executable, str(ROOT / "tests" / "tiny_training.py")]
            pipe = subprocess.PIPE
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=log, bufsize=0, env=environment)
        assert self._answer(PATIENCE) == "ready"

    def _answer(self, seconds):
        """The next line, or None if none comes within `seconds`."""
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return None
        return self.process.stdout.readline().decode().strip()

    def start(self, system, run, home, **arguments):
        self.said, self.history = self.log.stat().st_size, Path(home) / "tiny" / run / system / "history.csv"
        line = json.dumps({"system": system, "run": run, "home": str(home), **arguments})
        self.process.stdin.write(line.encode() + b"\n")
        self.pid = int(self._answer(PATIENCE))

    def end(self, number=None, after=0.0, epochs=0):
        """Exit status of the training; with `number`, it gets this signal `after` so many seconds from when `epochs` are done."""
        status, begun = None, time.monotonic()
        while status is None and number and self.epochs() < epochs:
            assert time.monotonic() < begun + PATIENCE, "the training hangs"
            status = self._answer(0.005)
        status = status or self._answer(after if number else PATIENCE)
        if status is None:
            assert number, "the training hangs"
            os.kill(self.pid, number)
            status = self._answer(PATIENCE)
        return int(status)

    def epochs(self):
        """How many epochs of the training are on disk."""
        with contextlib.suppress(FileNotFoundError):
            return len(self.history.read_text().splitlines()) - 1
        return 0

    def train(self, *arguments, **more):
        self.start(*arguments, **more)
        return self.end()

    def error(self):
        """What the last training wrote to standard error, without the notes of TensorFlow."""
        lines = self.log.read_text()[self.said :].splitlines()
        return "\n".join(line for line in lines if line.startswith("error") or "Traceback" in line)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    started = Trainer(tmp_path_factory.mktemp("trainer"))
    yield started
    started.process.stdin.close()
    started.process.wait(60)


@pytest.fixture(scope="module")
def undisturbed(trainer, tmp_path_factory):
    """Function that trains a system once, without a fault: its run folder, and how many seconds it took."""
    home, found = tmp_path_factory.mktemp("undisturbed"), {}

    def train(system):
        if system not in found:
            begun = time.monotonic()
            assert trainer.train(system, system, home) == 0
            found[system] = home / "tiny" / system, time.monotonic() - begun
        return found[system]

    return train


def contents(folder):
    """What a run folder holds, by file: arrays, or numbers as text; without times, which no two runs share."""
    found = {}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        found[name] = None
        if path.suffix == ".npz":
            with np.load(path) as state:
                found[name] = {key: state[key] for key in state.files if key != "history"}
        elif path.suffix == ".h5":
            with h5py.File(path) as file:
                keys = []
                file.visit(keys.append)
                found[name] = {key: np.array(file[key]) for key in keys if isinstance(file[key], h5py.Dataset)}
        elif path.suffix == ".csv":
            with open(path, newline="") as file:
                found[name] = [row | {"seconds": None} for row in csv.DictReader(file)]
        elif path.name == "metrics.json":
            found[name] = path.read_text()
    return found


def assert_same(folder, expected, tolerance=1e-6):
    """Two run folders hold the same files with the same weights, optimizers, seeds and histories."""
    one, other = contents(folder), contents(expected)
    assert one.keys() == other.keys()
    for name, values in one.items():
        if isinstance(values, dict):
            assert values.keys() == other[name].keys()
            for key, array in values.items():
                np.testing.assert_allclose(array, other[name][key], atol=tolerance, rtol=0, err_msg=f"{name} {key}")
        elif isinstance(values, list):
            assert len(values) == len(other[name])
            for row, wanted in zip(values, other[name], strict=True):
                row, wanted = ({key: float(value or 0) for key, value in each.items()} for each in (row, wanted))
                assert row == pytest.approx(wanted, rel=1e-6)
        elif values is not None:
            assert json.loads(values) == pytest.approx(json.loads(other[name]), rel=1e-6)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("system", SYSTEMS)
def test_killed_at_random_moments_a_run_ends_as_an_undisturbed_one(trainer, undisturbed, tmp_path, system, number):
    """With dropout as well: its random numbers go on where they were, so that the weights are the same."""
    expected, seconds = undisturbed(system)
    folder, all_epochs = tmp_path / "tiny" / "killed", tiny_training.PROFILES["quick"]["epochs"]
    random = np.random.default_rng([number, len(system)])
    kills, epochs, hit = 0, [], []
    for _ in range(20 * KILLS):
        trainer.start(system, "killed", tmp_path)
        # Early, where most of the time goes, or after one of the epochs to come, however fast the machine is now.
        done = trainer.epochs()
        target = random.integers(done, all_epochs, endpoint=True)
        after = random.uniform(0, seconds if target == done else seconds / 10)
        status = trainer.end(number, after, target) if kills < KILLS else trainer.end()
        if status:
            assert status in (-number, 128 + number), trainer.error()
            kills += 1
            hit.append(trainer.epochs())
            continue
        epochs.append(len(contents(folder)[f"{system}/history.csv"]))
        assert_same(folder, expected)
        if kills == KILLS:
            break
        shutil.rmtree(folder)  # it ended before its next kill
    print(f"{system} {number.name}: killed after so many finished epochs:", *hit)
    assert kills == KILLS, "the training does not feel the signal"
    assert any(hit) or not SOAK, "no kill met an epoch"
    assert set(epochs) == {all_epochs}
    earlier = json.loads((folder / "manifest.json").read_text())["earlier"]
    assert len(earlier) <= kills


def test_another_process_gets_the_same_numbers_to_the_last_digit(undisturbed, tmp_path):
    expected, _ = undisturbed("adversarial-dropout")
    assert Trainer(tmp_path).train("adversarial-dropout", "again", tmp_path) == 0
    again, other = contents(tmp_path / "tiny" / "again"), contents(expected)
    for name in ("metrics.json", "adversarial-dropout/history.csv"):
        assert again[name] == other[name]
    assert_same(tmp_path / "tiny" / "again", expected, tolerance=0)


# Two at once


def test_a_second_run_on_the_folder_says_so_and_stops(trainer, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("COLORIZE_RUNS", str(tmp_path))
    expected, _ = undisturbed("supervised")
    held = files.lock(tmp_path / "tiny" / "crowded", "run")
    with held:
        assert trainer.train("supervised", "crowded", tmp_path) == 2
    assert re.fullmatch(r"error: Another process is working on the run .*crowded; wait .*folder\.", trainer.error())
    trainer.start("supervised", "crowded", tmp_path)
    begun = time.monotonic()
    while not (tmp_path / "tiny" / "crowded" / "supervised" / "state.npz").exists():
        assert time.monotonic() < begun + PATIENCE
        time.sleep(0.01)
    os.kill(trainer.pid, signal.SIGSTOP)
    params = tiny_training.parameters.resolve(tiny_training.PROFILES, {"RUN": "crowded"})
    try:
        with pytest.raises(InputError, match="Another process is working on the run"):
            runs.Run("tiny", params)
    finally:
        os.kill(trainer.pid, signal.SIGCONT)
    assert trainer.end() == 0
    assert_same(tmp_path / "tiny" / "crowded", expected)


def test_of_two_preparations_one_works_and_the_other_stops_or_waits(tmp_path):
    (tmp_path / "photographs").mkdir()
    for photograph in sorted(ROOT.glob("data_prep/photos/*/*.jpg"))[:12]:
        shutil.copy(photograph, tmp_path / "photographs")
    photographs, home = str(tmp_path / "photographs"), tmp_path / "home"
    program = textwrap.dedent(
        f"""
        import os, signal
        from data_prep import load
        def stop(done, total):
            if not seen and done:
                seen.append(done)
                os.kill(os.getpid(), signal.SIGSTOP)
        seen = []
        load({photographs!r}, size=1200, home={str(home)!r}, jobs=1, report=stop)
        """
    )
    first = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    assert os.WIFSTOPPED(os.waitpid(first.pid, os.WUNTRACED)[1])
    command = [sys.executable, "-m", "data_prep", "folder", photographs, "--size", "1200", "--home", str(home)]
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert second.returncode == 2
    assert re.fullmatch(r"error: Another process is working on the dataset .*; wait until it ends.*\n", second.stderr)
    threading.Timer(0.5, first.send_signal, [signal.SIGCONT]).start()
    waited = load(photographs, size=1200, home=home, jobs=1)  # a notebook waits
    assert first.wait(120) == 0
    alone = load(photographs, size=1200, home=tmp_path / "alone", jobs=1)
    assert waited.fingerprint == alone.fingerprint
    assert sorted(path.name for path in waited.folder.iterdir()) == sorted(path.name for path in alone.folder.iterdir())


# The command line, which trains in a kernel of its own


HOLDING = """import os, time
from colorize_lib import files
resolved = parameters.read(PROFILES, globals())
folder = files.run_root() / "unet" / resolved.key()
with files.lock(folder, "run"):
    with open(os.environ["COLORIZE_PROGRESS"], "a") as progress:
        progress.write('["unet: epoch 1/1 (10%)", false]\\n')
    time.sleep(600 if not (folder / "go on").exists() else 0)
files.write_json(folder / "manifest.json", {"command": resolved.command("unet")})"""


def test_a_killed_command_takes_its_kernel_along_and_starts_again(tmp_path):
    parameters = """from colorize_lib.reproduction import parameters
PROFILE, EPOCHS, RUN = "quick", None, None
PROFILES = parameters.profiles(quick={"epochs": 2}, paper={"epochs": 25})"""
    toy_project.make(tmp_path / "checkout")("unet", parameters, HOLDING)
    program = (
        "import sys\nfrom colorize_lib import __main__\nsys.exit(__main__.main(['reproduce', 'unet', 'RUN=mine']))"
    )
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path / "checkout")
    environment = os.environ | {"COLORIZE_RUNS": str(tmp_path / "runs"), "PYTHONPATH": str(ROOT)}
    for number in SIGNALS:
        process = subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes)
        assert any("10%" in line for line in process.stdout), process.stderr.read()
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 130
            assert error == "Stopped; the same command resumes from here.\n"
        with files.lock(tmp_path / "runs" / "unet" / "mine", "run", wait=30):  # the kernel is gone, its lock is free
            pass
    (tmp_path / "runs" / "unet" / "mine" / "go on").touch()
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=300, **pipes)
    assert done.returncode == 0, done.stderr
    assert "make reproduce-unet PROFILE=quick SEED=0 KEEP=best EPOCHS=2" in done.stdout
    made = {path.name for path in (tmp_path / "runs" / "unet" / "mine").iterdir()}
    assert made == {".lock", "go on", "manifest.json", "notebook.ipynb", "notebook.html"}


@pytest.mark.parametrize(
    "setting", [{"MPLBACKEND": "TkAgg"}, {"MPLBACKEND": "module://nothing"}, {"FONT": "No Such Font"}]
)
def test_figures_need_no_display_and_no_font(tmp_path, setting):
    program = (
        "import os, matplotlib, numpy as np\nfrom colorize_lib.evaluation import plots\n"
        "matplotlib.rcParams['font.family'] = os.environ.get('FONT', 'sans-serif')\n"
        "history = {'a': [{'epoch': 1, 'loss': 1.0}, {'epoch': 2, 'loss': 0.5}]}\n"
        "grid = plots.image_grid({'one': np.zeros((2, 4, 4, 3))})\n"
        "for figure in (grid, plots.learning_curves(history, 'loss'), plots.distributions({'a': np.arange(9.0)}, 'x')):\n"
        "    figure.savefig('figure.png')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environment |= {"PYTHONPATH": str(ROOT), **setting}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "figure.png").stat().st_size > 1000


# Disks and datasets


@pytest.mark.parametrize("size", ["24k", "160k", *SOAK * ["40k", "80k"]])  # for no file, for one epoch, for some files
def test_a_disk_that_is_full_under_training_keeps_what_is_done(trainer, undisturbed, small_disk, size):
    expected, _ = undisturbed("supervised")
    home = small_disk(size)
    assert trainer.train("supervised", "full", home) == 2
    assert re.fullmatch(
        r"error: Cannot write .*: no space is left there; free some.*same command again\.", trainer.error()
    )
    finished = list((home / "tiny" / "full").rglob("state.npz"))
    assert bool(finished) == (size == "160k")
    small_disk("8m")
    assert trainer.train("supervised", "full", home) == 0
    assert_same(home / "tiny" / "full", expected)
    if finished:
        manifest = json.loads((home / "tiny" / "full" / "manifest.json").read_text())
        assert len(manifest["earlier"]) == 1


def test_a_read_only_folder_is_a_sentence(trainer, small_disk):
    small_disk("1m", "mode=777")
    home = small_disk("1m", "ro")
    assert trainer.train("supervised", "new", home) == 2
    assert re.fullmatch(r"error: Cannot write .*: the file system is read-only; choose a folder.*", trainer.error())


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_folder_of_somebody_else_is_a_sentence(trainer, tmp_path):
    tmp_path.chmod(0o555)
    assert trainer.train("supervised", "new", tmp_path) == 2
    assert re.fullmatch(r"error: Cannot write .*: permission is denied; choose a folder.*", trainer.error())


def test_a_dataset_that_vanishes(tmp_path):
    dataset = load("photos", size=16, patches=16, jobs=1, home=tmp_path)
    before = dataset["train"].images[:]
    shutil.rmtree(dataset.folder)
    np.testing.assert_array_equal(dataset["train"].images[:], before)  # who has opened it, can go on
    with pytest.raises(InputError, match=r"There is no prepared dataset in .*: prepare it"):
        open_dataset(dataset.folder)
    assert load("photos", size=16, patches=16, jobs=1, home=tmp_path).fingerprint == dataset.fingerprint
    array = dataset.folder / "train-000.npy"
    for damage in (lambda: os.truncate(array, 500), array.unlink):
        damage()
        with pytest.raises(InputError, match=r"The dataset in .* is damaged .*: delete the folder and prepare it"):
            load("photos", size=16, patches=16, jobs=1, home=tmp_path)


# Memory


def test_memory_that_runs_out_names_the_batch_size(trainer, tmp_path):
    some = 3 << 29  # XLA's compiler takes address space as well
    assert trainer.train("hungry", "large", tmp_path, images=512, BATCH_SIZE=512, memory=some) == 2
    assert re.fullmatch(
        r"error: Memory ran out at batch size 512: lower BATCH_SIZE or WIDTH; .*kept\.", trainer.error()
    )
