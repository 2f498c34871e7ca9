"""Preparing images: against the shell command of Matos et al. 2020, and Tiny ImageNet's 120,000 files.

    python -m benchmarks.preparation PHOTOS [--count 500] [--runs 3] [--tiny-imagenet DATA_HOME [--dask ADDRESS]]

Both ways start from a folder of full-size photographs and end when the last image is on disk; they run by turns, whole
programs with their start-up, and medians are compared. The command is the paper's, one `convert` after the other; ours uses
every core. Only upright RGB and gray photographs take part: for others the command gives what viewers turn or convert again.
"""

import argparse
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.contenders import images
from colorize_lib.errors import InputError
from colorize_lib.images import decode
from colorize_lib.preprocess import resize_and_crop
from data_prep.sources import images_below

COMMAND = (
    "-resize",
    "x600",
    "-resize",
    "600x<",
    "-resize",
    "50%",
    "-gravity",
    "center",
    "-crop",
    "300x300+0+0",
    "+repage",
)


def against_imagemagick(photographs, count=500, runs=3, clock=None):
    """Images per second of the command of Matos et al. 2020 and of `data_prep`, and how much the results differ.

    Args:
        photographs: folder with at least `count` full-size photographs.
        count: how many of them.
        runs: of each way, by turns.
        clock: `worker.Clock` that may end them early.

    Returns:
        dict: seconds of each run, images per second by the medians, their ratio, the largest mean and single difference of a
        photograph in levels of 255, and what share of our time JPEG decoding alone would take on all cores, which is the floor.

    Raises:
        InputError: no real ImageMagick 6, or too few photographs.
    """
    convert = _imagemagick()
    chosen = [Path(photographs) / file for file in images_below(photographs) if _upright(Path(photographs) / file)][
        :count
    ]
    if len(chosen) < count:
        raise InputError(f"{photographs} holds {len(chosen)} upright photographs: give {count}, or a smaller --count.")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        source = _copies(chosen, work / "source")
        theirs, ours = [], []
        for run in range(runs):
            if run and clock is not None and clock.over(f"{runs - run} of {runs} runs"):
                break
            target = _copies(chosen, work / f"run{run}")  # the command writes in place
            begun = time.perf_counter()
            subprocess.run(["find", target, "-type", "f", "-exec", convert, "{}", *COMMAND, "{}", ";"], check=True)
            theirs.append(time.perf_counter() - begun)
            shutil.rmtree(target)
            ours.append(
                _prepare(work / f"home{run}", "folder", str(source), "--geometry", "imagemagick", "--size", "300")[
                    "seconds"
                ]
            )
            shutil.rmtree(work / f"home{run}")
        differences = _differences(convert, source, work)
    return {
        "photographs": count,
        "cores": _cores(),
        "imagemagick": subprocess.run([convert, "-version"], capture_output=True, text=True).stdout.splitlines()[0],
        "imagemagick_seconds": theirs,
        "data_prep_seconds": ours,
        "imagemagick_images_per_second": count / statistics.median(theirs),
        "data_prep_images_per_second": count / statistics.median(ours),
        "ratio": statistics.median(theirs) / statistics.median(ours),
        **differences,
        "decoding_share": _decoding_floor(chosen, count) / statistics.median(ours),
    }


def tiny_imagenet(home, runs=3, dask=None):
    """Seconds and memory of preparing the 120,000 images of Tiny ImageNet that lies unpacked in `home`.

    With `dask`, the address of a scheduler on this machine, its workers do the work; memory is then that of the client alone.

    Returns:
        dict: seconds of each run and their median, images per second, the peak memory of all processes together in MB
        (proportional set size, sampled; pages of the file cache do not count), and the share of JPEG decoding alone.
    """
    source = Path(home) / "tiny-imagenet-200"
    if not source.is_dir():
        raise InputError(f"There is no {source}: prepare it with `python -m data_prep tiny-imagenet` first.")
    results = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as temporary:
            (Path(temporary) / source.name).symlink_to(source.absolute())
            results.append(_prepare(Path(temporary), "tiny-imagenet", *(["--dask", dask] if dask else [])))
    seconds = [result["seconds"] for result in results]
    return {
        "seconds": seconds,
        "median_seconds": statistics.median(seconds),
        "images_per_second": 120_000 / statistics.median(seconds),
        "peak_memory_mb": max(result["peak_memory_mb"] for result in results),
        "decoding_share": _decoding_floor(sorted(source.glob("test/images/*.JPEG")), 120_000)
        / statistics.median(seconds),
    }


