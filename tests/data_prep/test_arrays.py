"""data_prep.arrays: the same bytes whatever the workers do and whatever stops them; full disks, killed workers, bad files."""

import errno
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from colorize_lib.errors import InputError
from data_prep import arrays, load, prepared
from data_prep.arrays import Plan, Rows, write
from data_prep.prepared import open_dataset
from data_prep.readers import Photos

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Forty small photographs of all shapes, some gray, in two subfolders."""
    root = tmp_path_factory.mktemp("photographs")
    generator = np.random.default_rng(0)
    for number in range(40):
        width, height = generator.integers(20, 120, 2)
        image = Image.fromarray(generator.integers(0, 256, (6, 6, 3), np.uint8)).resize((width, height))
        path = root / ("cats" if number % 3 else "dogs") / f"photo {number:02d}.jpg"
        path.parent.mkdir(exist_ok=True)
        (image.convert("L") if number % 10 == 0 else image).save(path, quality=95)
    return root


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 4 * 24 * 24 * 3)


def plan(folder, size=24):
    items = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
    reader = Photos(folder, size, "square")
    train, test = Rows(items[:30], [0] * 30, reader), Rows(items[30:], [1] * 10, reader)
    return Plan("test", size, ["a", "b"], {"train": train, "test": test})


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != ".lock"}


def test_rows_are_the_images_in_order_with_labels_names_and_gray_rows(folder, tmp_path):
    dataset = write(plan(folder), tmp_path / "set", jobs=1)
    reader = Photos(folder, 24, "square")
    for split in dataset.splits.values():
        for image, file in zip(split.images[:], split.files, strict=True):
            np.testing.assert_array_equal(image, reader(file))
    train = dataset["train"]
    assert (len(train), len(dataset["test"])) == (30, 10)
    assert [train.files[row] for row in train.gray] == [f for f in train.files if Image.open(folder / f).mode == "L"]
    assert set(train.labels) == {0}
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == [
        *(".lock", "manifest.json", "test-000.npy", "test-files.txt", "test-labels.npy"),
        *("train-000.npy", "train-files.txt", "train-labels.npy"),
    ]


def test_any_number_of_workers_gives_the_same_bytes(folder, tmp_path):
    for jobs in (1, 2, 3):
        write(plan(folder), tmp_path / str(jobs), jobs=jobs)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "3")


def test_large_arrays_are_split_into_files(folder, tmp_path):
    whole = write(plan(folder), tmp_path / "whole", jobs=1)
    split = write(plan(folder), tmp_path / "split", jobs=1, shard_bytes=128 + 7 * 24 * 24 * 3)
    assert [shard["rows"] for shard in split.manifest["splits"]["train"]["shards"]] == [7, 7, 7, 7, 2]
    assert all(path.stat().st_size <= 128 + 7 * 24 * 24 * 3 for path in (tmp_path / "split").glob("*-???.npy"))
    for name in whole.splits:
        np.testing.assert_array_equal(whole[name].images[:], split[name].images[:])
        np.testing.assert_array_equal(whole[name].images[[8, 2, 5]], split[name].images[[8, 2, 5]])


def changed(folder, place, name, change):
    """A copy of a prepared set with other bytes in one file, and the same file's hash in its manifest if `change` says so."""
    shutil.copytree(folder, place)
    path, manifest = place / name, json.loads((place / "manifest.json").read_text())
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    change(manifest["splits"], hashlib.sha256(data).hexdigest())
    (place / "manifest.json").write_text(json.dumps(manifest))
    return place


