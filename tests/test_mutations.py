"""Files from outside, damaged in 500 ways each: an answer or one sentence, no hang, no code run, nothing written elsewhere."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import h5py
import imagecodecs
import keras
import numpy as np
import pytest
import tifffile
import tiny_training
from PIL import Image, ImageCms

from colorize_lib.apps import photographs, trained
from colorize_lib.errors import InputError
from colorize_lib.reproduction import parameters, results
from colorize_lib.training import checkpoint, machine, runs
from colorize_lib.training.colorizer import load_weights
from colorize_lib.training.data import Batches
from data_prep import load, unpack
from data_prep.prepared import open_dataset
from data_prep.readers import Photos

COUNT = 500
SECONDS = 10  # for one file; a hang is longer
WRITING = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree")
RUNNING = ("pickle.find_class", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
_watched = None  # what Python did, as (event, path), while a mutated file was read


def _watch(event, arguments):
    if _watched is None:
        return
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, str | bytes | os.PathLike) and (
            set(mode or "") & set("wxa+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
        ):
            _watched.append((event, path))
    elif event in WRITING and not any(
        isinstance(each, int) and each >= 0 for each in arguments[1:]
    ):  # rmtree names them once
        _watched.extend((event, path) for path in arguments[:2] if isinstance(path, str | bytes | os.PathLike))
    elif event in RUNNING:
        _watched.append((event, arguments[0]))


sys.addaudithook(_watch)


class Hang(BaseException):
    """Not an `Exception`, so that no reader takes it for a damaged file."""


def _alarm(number, frame):
    raise Hang


def outcome(call, folder):
    """ "read", or the sentence that `call` raises. Anything else fails: another error, a hang, code, a file outside `folder`."""
    global _watched
    previous = signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    _watched = []
    try:
        call()
        said = "read"
    except InputError as error:
        said = str(error)
    finally:
        seen, _watched = _watched, None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    inside = Path(folder).resolve()
    for event, path in seen:
        place = os.path.realpath(os.fsdecode(path)) if event not in RUNNING else None
        assert place is not None, f"it ran {event} {path}"
        assert Path(place).is_relative_to(inside) or place == os.devnull, f"{event} {path}"
    assert said
    assert "\n" not in said
    assert len(said) < 1000
    return said


def test_what_no_file_may_do_is_noticed(tmp_path, monkeypatch):
    inside, outside = tmp_path / "folder", tmp_path / "folder-evil"
    inside.mkdir(), outside.mkdir()
    assert outcome((inside / "file").touch, inside) == "read"
    with pytest.raises(AssertionError, match=r"open .*folder-evil/file"):
        outcome((outside / "file").touch, inside)
    with pytest.raises(AssertionError, match=r"it ran subprocess\.Popen"):
        outcome(lambda: subprocess.run(["true"]), inside)
    monkeypatch.setitem(globals(), "SECONDS", 0.1)
    with pytest.raises(Hang):
        outcome(lambda: time.sleep(60), inside)


def mutated(data, random):
    """The bytes with one to four spots overwritten, put in or cut out; a fifth of them also end early."""
    data = bytearray(data)
    for _ in range(random.integers(1, 5)):
        start, put = int(random.integers(max(1, len(data)))), random.bytes(int(random.choice([0, 1, 4])))
        cut = len(put) if random.random() < 0.7 else int(random.choice([0, 1, 4, 40]))
        data[start : start + cut] = put
    return bytes(data[: int(len(data) * random.random())] if random.random() < 0.2 else data)


STRANGE = [
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    "",
    "../../outside",
    "/tmp/outside",
    "a\0b",
    "é\n",
    [],
    {},
    [[]],
    {"format": 1},
]


def mutated_json(data, random):
    """Half of the time as bytes, half of the time with one to three values anywhere in it replaced, removed or added."""
    if random.random() < 0.5:
        return mutated(data, random)
    value = json.loads(data)
    for _ in range(random.integers(1, 4)):
        place = value
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = keys[random.integers(len(keys))]
            if isinstance(place[key], dict | list) and place[key] and random.random() < 0.8:
                place = place[key]
                continue
            strange = STRANGE[random.integers(len(STRANGE))]
            if random.random() < 0.3:
                del place[key]
            elif isinstance(place, dict) and random.random() < 0.2:
                place[str(strange)] = place.pop(key)
            else:
                place[key] = strange
            break
    return json.dumps(value).encode()


def survey(originals, read, folder, count=COUNT, mutate=None):
    """Outcomes of `read` for `count` mutations of `originals`: {path: bytes}, each put back afterwards."""
    said = []
    paths = list(originals)
    for number in range(count):
        random = np.random.default_rng(number)
        path = paths[number % len(paths)]
        change = mutate or (mutated_json if path.suffix == ".json" else mutated)
        path.write_bytes(change(originals[path], random))
        try:
            said.append(outcome(lambda path=path: read(path), folder))
        except BaseException as error:
            error.add_note(f"mutation {number} of {path.name}")
            raise
        path.write_bytes(originals[path])
    return said


def refused(said):
    return [sentence for sentence in said if sentence != "read"]


def with_bytes(*paths):
    return {path: path.read_bytes() for path in paths}


# Photographs


@pytest.fixture
def photos(tmp_path):
    """Small photographs of every format, with metadata."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 6, 3), "uint8")).resize((48, 32))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0132] = 6, "Maker", "2026:01:01 00:00:00"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().replace(b"sRGB", b"mine")
    whole = dict(exif=exif, icc_profile=profile, dpi=(72, 72))
    for name, options in (
        ("a.jpg", whole),
        ("b.png", whole),
        ("c.tif", dict(icc_profile=profile, dpi=(72, 72), tiffinfo={0x010F: "Maker", 0x0131: "Software"})),
        ("d.webp", dict(exif=exif, icc_profile=profile)),
        ("e.gif", {}),
        ("f.bmp", dict(dpi=(72, 72))),
        ("g.tif", dict(compression="tiff_lzw")),
        ("h.avif", dict(exif=exif)),
        ("i.jp2", {}),
        ("j.ppm", {}),
    ):
        image.save(tmp_path / name, **options)
    deep = np.asarray(image, np.uint16) * 257
    tifffile.imwrite(tmp_path / "k.tif", deep, photometric="rgb", planarconfig="contig")
    (tmp_path / "l.png").write_bytes(imagecodecs.png_encode(deep))
    return with_bytes(*sorted(tmp_path.glob("?.*")))


