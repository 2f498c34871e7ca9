"""Colorizing a folder of photographs, whole programs: the command, and a loop over photographs as public colorizers have it.

    python -m benchmarks.applying PHOTOS RESULTS      the loop

The loop loads the same network once, and then opens, resizes, predicts, enlarges and saves one photograph after the other by Keras'
`predict` and scikit-image, as the demos of Zhang et al. 2016 and of the papers do.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from colorize_lib.errors import InputError
from data_prep.sources import images_below

# What the command and the loop do before they see the first photograph.
START = "from colorize_lib.apps import photographs, trained; trained.load()"
START_OF_LOOP = f"from skimage import color, transform; {START}"


def against_loop(photographs, count=200, runs=5, clock=None):
    """Seconds of `python -m colorize_lib colorize` and of the loop for the same folder, by turns.

    Args:
        photographs: folder; JPEG files of it are used.
        count: how many, at most.
        runs: of each.
        clock: `worker.Clock` that may end the runs early.

    Returns:
        dict: how many "photographs", seconds of each run "ours" and "theirs", and the "mean_difference" of their results in levels
        of 255.

    Raises:
        InputError: there are no photographs, or a program failed.
    """
    chosen = [
        Path(photographs) / name for name in images_below(photographs) if name.lower().endswith((".jpg", ".jpeg"))
    ]
    if not chosen:
        raise InputError(f"{photographs} holds no JPEG files: name a folder of photographs.")
    found = {"ours": [], "theirs": []}
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        source.mkdir()
        for path in chosen[:count]:
            shutil.copy(path, source / f"{path.stem}.jpg")
        for run in range(runs):
            if run and clock is not None and clock.over(f"{runs - run} of {runs} runs"):
                break
            for name, module in (("ours", ("colorize_lib", "colorize", "-o")), ("theirs", ("benchmarks.applying",))):
                results = Path(temporary) / f"{name}{run}"
                package, *options = module
                options = [*options, results, source] if options else [source, results]
                found[name].append(seconds(["-m", package, *options]))
                if run:
                    shutil.rmtree(results)
        differences = [_difference(path, Path(temporary)) for path in sorted(source.iterdir())]
    return found | {"photographs": len(chosen[:count]), "mean_difference": round(float(np.mean(differences)), 2)}


def seconds(arguments):
    """Wall seconds of a whole Python program. Raises InputError with its last words if it fails."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=os.environ | {"TQDM_DISABLE": "1"}
    )
    if done.returncode:
        raise InputError(f"`python {' '.join(map(str, arguments))}` failed: {done.stderr[-1000:].strip()}")
    return time.perf_counter() - begun


def _difference(path, folder):
    ours, theirs = (np.asarray(Image.open(folder / name / path.name)).astype(int) for name in ("ours0", "theirs0"))
    return np.abs(ours - theirs).mean()


def loop(source, results):
    """Colorize the photographs of a folder, one after the other."""
    from skimage.color import lab2rgb, rgb2lab
    from skimage.transform import resize

    from colorize_lib.apps import trained

    colorizer = trained.load()
    network, decoding, centres = colorizer.network, colorizer.decode, np.asarray(colorizer.centres)
    log_weights = np.array(decoding.log_weights)
    results.mkdir()
    for path in sorted(source.iterdir()):
        photo = Image.open(path).convert("RGB")
        small = photo.resize(colorizer.input_size[::-1], Image.Resampling.LANCZOS)
        lightness = rgb2lab(np.asarray(small))[..., :1]
        logits = network.predict((lightness[None] - 50) / 100, verbose=0)[0]
        logits = (logits + (1 - decoding.taken_back) * log_weights) / decoding.temperature
        probabilities = np.exp(logits - logits.max(-1, keepdims=True))
        probabilities /= probabilities.sum(-1, keepdims=True)
        lab = rgb2lab(np.asarray(photo))
        lab[..., 1:] = resize(probabilities @ centres, lab.shape[:2], order=1)
        Image.fromarray(np.round(255 * lab2rgb(lab)).astype(np.uint8)).save(results / path.name, quality=95)


if __name__ == "__main__":
    loop(Path(sys.argv[1]), Path(sys.argv[2]))
