"""From a plan to arrays on disk: parallel workers write images in place, and after any stop the next run resumes.

While it is being made, the folder also holds, in addition to what `data_prep.prepared` describes:

    SPLIT-000.npy.partial    full size from the start, so that a disk that is too small is noticed at once
    journal.jsonl            the plan's hash, then one line for every chunk of rows that is on disk
    .lock                    held by the process that is at work

A chunk is written by one `pwrite` of whole rows and synchronised before its line is added; workers share no page that the
kernel could extend, which on network file systems would let two machines overwrite each other. Writing through a mapping would
turn a full disk into a killed process. Rows that could not be read are taken out, shard by shard, at the end; so every byte
depends on the plan alone, not on the number of workers, their order, or how often the work was stopped.
"""

import contextlib
import hashlib
import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import joblib
import numpy as np
from joblib.externals.loky.process_executor import TerminatedWorkerError

from colorize_lib import files
from colorize_lib.errors import InputError
from data_prep import prepared

SHARD_BYTES = 2_000_000_000
CHUNK_ROWS, CHUNK_BYTES = 256, 8 << 20  # at most: one task of a worker, and what is lost when it is killed
SKIPPED_SHARE = 0.01  # more unreadable images than this are a mistake in the folder, not bad luck

CONNECT = 20  # seconds to wait for a Dask scheduler

JOURNAL = "journal.jsonl"


@dataclass
class Rows:
    """One split of a plan.

    Args:
        items: one text a row: a source file, or a part of one.
        labels: index into the plan's classes for each item, -1 for none.
        reader: function of an item → uint8 (*reader.shape, 3), raising InputError with the reason if there is no such image. It
            goes to the workers; its `repr` holds all that decides the bytes, and no folder of this machine.
    """

    items: list
    labels: list
    reader: object


@dataclass
class Plan:
    """All that decides the bytes of a prepared dataset.

    Args:
        name: the dataset's.
        size: side of the images in pixels.
        classes: names that the labels index.
        splits: name → `Rows`; one without images is left out.
        notes: what else the manifest says (source, geometry, options, terms).
        state: what else makes the plan another one, e.g. sizes and times of the user's own files.
    """

    name: str
    size: int
    classes: list
    splits: dict
    notes: dict = field(default_factory=dict)
    state: str = ""

    def __post_init__(self):
        self.splits = {name: rows for name, rows in self.splits.items() if rows.items}

    def limit(self, count, seed):
        """Keep at most `count` images of every split, drawn with `seed`, in their order."""
        for rows in self.splits.values():
            if count < len(rows.items):
                chosen = np.sort(np.random.default_rng(seed).choice(len(rows.items), count, replace=False))
                rows.items, rows.labels = [rows.items[i] for i in chosen], [rows.labels[i] for i in chosen]

    def hash(self):
        """SHA-256 of everything above except the notes."""
        total = hashlib.sha256(json.dumps([prepared.FORMAT, self.name, self.classes, self.state]).encode())
        for name, rows in self.splits.items():
            total.update(f"{name} {rows.reader!r}\n".encode())
            for item, label in zip(rows.items, rows.labels, strict=True):
                total.update(f"{label} {item!r}\n".encode())
        return total.hexdigest()


@dataclass(frozen=True)
class _Shard:
    """Rows `start` … `stop` of a split, in one file."""

    split: str
    number: int
    start: int
    stop: int

    @property
    def file(self):
        return f"{self.split}-{self.number:03d}.npy"

    @property
    def partial(self):
        return self.file + ".partial"