def test_the_fingerprint_stands_for_every_array_and_for_the_labels(folder, tmp_path):
    dataset = write(plan(folder), tmp_path / "set", jobs=1, shard_bytes=128 + 20 * 24 * 24 * 3)
    splits = dataset.manifest["splits"]
    for name, split in splits.items():  # the hashes are those of the files
        hashes = {shard["file"]: shard["sha256"] for shard in split["shards"]}
        for file, sha256 in (hashes | {f"{name}-labels.npy": split["labels_sha256"]}).items():
            assert hashlib.sha256((tmp_path / "set" / file).read_bytes()).hexdigest() == sha256
    assert [len(split["shards"]) for split in splits.values()] == [2, 1]

    def shard(split, number):
        return lambda splits, sha256: splits[split]["shards"][number].update(sha256=sha256)

    def labels(splits, sha256):
        splits["test"]["labels_sha256"] = sha256

    parts = [("train-000.npy", shard("train", 0)), ("train-001.npy", shard("train", 1))]
    parts += [("test-000.npy", shard("test", 0)), ("test-labels.npy", labels)]
    for number, (file, change) in enumerate(parts):
        other = changed(tmp_path / "set", tmp_path / f"other{number}", file, change)
        with pytest.raises(InputError, match=r"damaged \(its manifest was changed\): delete the folder"):
            open_dataset(other)
    swapped = {"train": splits["test"], "test": splits["train"]}
    assert prepared.fingerprint(swapped) != dataset.fingerprint == prepared.fingerprint(splits)
    assert prepared.fingerprint(dict(reversed(splits.items()))) == dataset.fingerprint


@pytest.mark.parametrize("gray", [[0, 30], [-1, 3], [30]])
def test_gray_rows_that_are_not_there_are_damage(folder, tmp_path, gray):
    write(plan(folder), tmp_path / "set", jobs=1)
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    manifest["splits"]["train"]["gray"] = gray
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="split train has gray rows that are not there"):
        open_dataset(tmp_path / "set")


def test_arrays_of_another_folder_are_damage(folder, tmp_path):
    write(plan(folder), tmp_path / "set", jobs=1)
    (tmp_path / "set" / "train-000.npy").rename(tmp_path / "x.npy")
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    manifest["splits"]["train"]["shards"][0]["file"] = "../x.npy"
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="its manifest names files of other folders"):
        open_dataset(tmp_path / "set")


@dataclass(frozen=True)
class Painted:
    """A reader of images of one colour: the item is R,G,B; one pixel of "… spot" is red."""

    root: Path = field(repr=False)
    shape = (3, 5)

    def __call__(self, item):
        image = np.full((3, 5, 3), [int(part) for part in item.split()[0].split(",")], "uint8")
        if item.endswith("spot"):
            image[2, 4] = 255, 0, 0
        return image


def test_gray_is_what_has_three_equal_channels_in_every_pixel(tmp_path):
    items = ["9,9,9", "9,9,8", "9,8,9", "8,9,9", "7,8,9", "9,9,9 spot", "0,0,0"]
    made = Plan("painted", 5, [], {"test": Rows(items, [-1] * 7, Painted(tmp_path))})
    assert write(made, tmp_path / "set", jobs=1)["test"].gray.tolist() == [0, 6]


@pytest.mark.parametrize("lacks", ["the call", "support"])
def test_where_space_cannot_be_reserved_the_file_grows(folder, tmp_path, monkeypatch, lacks):
    """On macOS, and on some file systems. Other errors are those of the disk."""

    def refuse(number):
        def reserve(*arguments):
            raise OSError(number, os.strerror(number))

        return reserve

    if lacks == "the call":
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse(errno.EOPNOTSUPP))
    assert len(write(plan(folder), tmp_path / "set", jobs=1)["train"]) == 30
    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.ENOSPC), raising=False)
    with pytest.raises(InputError, match="no space is left"):
        write(plan(folder), tmp_path / "other", jobs=1)


def test_bad_files_are_left_out_and_listed(folder, tmp_path):
    root = tmp_path / "some bad"
    shutil.copytree(folder, root)
    strange = plan(root)
    items = strange.splits["train"].items
    items[29] = "cats/two\nlines.jpg"
    (root / items[4]).write_bytes(b"")
    (root / items[17]).write_bytes((root / items[17]).read_bytes()[:300])
    (root / items[18]).unlink()
    with pytest.raises(InputError, match=r"4 of 40 images cannot be read, e\.g\. .*empty.* --allow-skipped"):
        write(strange, tmp_path / "set", jobs=2)
    with pytest.raises(InputError, match="no prepared dataset"):
        open_dataset(tmp_path / "set")
    assert len((tmp_path / "set" / "skipped.txt").read_text().splitlines()) == 5  # one name has two lines

    dataset = write(strange, tmp_path / "set", jobs=1, allow_skipped=True, shard_bytes=128 + 7 * 24 * 24 * 3)
    train = dataset["train"]
    assert [entry["file"] for entry in dataset.manifest["skipped"]] == [items[row] for row in (4, 17, 18, 29)]
    reasons = [entry["reason"] for entry in dataset.manifest["skipped"]]
    for reason, expected in zip(reasons, ("empty", "decoded", "opened", "line break"), strict=True):
        assert expected in reason
    assert train.files == [item for row, item in enumerate(items) if row not in (4, 17, 18, 29)]
    reader = Photos(root, 24, "square")
    for image, file in zip(train.images[:], train.files, strict=True):
        np.testing.assert_array_equal(image, reader(file))
    assert [train.files[row] for row in train.gray] == [f for f in train.files if Image.open(root / f).mode == "L"]


