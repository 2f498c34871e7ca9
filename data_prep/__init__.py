"""Datasets, from their publishers or from folders of photographs to prepared arrays.

    from data_prep import load
    dataset = load("photos", size=64)        # opens it, after preparing (and downloading) it if need be

`python -m data_prep NAME` does the same from the command line. Everything lies in the data home (`COLORIZE_DATA`, else the user's
cache folder): archives and unpacked sources as their publishers name them, prepared arrays in `prepared/KEY`.
"""

import io
import os
import time
from pathlib import Path

import numpy as np

from colorize_lib import driver, files
from colorize_lib.dataset import Photograph
from colorize_lib.errors import InputError
from data_prep import prepared

WAIT = 600  # seconds for which `load` waits while another process prepares the same dataset


def load(
    name,
    *,
    home=None,
    size=None,
    limit=None,
    jobs=None,
    dask=None,
    url=None,
    allow_skipped=False,
    wait=WAIT,
    report=None,
    progress=False,
    **options,
):
    """Open a prepared dataset; one that is not there yet is downloaded, unpacked and prepared first.

    Args:
        name: of the registry (`python -m data_prep list`), path of a folder of photographs, or name of one in the data home.
        home: data home; default `COLORIZE_DATA`, else the user's cache folder.
        size: side of the images in pixels; default the paper's.
        limit: at most this many images of every split, drawn with the option `seed`.
        jobs: worker processes; default one a core.
        dask: address of a Dask scheduler, e.g. "tcp://10.0.0.1:8786", whose workers see the data home under the same path.
        url: address of a mirror, either of the archive or, ending with a slash, of its folder.
        allow_skipped: accept more than 1 % unreadable images.
        wait: seconds to wait for another process that prepares the same dataset.
        report: function of (images done, images in all), called while images are prepared.
        progress: show bars of downloads on the terminal.
        options: of the dataset, e.g. split="hue" for cifar10; `python -m data_prep NAME --help` lists them.

    Returns:
        `colorize_lib.dataset.Dataset`: splits "train", "validation", "test" as far as the dataset has them.

    Raises:
        InputError: unknown name or option, nothing to be found or downloaded, wrong counts or hashes, unreadable images, no
            space. What has been made by then is used by the next call.
    """
    from data_prep import registry

    home = files.data_home(home).absolute()
    if name not in registry.DATASETS:
        for path in (Path(name), home / name):
            if path.is_dir():
                name, options = "folder", {"path": str(path), **options}
                break
    spec = registry.find(name)
    options = registry.resolve(name, options)
    size = _checked_size(spec, name, size)
    if limit is not None and (not isinstance(limit, int) or limit < 1):
        raise InputError(f"limit is {limit!r}: it must be a whole number of at least 1.")
    if jobs is not None and (not isinstance(jobs, int) or jobs < 1):
        raise InputError(f"jobs is {jobs!r}: it must be a whole number of at least 1.")
    folder = home / "prepared" / registry.key(name, size, limit, options)
    own_photographs = bool(options.get("path"))  # they may have changed since
    if not own_photographs and (folder / "manifest.json").exists():
        return prepared.open_dataset(folder)

    from data_prep import arrays, download

    for archive in spec.archives(options):
        download.obtain(archive, home, url, progress)
    plan = spec.plan(home, size, options)
    if limit is not None:
        plan.limit(limit, options["seed"])
    plan.notes.update(options=options, limit=limit, terms=spec.terms)
    report = report or _report_to_driver(name)
    return arrays.write(plan, folder, jobs=jobs, dask=dask, allow_skipped=allow_skipped, wait=wait, report=report)


def photographs(*splits):
    """The bundled photographs, or those of some `splits`, as a list of `colorize_lib.dataset.Photograph`. Raises InputError."""
    from data_prep import sources

    rows = [row for row in sources.read_photo_table() if not splits or row["split"] in splits]
    return [
        Photograph(row["file"], row["title"], _credit(row), (sources.PHOTOS / row["file"]).read_bytes()) for row in rows
    ]


def _credit(row):
    """Author and licence of a bundled photograph, as its licence asks for."""
    licence = row["licence"].removeprefix("LicenseRef-").replace("-", " ")
    return f"{row['author']}, {licence}"


def drawn_photographs(name, limit, seed=0):
    """Images of a dataset's test split as a list of `colorize_lib.dataset.Photograph`: at most `limit`, drawn with `seed`.

    Rows without any colour are left out. Raises InputError, see `load`, also if no row is left.
    """
    from PIL import Image

    dataset = load(name)
    dataset.require(test=1)
    split = dataset["test"]
    rows = np.setdiff1d(np.arange(len(split)), split.gray)
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    found = []
    for row, pixels in zip(rows.tolist(), split.images[rows], strict=True):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        found.append(Photograph(f"{name}/{row}", f"{name}, test image {row}", "", file.getvalue()))
    return found


def _checked_size(spec, name, size):
    if size is None:
        return spec.size
    if not isinstance(size, int) or not 8 <= size <= 4096 or (spec.sizes and size not in spec.sizes):
        allowed = " or ".join(map(str, spec.sizes)) or "a whole number from 8 to 4096"
        raise InputError(f"size is {size!r}: for {name} it must be {allowed}.")
    return size


def _report_to_driver(name):
    """A `report` for the headless driver's terminal, about once a second; None without a driver."""
    if driver.VARIABLE not in os.environ:
        return None
    said = 0.0

    def report(done, total):
        nonlocal said
        if time.monotonic() - said > driver.INTERVAL or done == total:
            said = time.monotonic()
            driver.report(f"preparing {name}: {done:,} of {total:,} images")

    return report