def test_photographs(photos, tmp_path, monkeypatch):
    """Read, colorized, and written again with what they hold besides pixels; the network is left out."""
    network = SimpleNamespace(
        predict_ab=lambda photo: np.zeros((8, 8, 2), np.float32),
        colorize=lambda photo, saturation, ab: photo if photo.ndim == 3 else np.stack([photo] * 3, axis=-1),
    )
    monkeypatch.setattr(trained, "load", lambda *arguments, **options: network)

    def colorize(path):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        for reason in photographs.colorize_files([str(path)], output=tmp_path / "out").failed.values():
            raise InputError(reason)

    said = survey(photos, colorize, tmp_path)
    assert 50 < len(refused(said)) < COUNT - 20


def test_photographs_of_a_dataset(photos, tmp_path):
    def prepare(path):
        prepared = Photos(tmp_path, 32, "imagemagick", managed=True)(path.name)
        assert (prepared.shape, prepared.dtype) == ((32, 32, 3), np.uint8)

    said = survey(photos, prepare, tmp_path)
    assert 50 < len(refused(said)) < COUNT - 20


# Weights


def tiny_network():
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, name="first")(inputs)
    return keras.Model(
        inputs, keras.layers.Conv2D(2, 1, name="second")(keras.layers.BatchNormalization()(x)), name="tiny"
    )


def test_weights(tmp_path):
    network = tiny_network()
    network.save_weights(tmp_path / "a.weights.h5")
    network.save(tmp_path / "b.keras")
    originals = with_bytes(tmp_path / "a.weights.h5", tmp_path / "b.keras")
    said = survey(originals, lambda path: load_weights(network, path), tmp_path)
    assert len(refused(said)) > 100
    for path in originals:
        load_weights(network, path)


# Runs


@pytest.fixture
def run_folder(tmp_path, monkeypatch):
    """A finished run of one epoch, and the model whose state it holds."""
    monkeypatch.setenv("COLORIZE_RUNS", str(tmp_path))
    tiny_training.train("supervised", "run", str(tmp_path), EPOCHS=1)
    runs._held.clear()
    return tmp_path / "tiny" / "run"