def test_one_bad_file_in_many_is_no_error(folder, tmp_path):
    many = plan(folder)
    rows = many.splits["train"]
    rows.items, rows.labels = rows.items * 10, rows.labels * 10
    rows.items[5] = "absent.jpg"
    dataset = write(many, tmp_path / "set", jobs=1)
    assert len(dataset["train"]) == 299
    assert len(dataset.manifest["skipped"]) == 1


@pytest.mark.parametrize("stop_after", [1, 5])
def test_a_stopped_preparation_goes_on(folder, tmp_path, stop_after):
    undisturbed = write(plan(folder), tmp_path / "whole", jobs=1)
    seen = []

    def stop(done, total):
        seen.append(done)
        if len(seen) > stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(plan(folder), tmp_path / "set", jobs=1, report=stop)
    with pytest.raises(InputError, match="no prepared dataset"):
        open_dataset(tmp_path / "set")
    with open(tmp_path / "set" / arrays.JOURNAL, "a") as journal:
        journal.write('{"split": "train", "sta')  # killed while it wrote
    again = []
    resumed = write(plan(folder), tmp_path / "set", jobs=1, report=lambda done, total: again.append(done))
    assert again[0] == (stop_after - 1) * 4
    assert resumed.fingerprint == undisturbed.fingerprint
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


