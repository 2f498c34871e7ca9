"""Prepared datasets: uint8 RGB arrays on disk, memory-mapped, with labels and a fingerprint.

A prepared dataset is a folder that `data_prep` writes:

    manifest.json            written last: a folder without it is incomplete
    SPLIT-000.npy, …         uint8, (rows, height, width, 3), at most 2 GB each
    SPLIT-labels.npy         int32, (rows,), index into the manifest's `classes`; -1 where the source gives none
    SPLIT-files.txt          one line a row: the source file, relative to the source folder

The manifest holds `format`, `name`, `size`, `classes`, per split `count`, `shards` (file, rows, sha256), `labels_sha256` and
`gray` (rows whose three channels are equal everywhere), how the images were made, and `fingerprint`, the SHA-256 of the
arrays' and labels' hashes. RGB stays uint8 until it is on the device: an eighth of the memory of float64 Lab.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from colorize_lib import files
from colorize_lib.dataset import Dataset, Images, Split
from colorize_lib.errors import InputError, reason

FORMAT = 1


def fingerprint(splits):
    """SHA-256 over the hashes of all arrays and labels in the manifest's `splits`."""
    hashes = {
        name: [shard["sha256"] for shard in split["shards"]] + [split["labels_sha256"]]
        for name, split in splits.items()
    }
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def open_dataset(folder):
    """Open a prepared dataset without reading its images.

    Args:
        folder: the folder that `data_prep` wrote.

    Raises:
        InputError: missing, half-written, damaged, or written by another version of the format.
    """
    folder = Path(folder)
    again = "prepare it with `python -m data_prep`"
    if not (folder / "manifest.json").exists():
        raise InputError(f"There is no prepared dataset in {folder}: {again}.")
    manifest = files.read_json(folder / "manifest.json", "dataset manifest")
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"The dataset in {folder} is not of format {FORMAT}: delete the folder and {again}.")
    try:
        if not isinstance(manifest["name"], str) or not all(isinstance(name, str) for name in manifest["classes"]):
            raise ValueError("its manifest has no name or classes")
        if not manifest["splits"] or manifest["fingerprint"] != fingerprint(manifest["splits"]):
            raise ValueError("its manifest was changed")
        splits = {name: _open_split(folder, name, split) for name, split in manifest["splits"].items()}
        for name, split in splits.items():
            _check_rows(name, split, len(manifest["classes"]))
        return Dataset(splits, manifest["classes"], manifest, folder)
    except Exception as error:  # damaged files can fail in any part of the readers of JSON and numpy
        raise InputError(
            f"The dataset in {folder} is damaged ({reason(error)}): delete the folder and {again}."
        ) from error


def _check_rows(name, split, classes):
    if split.labels.min() < -1 or split.labels.max() >= max(classes, 1):
        raise ValueError(f"split {name} has labels that are no classes")
    if len(split.gray) and not 0 <= split.gray.min() <= split.gray.max() < len(split):
        raise ValueError(f"split {name} has gray rows that are not there")


def _open_split(folder, name, split):
    names = [name, *(shard["file"] for shard in split["shards"])]
    if any(Path(each).name != each for each in names):
        raise ValueError("its manifest names files of other folders")
    shards = [np.load(folder / shard["file"], mmap_mode="r", allow_pickle=False) for shard in split["shards"]]
    labels = np.load(folder / f"{name}-labels.npy", allow_pickle=False)
    lines = (folder / f"{name}-files.txt").read_text(encoding="utf-8").splitlines()
    counts = {sum(len(shard) for shard in shards), len(labels), len(lines), split["count"]}
    shapes = {shard.shape[1:] for shard in shards}
    if len(counts) != 1 or len(shapes) != 1 or any(shard.dtype != np.uint8 or shard.ndim != 4 for shard in shards):
        raise ValueError(f"split {name} has arrays of different lengths or types")
    if labels.dtype != np.int32 or labels.ndim != 1:
        raise ValueError(f"split {name} has labels of another type")
    return Split(Images(shards), labels, lines, np.array(split["gray"], int).reshape(-1))