def test_runs_go_on_or_say_why_not(run_folder, tmp_path, monkeypatch):
    params = tiny_training.parameters.resolve(tiny_training.PROFILES, {"RUN": "run", "EPOCHS": 1})
    model, batches = tiny_training.supervised("cnn", params), Batches(tiny_training.data(32), 8, 0)
    model(batches[0][0][:1])
    system = run_folder / "supervised"
    manifest, state = with_bytes(run_folder / "manifest.json"), with_bytes(system / "state.npz")
    monkeypatch.setattr(machine, "git_commit", lambda: None)  # a program of its own, and slow

    def start(path):
        runs._held.clear()
        runs.Run("tiny", params)

    said = survey(manifest, start, tmp_path)
    assert 50 < len(refused(said)) < len(said) - 20
    said = survey(
        state, lambda path: checkpoint.Checkpoint(system, model, batches, "val_loss").restore(), tmp_path, COUNT // 2
    )
    assert 50 < len(refused(said)) < len(said) - 20


def test_results_of_others(tmp_path):
    """A finished run that is collected for `results/`: nothing lands outside of it, whatever its manifest says."""
    run = tmp_path / "run"
    shutil.copytree(results.ROOT / "results" / "polychromify", run)
    target = tmp_path / "below" / "results"
    target.mkdir(parents=True)
    originals = with_bytes(run / "manifest.json", run / "metrics.json")
    said = survey(originals, lambda path: results.collect(run, target), target)
    assert 50 < len(refused(said)) < len(said) - 20


def test_descriptions_of_networks(run_folder, tmp_path):
    """network.json, by which the network of a run is built again."""
    path = run_folder / "supervised" / "network.json"
    said = survey(with_bytes(path), lambda path: trained.load_trained(path.parent), tmp_path, 100)
    assert len(refused(said)) > 50


# Parameters


def test_parameters(tmp_path):
    profiles = tiny_training.PROFILES["quick"] | {
        "splits": "70,80",
        "photos": None,
        "dtype": "auto",
        "dataset": "photos",
    }
    texts = [
        "EPOCHS=3",
        "WIDTH=0.5",
        "SPLITS=70,80,90",
        "DTYPE=float32",
        "RUN=mine",
        "SEED=7",
        "SYSTEMS=cnn",
        "PHOTOS=my/own",
    ]

    def read(texts):
        found = parameters.resolve({"quick": profiles, "paper": profiles}, parameters.parse(texts))
        found.key(), found.command("tiny"), found.chosen(["cnn"], ["cnn"]), found.numbers("splits")

    said = []
    for number in range(COUNT):
        random = np.random.default_rng(number)
        text = mutated(texts[number % len(texts)].encode() * random.integers(1, 3), random).decode(
            errors="surrogateescape"
        )
        said.append(outcome(lambda text=text: read([text]), tmp_path))
    assert 50 < len(refused(said)) < COUNT - 20


# Datasets


def test_prepared_datasets(tmp_path):
    dataset = load("photos", size=8, patches=24, jobs=1, home=tmp_path)

    def read(path):
        opened = open_dataset(dataset.folder)
        assert len(opened.fingerprint) > 0
        for split in opened.splits.values():
            split.images[:], split.limit(2, 0), split.take([0]), split.gray
            assert all(-1 <= label < len(opened.classes) for label in split.labels)
            Batches(split, 8, 0, labels=True)[0]

    names = ("manifest.json", "train-000.npy", "train-labels.npy", "train-files.txt")
    said = survey(with_bytes(*(dataset.folder / name for name in names)), read, tmp_path)
    assert 50 < len(refused(said)) < COUNT - 20