def test_another_plan_does_not_reuse_the_rows_of_the_first(folder, tmp_path):
    def stop(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(plan(folder), tmp_path / "set", jobs=1, report=stop)
    turned = plan(folder)
    turned.splits["train"].items.reverse()
    dataset = write(turned, tmp_path / "set", jobs=1)
    assert dataset["train"].files == turned.splits["train"].items
    np.testing.assert_array_equal(
        dataset["train"].images[:1][0], Photos(folder, 24, "square")(turned.splits["train"].items[0])
    )


def test_killed_and_started_again_gives_the_same_bytes(tmp_path):
    for photograph in sorted(REPOSITORY.glob("data_prep/photos/*/*.jpg"))[::8]:
        (tmp_path / "photographs").mkdir(exist_ok=True)
        shutil.copy(photograph, tmp_path / "photographs")
    photographs = str(tmp_path / "photographs")
    program = textwrap.dedent(
        f"""
        import os, signal
        from data_prep import load
        def kill(done, total):
            if done >= 3:
                os.killpg(0, signal.SIGKILL)
        load({photographs!r}, size=1600, home={str(tmp_path / "killed")!r}, jobs=2, report=kill)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, start_new_session=True)
    assert done.returncode == -signal.SIGKILL
    (journal,) = tmp_path.glob("killed/prepared/*/journal.jsonl")
    folder = journal.parent
    with pytest.raises(InputError, match="no prepared dataset"):
        open_dataset(folder)
    kept = len(journal.read_text().splitlines()) - 1
    seen = []
    for home, report in ((tmp_path / "killed", lambda done, total: seen.append(done)), (tmp_path / "whole", None)):
        load(photographs, size=1600, home=home, jobs=1, report=report)
    assert 2 <= kept <= seen[0] < seen[-1]
    assert contents(folder) == contents(tmp_path / "whole" / "prepared" / folder.name)


@dataclass(frozen=True)
class Deadly:
    """A reader whose worker is killed, as the system does when memory runs out."""

    root: Path = field(repr=False)
    shape = (24, 24)

    def __call__(self, item):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_ends_in_a_sentence(tmp_path):
    deadly = Plan("deadly", 24, [], {"train": Rows(["x"] * 20, [-1] * 20, Deadly(tmp_path))})
    with pytest.raises(InputError, match=r"memory ran out.*fewer --jobs"):
        write(deadly, tmp_path / "set", jobs=2)


def test_two_processes_do_not_write_the_same_dataset(folder, tmp_path):
    (tmp_path / "set").mkdir()
    with FileLock(tmp_path / "set" / ".lock"), pytest.raises(InputError, match="Another process is working"):
        write(plan(folder), tmp_path / "set", jobs=1)


def test_a_full_disk_ends_in_a_sentence_and_leaves_it_no_fuller(folder, small_disk):
    disk = small_disk("40k")
    with pytest.raises(InputError, match="no space is left"):
        write(plan(folder), disk / "set", jobs=1)
    assert not list(disk.glob("set/*.partial"))
    small_disk("4m")
    assert len(write(plan(folder), disk / "set", jobs=1)["train"]) == 30


def test_a_disk_that_fills_up_on_the_way_loses_nothing(folder, small_disk, tmp_path):
    disk = small_disk("4m")

    def fill(done, total):
        if done == 8:
            free = shutil.disk_usage(disk).free
            (disk / "other").write_bytes(bytes(free))

    with pytest.raises(InputError, match="no space is left"):
        write(plan(folder), disk / "set", jobs=1, report=fill)
    (disk / "other").unlink()
    first = []
    write(plan(folder), disk / "set", jobs=1, report=lambda done, total: first.append(done))
    assert first[0] >= 4  # the line of the second chunk found no space
    write(plan(folder), tmp_path / "whole", jobs=1)
    assert contents(disk / "set") == contents(tmp_path / "whole")


def test_read_only_folders(folder, small_disk, tmp_path):
    disk = small_disk("4m")
    shutil.copytree(folder, disk / "photographs")
    whole = load("folder", path=disk / "photographs", size=24, home=disk, jobs=1)
    small_disk("4m", "ro")
    for home in (disk, tmp_path):
        assert load("folder", path=disk / "photographs", size=24, home=home, jobs=1).fingerprint == whole.fingerprint
    with pytest.raises(InputError, match=r"Cannot write .*read-only"):
        load("folder", path=disk / "photographs", size=32, home=disk, jobs=1)


@pytest.fixture
def cluster(tmp_path):
    """Address of a real Dask scheduler with two worker processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"tcp://127.0.0.1:{port}"
    dask, local = [sys.executable, "-m", "dask"], ["--host", "127.0.0.1", "--no-dashboard"]
    commands = [
        [*dask, "scheduler", *local[:2], "--port", port, *local[2:]],
        *2 * [[*dask, "worker", address, *local, "--nthreads", "1", "--no-nanny", "--local-directory", str(tmp_path)]],
    ]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with open(tmp_path / "dask.log", "wb") as log:
        processes = [subprocess.Popen(command, env=environment, stdout=log, stderr=log) for command in commands]
    try:
        with distributed.Client(address, timeout=120) as client:
            client.wait_for_workers(2, timeout=120)
        yield address
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_dask_cluster_gives_the_same_bytes(folder, tmp_path, cluster):
    write(plan(folder), tmp_path / "here", jobs=1)
    write(plan(folder), tmp_path / "cluster", dask=cluster)
    assert contents(tmp_path / "here") == contents(tmp_path / "cluster")
    from distributed import Client

    with Client(cluster) as client:
        done = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(done) == 2
    assert sum(done.values()) > 0  # how many tasks joblib makes of the chunks, and for whom, is its own affair

    elsewhere = plan(folder)
    elsewhere.splits["train"].reader = Photos(tmp_path / "not there", 24, "square")
    with pytest.raises(InputError, match=r"does not see .*not there.* shared?"):
        write(elsewhere, tmp_path / "other", dask=cluster)


def test_no_cluster_at_the_address(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "CONNECT", 1)
    with pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        write(plan(folder), tmp_path / "set", dask="tcp://127.0.0.1:9")