def growing(photographs, counts):
    """What preparing more and more images at 64² takes.

    Args:
        photographs: folder of JPEG files, to which as many links are made as it takes; None: new files of 64².
        counts: how many images, growing.

    Returns:
        [{"seconds", "peak_memory" of all processes together in bytes}], one for each of `counts`.
    """
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        source.mkdir()
        paths = (
            [] if photographs is None else [Path(photographs).resolve() / name for name in images_below(photographs)]
        )
        have = 0
        for count in counts:
            while have < count:
                file = source / f"{have:06}.jpg"
                if paths:
                    file.symlink_to(paths[have % len(paths)])
                    have += 1
                    continue
                for number, image in enumerate(images(min(1000, count - have), 64, seed=have)):
                    Image.fromarray(image).save(source / f"{have + number:06}.jpg")
                have = min(have + 1000, count)
            home = Path(temporary) / f"home{count}"
            done = _prepare(home, "folder", str(source), "--size", "64")
            found.append({"seconds": done["seconds"], "peak_memory": 1e6 * done["peak_memory_mb"]})
            shutil.rmtree(home)
    return found


def _imagemagick():
    for program in ("convert-im6.q16", "convert-im6", "convert"):
        path = shutil.which(program)
        if path and "ImageMagick 6" in subprocess.run([path, "-version"], capture_output=True, text=True).stdout:
            return path
    raise InputError(
        "ImageMagick 6 is not installed: install your system's package imagemagick (it is what the paper used)."
    )


def _upright(path):
    try:
        with Image.open(path) as image:
            return image.format == "JPEG" and image.mode in ("RGB", "L") and image.getexif().get(0x0112, 1) in (0, 1)
    except OSError:
        return False


def _copies(chosen, folder):
    folder.mkdir()
    for path in chosen:
        shutil.copy(path, folder)
    return folder


def _prepare(home, *arguments):
    """Wall seconds of the command line, and the peak memory of its processes."""
    home.mkdir(exist_ok=True)
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "data_prep", *arguments, "--home", str(home)], stdout=subprocess.DEVNULL
    )
    peak = [0]
    watcher = threading.Thread(target=_watch, args=(process, peak))
    watcher.start()
    status = process.wait()
    seconds = time.perf_counter() - begun
    watcher.join()
    if status:
        raise InputError(f"`python -m data_prep {' '.join(arguments)}` ended with status {status}.")
    return {"seconds": seconds, "peak_memory_mb": peak[0] / 1e6}


def _watch(process, peak):
    import psutil

    while process.poll() is None:
        total = 0
        try:
            family = [psutil.Process(process.pid)]
            family += family[0].children(recursive=True)
        except psutil.NoSuchProcess:
            return
        for member in family:
            try:
                total += member.memory_full_info().pss
            except psutil.Error:  # it has ended meanwhile
                continue
        peak[0] = max(peak[0], total)
        time.sleep(0.5)


def _differences(convert, source, work):
    """Levels of 255 between the command's pixels, written without loss, and ours: the worst photograph's mean, the worst pixel."""
    means, largest = [], 0
    for path in sorted(source.iterdir()):
        subprocess.run([convert, path, *COMMAND, work / "theirs.png"], check=True, stderr=subprocess.DEVNULL)
        theirs = np.asarray(Image.open(work / "theirs.png").convert("RGB")).astype(int)
        difference = np.abs(theirs - resize_and_crop(decode(path, managed=False)))
        means.append(difference.mean())
        largest = max(largest, int(difference.max()))
    return {"mean_difference": max(means), "largest_difference": largest}


def _decoding_floor(paths, count):
    """Seconds that Pillow's JPEG decoder alone needs for `count` images like these, on all cores: files in memory, nothing kept."""
    contents = [path.read_bytes() for path in paths]
    begun = time.perf_counter()
    for content in contents:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    return (time.perf_counter() - begun) / len(contents) * count / _cores()


def _cores():
    return len(os.sched_getaffinity(0))


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.preparation", description=__doc__.split("\n")[0])
    parser.add_argument("photographs", nargs="?", help="folder of full-size photographs")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tiny-imagenet", metavar="DATA_HOME", help="data home with tiny-imagenet-200")
    parser.add_argument("--dask", metavar="ADDRESS", help="prepare Tiny ImageNet by a Dask cluster on this machine")
    given = parser.parse_args()
    try:
        results = {}
        if given.photographs:
            results["against_imagemagick"] = against_imagemagick(given.photographs, given.count, given.runs)
        if given.tiny_imagenet:
            results["tiny_imagenet"] = tiny_imagenet(given.tiny_imagenet, given.runs, given.dask)
    except InputError as error:
        sys.exit(str(error))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