def test_half_prepared_datasets(tmp_path):
    """The journal of a preparation that was stopped: it resumes, or starts over."""
    for number in range(12):
        image = np.random.default_rng(number).integers(0, 256, (9, 9, 3), "uint8")
        (tmp_path / "own").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "own" / f"{number:02d}.png")
    home = tmp_path / "home"
    whole = load("folder", path=tmp_path / "own", size=8, home=home, jobs=1)
    folder = whole.folder

    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    shutil.rmtree(folder)
    with pytest.raises(KeyboardInterrupt):
        load("folder", path=tmp_path / "own", size=8, home=home, jobs=1, report=stop)
    shutil.copytree(folder, tmp_path / "kept")
    journal = (folder / "journal.jsonl").read_bytes()

    def read(path):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "kept", folder)
        path.write_bytes(changed)
        assert load("folder", path=tmp_path / "own", size=8, home=home, jobs=1).fingerprint == whole.fingerprint

    for number in range(60):
        changed = mutated(journal, np.random.default_rng(number))
        assert outcome(lambda: read(folder / "journal.jsonl"), tmp_path) == "read"


@pytest.mark.parametrize("suffix", ["zip", "tar.gz", "tar"])
def test_archives(tmp_path, suffix):
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9)).save(buffer, "PNG")
    path = tmp_path / f"set.{suffix}"
    if suffix == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(4):
                archive.writestr(f"set/{number}.png", buffer.getvalue())
    else:
        with tarfile.open(path, "w:gz" if suffix == "tar.gz" else "w") as archive:
            for number in range(4):
                entry = tarfile.TarInfo(f"set/{number}.png")
                entry.size = len(buffer.getvalue())
                archive.addfile(entry, io.BytesIO(buffer.getvalue()))

    def read(path):
        try:
            unpack.unpack(path, tmp_path / "out" / "set")
        finally:
            shutil.rmtree(tmp_path / "out", ignore_errors=True)

    said = survey(with_bytes(path), read, tmp_path, COUNT // 2)
    assert len(refused(said)) > 20


# What is not damaged, but of another kind


def test_weights_of_another_network_are_named(tmp_path):
    network = tiny_network()
    network.save_weights(tmp_path / "a.weights.h5")
    network.save(tmp_path / "a.keras")
    inputs = keras.Input((8, 8, 1))
    other = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="first")(inputs), name="other")
    for path in (tmp_path / "a.weights.h5", tmp_path / "a.keras"):
        with pytest.raises(
            InputError, match=r"first/kernel has shape \(3, 3, 1, 4\) in the network and \(3, 3, 1, 3\) in the"
        ):
            load_weights(other, path)
    (tmp_path / "a.weights.h5").rename(tmp_path / "a.bin")
    with pytest.raises(InputError, match=r"a\.bin is not a file of weights: .*ends with"):
        load_weights(network, tmp_path / "a.bin")
    network.layers[1].bias.assign([1.0, np.nan, 1.0])
    network.save_weights(tmp_path / "nan.weights.h5")
    with pytest.raises(InputError, match=r"not finite at first/bias"):
        load_weights(network, tmp_path / "nan.weights.h5")


@pytest.mark.parametrize("name", ["bomb.keras", "bomb.weights.h5"])
def test_weights_that_would_fill_the_memory_are_refused_before_they_are_unpacked(tmp_path, name):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as weights:
        weights.create_dataset(
            "zeros", (1 << 28,), "float32", compression="gzip", chunks=(1 << 20,)
        )  # 1 GB, never written
    (tmp_path / name).write_bytes(buffer.getvalue())
    if name.endswith(".keras"):
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model.weights.h5", bytes(100 << 20))
    with pytest.raises(InputError, match=r"unpack to .* MB, far more than the network"):
        load_weights(tiny_network(), tmp_path / name)


def test_code_in_a_keras_file_is_not_run(tmp_path):
    """A Lambda layer's code lies in the description of the model, of which nothing is read."""
    trace = str(tmp_path / "trace")
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(3, 3, name="first")(inputs)
    x = keras.layers.BatchNormalization()(keras.layers.Lambda(lambda x: (open(trace, "w").close(), x)[1])(x))
    harmful = keras.Model(inputs, keras.layers.Conv2D(2, 1, name="second")(x), name="tiny")
    harmful.save(tmp_path / "harmful.keras")
    os.unlink(trace)  # building it has run it
    network = tiny_network()
    assert outcome(lambda: load_weights(network, tmp_path / "harmful.keras"), tmp_path) == "read"
    assert not os.path.exists(trace)
    np.testing.assert_array_equal(network.get_weights()[0], harmful.get_weights()[0])