def write(plan, folder, *, jobs=None, dask=None, allow_skipped=False, wait=0, report=None, shard_bytes=SHARD_BYTES):
    """Make the prepared dataset of `plan` in `folder`, or finish one that was begun; a complete one stays as it is.

    Args:
        plan: `Plan`.
        folder: where; made if needed.
        jobs: worker processes; None takes all cores.
        dask: address of a Dask scheduler whose workers see `folder` and the sources under the same paths.
        allow_skipped: accept more than 1 % unreadable images.
        wait: seconds to wait for another process that makes the same dataset.
        report: function of (images done, images in all), called after every chunk.
        shard_bytes: largest size of one file.

    Returns:
        `colorize_lib.dataset.Dataset`.

    Raises:
        InputError: no space or permission, too many unreadable images, a worker was killed, no cluster at that address. What is
            on disk by then is used by the next call.
    """
    folder, plan_hash = Path(folder).absolute(), plan.hash()
    if whole := _whole(folder, plan_hash):  # without the lock, which a read-only folder cannot give
        return whole
    with files.lock(folder, "dataset", wait=wait):
        if whole := _whole(folder, plan_hash):
            return whole
        shards = _shards(plan, shard_bytes)
        with files.disk_errors(folder):
            done = _begin(plan, plan_hash, folder, shards)
            with open(folder / JOURNAL, "a", encoding="utf-8") as journal:
                for entry in _run(_missing(plan, folder, shards, done), plan, jobs, dask, report):
                    done[entry["split"], entry["start"]] = entry
                    journal.write(json.dumps(entry) + "\n")
                    journal.flush()
            skipped = _skipped(plan, done)
            _check_skipped(plan, skipped, folder, allow_skipped)
            _finish(plan, plan_hash, folder, shards, done, skipped)
    return prepared.open_dataset(folder)


def _whole(folder, plan_hash):
    """The dataset in `folder` if it is whole and of this plan, else None."""
    with contextlib.suppress(InputError):
        dataset = prepared.open_dataset(folder)
        return dataset if dataset.manifest.get("plan") == plan_hash else None


def _shards(plan, shard_bytes):
    shards = []
    for split, rows in plan.splits.items():
        step = max(1, (shard_bytes - len(_header(1, rows.reader))) // _row_bytes(rows.reader))
        starts = range(0, len(rows.items), step)
        shards += [_Shard(split, i, start, min(start + step, len(rows.items))) for i, start in enumerate(starts)]
    return shards


def _row_bytes(reader):
    return reader.shape[0] * reader.shape[1] * 3


def _header(count, reader):
    """The first bytes of a .npy file of `count` rows."""
    stream = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": (count, *reader.shape, 3)}
    np.lib.format.write_array_header_1_0(stream, described)
    return stream.getvalue()


def _begin(plan, plan_hash, folder, shards):
    """The journal of an earlier run of the same plan, else a cleared folder with new partial files."""
    done = _read_journal(folder, plan_hash)
    if done is not None and all((folder / s.partial).exists() or (folder / s.file).exists() for s in shards):
        return done
    for path in folder.iterdir():
        if path.name != ".lock" and path.is_file():
            path.unlink()
    try:
        for shard in shards:
            reader, count = plan.splits[shard.split].reader, shard.stop - shard.start
            header = _header(count, reader)
            with open(folder / shard.partial, "wb") as file:
                file.write(header)
                files.allocate(file, len(header) + count * _row_bytes(reader))
    except BaseException:
        for shard in shards:  # a disk that is full is not left full
            (folder / shard.partial).unlink(missing_ok=True)
        raise
    files.write_text(folder / JOURNAL, json.dumps({"plan": plan_hash}) + "\n")
    return {}


def _read_journal(folder, plan_hash):
    """(split, start) → entry of the chunks on disk; None if there is no journal of this plan."""
    try:
        lines = (folder / JOURNAL).read_text(encoding="utf-8").split("\n")
        if json.loads(lines[0]) != {"plan": plan_hash}:
            return None
    except (OSError, ValueError):
        return None
    done = {}
    for line in lines[1:]:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # the last line may be half written
            entry = json.loads(line)
            done[entry["split"], entry["start"]] = entry
    return done


def _missing(plan, folder, shards, done):
    """Arguments of `_fill` for every chunk that is not in the journal."""
    for shard in shards:
        rows = plan.splits[shard.split]
        header, row_bytes = len(_header(shard.stop - shard.start, rows.reader)), _row_bytes(rows.reader)
        step = max(1, min(CHUNK_ROWS, CHUNK_BYTES // row_bytes))
        for start in range(shard.start, shard.stop, step):
            if (shard.split, start) not in done:
                items = rows.items[start : min(start + step, shard.stop)]
                offset = header + (start - shard.start) * row_bytes
                yield shard.split, start, items, rows.reader, folder / shard.partial, offset


def _fill(split, start, items, reader, path, offset):
    """Read `items` and write their rows at `offset`; what a worker runs. Returns the journal's entry."""
    rows = np.zeros((len(items), *reader.shape, 3), np.uint8)
    skipped = []
    for number, item in enumerate(items):
        try:
            rows[number] = reader(item)
        except InputError as error:
            skipped.append([start + number, str(error)])
    with files.disk_errors(path):
        descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_DSYNC", 0))
        try:
            left = memoryview(rows).cast("B")
            while left:
                written = os.pwrite(descriptor, left, offset)
                left, offset = left[written:], offset + written
        finally:
            os.close(descriptor)
    gray = (rows[..., 0] == rows[..., 1]).all((1, 2)) & (rows[..., 1] == rows[..., 2]).all((1, 2))
    gray[[row - start for row, _ in skipped]] = False
    return {
        "split": split,
        "start": start,
        "count": len(items),
        "gray": (start + np.flatnonzero(gray)).tolist(),
        "skipped": skipped,
    }


def _run(tasks, plan, jobs, dask, report):
    """Yield `_fill`'s results as they come, from processes here or on a Dask cluster."""
    tasks = list(tasks)
    total = sum(len(rows.items) for rows in plan.splits.values())
    count = total - sum(len(task[2]) for task in tasks)
    report = report or (lambda done, total: None)
    report(count, total)
    if not tasks:
        return
    with _workers(tasks, jobs, dask) as workers:
        parallel = joblib.Parallel(return_as="generator_unordered", **workers)
        try:
            for entry in parallel(joblib.delayed(_fill)(*task) for task in tasks):
                count += entry["count"]
                report(count, total)
                yield entry
        except TerminatedWorkerError as error:
            raise InputError(
                "A worker process was killed, most likely because memory ran out: run the same command again with fewer "
                "--jobs; what is done is kept."
            ) from error


@contextlib.contextmanager
def _workers(tasks, jobs, dask):
    """Arguments of `joblib.Parallel` for processes here, or for the Dask cluster at the address `dask`."""
    if not dask:
        yield {"n_jobs": min(jobs or joblib.cpu_count(), len(tasks))}
        return
    try:
        import distributed
    except ImportError as error:
        raise InputError("Dask is not installed: run `pip install distributed`, or leave out --dask.") from error
    try:
        client = distributed.Client(dask, timeout=CONNECT)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"No Dask scheduler answers at {dask}: start one with `dask scheduler`, or give its address as tcp://HOST:PORT."
        ) from error
    with client:
        _check_cluster(client, tasks[0], dask)
        with joblib.parallel_config("dask", client=client):
            yield {}


def _check_cluster(client, task, dask):
    _, _, _, reader, path, _ = task
    try:
        seen = client.run(_sees, [path, reader.root])
    except Exception as error:  # whatever a worker raises arrives here as it is
        raise InputError(
            f"The workers of {dask} cannot run this package ({error}): install it on every one of them, in the same version."
        ) from error
    if not seen:
        raise InputError(f"The scheduler at {dask} has no workers: start some with `dask worker {dask}`.")
    for worker, missing in seen.items():
        if missing:
            raise InputError(
                f"The Dask worker {worker} does not see {missing[0]}: the data home must be on a folder that all workers share "
                "under the same path."
            )


def _sees(paths):
    """The paths that do not exist where this runs."""
    return [str(path) for path in paths if not Path(path).exists()]


def _skipped(plan, done):
    """Split → {row: reason} of what could not be read."""
    skipped = {split: {} for split in plan.splits}
    for (split, _), entry in sorted(done.items()):
        skipped[split].update((row, reason) for row, reason in entry["skipped"])
    return skipped


def _check_skipped(plan, skipped, folder, allow_skipped):
    lines = [
        f"{plan.splits[split].items[row]}: {reason}" for split, rows in skipped.items() for row, reason in rows.items()
    ]
    total = sum(len(rows.items) for rows in plan.splits.values())
    if len(lines) > SKIPPED_SHARE * total and not allow_skipped:
        files.write_text(folder / "skipped.txt", "\n".join(lines).encode(errors="replace").decode() + "\n")
        raise InputError(
            f"{len(lines):,} of {total:,} images cannot be read, e.g. {lines[0]}: see {folder / 'skipped.txt'}, and run the same "
            "command again with --allow-skipped to leave them out."
        )
    for split, rows in skipped.items():
        if len(rows) == len(plan.splits[split].items):
            raise InputError(
                f"No image of the split {split} can be read, e.g. {lines[0]}: replace the files and try again."
            )


def _finish(plan, plan_hash, folder, shards, done, skipped):
    """Take out the rows that could not be read, name the files, write labels, names and at last the manifest."""
    splits = {}
    for split, rows in plan.splits.items():
        kept = np.setdiff1d(np.arange(len(rows.items)), list(skipped[split]))
        gray = [row for (name, _), entry in done.items() if name == split for row in entry["gray"]]
        described = [_finish_shard(folder, shard, rows.reader, kept) for shard in shards if shard.split == split]
        labels = folder / f"{split}-labels.npy"
        with files.atomic(labels) as temporary:
            np.save(temporary, np.array(rows.labels, np.int32)[kept])
        files.write_text(folder / f"{split}-files.txt", "".join(f"{rows.items[row]}\n" for row in kept))
        splits[split] = {
            "count": len(kept),
            "shards": [shard for shard in described if shard],
            "labels_sha256": files.sha256(labels),
            "gray": np.flatnonzero(np.isin(kept, gray)).tolist(),
        }
    manifest = {
        "format": prepared.FORMAT,
        "name": plan.name,
        "size": plan.size,
        "classes": plan.classes,
        **plan.notes,
        "decoder": decoder(),
        "splits": splits,
        "skipped": [
            {"split": split, "file": plan.splits[split].items[row], "reason": reason}
            for split, rows in skipped.items()
            for row, reason in rows.items()
        ],
        "plan": plan_hash,
        "fingerprint": prepared.fingerprint(splits),
    }
    files.write_json(folder / "manifest.json", manifest)
    for name in (JOURNAL, "skipped.txt"):
        (folder / name).unlink(missing_ok=True)


def _finish_shard(folder, shard, reader, kept):
    """The manifest's entry of a shard, after its file has only the rows `kept` (numbers within the split) and its name.

    None for a shard that keeps no row, and no file.
    """
    own = kept[(kept >= shard.start) & (kept < shard.stop)]
    partial, whole = folder / shard.partial, folder / shard.file
    if len(own) == shard.stop - shard.start:
        with contextlib.suppress(FileNotFoundError):  # named before an earlier run was stopped
            os.replace(partial, whole)
    elif partial.exists():
        source = np.lib.format.open_memmap(partial, "r")
        with files.atomic(whole) as temporary, open(temporary, "wb") as file:
            file.write(_header(len(own), reader))
            for block in np.array_split(own - shard.start, 1 + len(own) * _row_bytes(reader) // CHUNK_BYTES):
                file.write(source[block].data)
        del source
        partial.unlink()
    if not len(own):
        whole.unlink(missing_ok=True)
        return None
    return {"file": shard.file, "rows": len(own), "sha256": files.sha256(whole)}


def decoder():
    """Name and versions of what decoded the images: another JPEG library may give other bytes."""
    from PIL import __version__, features

    jpeg = "libjpeg-turbo" if features.check_feature("libjpeg_turbo") else "libjpeg"
    return f"Pillow {__version__}, {jpeg} {features.version('jpg')}"
