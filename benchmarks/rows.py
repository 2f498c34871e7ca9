"""The rows of `results/bench.json` that a CPU fills: which contenders take turns, over how much work, towards which goal.

A group measures one or several rows with the same contenders in one go. `Plan` says how long and how large; `TINY` is for tests.
"""

import importlib.util
import statistics
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.contenders import NETWORKS
from benchmarks.report import row
from benchmarks.worker import Clock, Worker, by_turns, enough, median
from colorize_lib.errors import InputError

# Only the layers' description is wanted of Keras beside PyTorch, not a second library that computes.
_TORCH = {"KERAS_BACKEND": "numpy"}


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        seconds: that a contender's single measurement should take, about; in less, the start of an epoch weighs too much.
        repetitions: by turns.
        networks: of `NETWORKS`, with options that differ from there.
        scored: images that are scored; `looped`: by the loop image by image.
        remembered: images whose memory is measured; by the papers' way half of them.
        quality: options of the contender `quality`, and how many seeds.
        grown: images at 1×; `sides` in pixels, at which so many images are trained on that the pixels are as many.
        scale: images of 64², at which preparing and training are compared; `files` is the same for photographs.
        photographs: how many are prepared, `applied` how many are colorized; `folder` where they are, None for
            imagenet-sample-images in the data home, or else the bundled ones.
        clock: the time that the group may take; it measures less where it must.
    """

    seconds: float = 6.0
    repetitions: int = 5
    networks: dict = field(default_factory=lambda: {name: {} for name in NETWORKS})
    width: float = 1.0
    scored: int = 10_000
    looped: int = 40
    remembered: int = 100_000
    quality: dict = field(default_factory=lambda: dict(train=20_000, test=10_000, epochs=8, width=0.25))
    seeds: int = 3
    grown: int = 512
    sides: tuple = (32, 64, 128, 256)
    scale: tuple = (1_000, 10_000, 100_000)
    files: tuple = (500, 2_000, 20_000)
    matrix: int = 2048
    photographs: int = 500
    applied: int = 200
    folder: Path | None = None
    clock: Clock = field(default_factory=Clock)


TINY = Plan(
    seconds=0.0,
    repetitions=1,
    networks={name: dict(size=64 if name == "yosemite_unet" else 16, batch_size=2) for name in NETWORKS},
    width=0.05,
    scored=4,
    looped=2,
    remembered=8,
    quality=dict(train=8, test=4, epochs=1, width=0.05),
    seeds=1,
    grown=2,
    sides=(16, 32),
    scale=(10, 20, 40),
    files=(10, 20, 40),
    matrix=64,
    photographs=5,
    applied=2,
)


def _seconds(measurements, amount=1):
    return [found["seconds"] / amount for found in measurements]


def training(name, plan):
    """Training steps of one network: against the papers' way, PyTorch, the bare step, and the machine's matrix product."""
    options = {**NETWORKS[name], **plan.networks[name], "network": name, "width": plan.width}
    described = f"{name}, {options['size']}², batches of {options['batch_size']}"
    with ExitStack() as stack:

        def start(contender, environment=None, **more):
            return stack.enter_context(Worker(contender, environment, **more))

        workers = {
            "ours": start("fit", **options, dtype="auto"),
            "ours_float32": start("fit", **options, dtype="float32"),
            "bare": start("bare", **options, dtype="auto"),
            "plain": start("plain_keras", **options),
            "layers": start("layers_alone", **options, dtype="auto"),
        }
        peaks = {"TensorFlow": start("matrix_product", policy="auto", size=plan.matrix)}
        torch = importlib.util.find_spec("torch") is not None
        if torch:
            workers["torch"] = start("pytorch", _TORCH, **options)
        steps = enough(workers, plan.seconds)
        policy = workers["ours"].measure(2)["policy"]
        if torch:
            precision = policy.removeprefix("mixed_")
            peaks["PyTorch"] = start("matrix_product", _TORCH, policy=precision, size=plan.matrix, library="pytorch")
        products = enough(peaks, plan.seconds / 5)
        found = by_turns(workers | peaks, steps | products, plan.repetitions, plan.clock)
    seconds = {key: _seconds(found[key], steps[key] * options["batch_size"]) for key in workers}
    common = dict(unit="seconds per image", steps=steps)
    waited = statistics.median(measurement["waited"] for measurement in found["plain"])
    plain = "the same layers in plain Keras, float32, `fit` of float32 numpy arrays of Lab made beforehand"
    wait = dict(
        note=f"not counted: the {waited:.1f} s that plain Keras' `fit` then waited for its input to end (median)."
    )
    rows = {
        f"training/{name}": row(
            f"training step under `fit`, {policy}: {described}",
            plain,
            goal=1.5 if policy != "float32" else 1.0,
            ours=seconds["ours"],
            theirs=seconds["plain"],
            **common,
            **wait,
        ),
        f"training in float32/{name}": row(
            f"training step under `fit`, float32: {described}",
            plain,
            goal=1.0,
            ours=seconds["ours_float32"],
            theirs=seconds["plain"],
            **common,
            **wait,
        ),
        f"fit/{name}": row(
            f"`fit` with a run's callbacks, {policy}: {described}",
            "the bare compiled training step on one batch in memory",
            goal=0.95,
            ours=seconds["ours"],
            theirs=seconds["bare"],
            **common,
        ),
    }
    if torch:
        rows[f"pytorch/{name}"] = row(
            f"training step under `fit`, {policy}: {described}",
            f"the same network in PyTorch on a batch in memory, its best: {found['torch'][0]['best']}",
            goal=1.0,
            ours=seconds["ours"],
            theirs=seconds["torch"],
            **common,
            first_impressions=found["torch"][0]["first_impressions"],
        )
    rates = {peak: found[peak][0]["flops"] / median(found[peak], products[peak]) for peak in peaks}
    best_rate, flops = max(rates.values()), found["ours"][0]["flops"]
    used, alone = (flops / statistics.median(seconds[key]) for key in ("ours", "layers"))
    profile, elsewhere = _profiled(f"{name}, {options['size']}²", "fit", plan=plan, dtype="auto", **options)
    rows[f"profile/{name}"] = profile
    rows[f"utilisation/{name}"] = row(
        f"share of the machine's best matrix product in {policy.removeprefix('mixed_')} that training reaches: {described}",
        f"products of {plan.matrix}² matrices, {best_rate / 1e9:.0f} GFLOP/s",
        unit="seconds per image",
        ours=seconds["ours"],
        ratio=used / best_rate,
        note=f"its convolutions and dense layers, each alone and without anything around it, reach {alone / best_rate:.0%}; "
        f"other operations take {elsewhere}.",
        flops_per_image=flops,
        gflops=round(used / 1e9, 1),
        layers_alone=[float(f"{value:.4g}") for value in seconds["layers"]],
        matrix_products_gflops={peak: round(rate / 1e9, 1) for peak, rate in rates.items()},
    )
    return rows


def _profiled(described, of, batch_size, plan, **options):
    """Where the time of a contender on TensorFlow goes, as a row, and in words what else than convolutions it goes to."""
    with Worker("profile", of=of, batch_size=batch_size, **options) as worker:
        steps = enough({"": worker}, plan.seconds)[""]
        found = worker.measure(steps)
    shares = found["share"]
    products = sum(share for kind, share in shares.items() if _is_product(kind))
    rest = [f"{kind} {share:.0%}" for kind, share in shares.items() if not _is_product(kind)][:4]
    elsewhere = f"{1 - products:.0%} of the threads' busy time ({', '.join(rest)})"
    profile = row(
        f"where the threads' time in `fit` goes, by TensorFlow's profiler, without colour conversion: {described}",
        None,
        unit="seconds per image, with the profiler on",
        ours=[found["seconds"] / steps / batch_size],
        note=f"operations other than convolutions and matrix products take {elsewhere}.",
        share={kind: round(share, 4) for kind, share in shares.items() if share >= 0.005},
    )
    return profile, elsewhere


def _is_product(kind):
    return "Conv" in kind or "MatMul" in kind


def lab(plan):
    """RGB to Lab of a batch of 256 × 64²."""
    with Worker("lab") as ours, Worker("lab_scikit_image") as theirs:
        workers = {"ours": ours, "theirs": theirs}
        amount = enough(workers, plan.seconds / 2)
        found = by_turns(workers, amount, 2 * plan.repetitions, plan.clock)
    return {
        "lab": row(
            "RGB to Lab of 256 × 64² uint8 images in a compiled step",
            "scikit-image's `rgb2lab` of the same array",
            goal=20,
            unit="seconds per batch",
            ours=_seconds(found["ours"], amount["ours"]),
            theirs=_seconds(found["theirs"], amount["theirs"]),
        )
    }


def scoring(plan):
    """Scoring of test images by Polychromify."""
    with Worker("scoring") as ours, Worker("forward") as forward, Worker("scoring_loop") as loop:
        workers = {"ours": ours, "forward": forward, "loop": loop}
        amount = {"ours": plan.scored, "forward": plan.scored, "loop": plan.looped}
        few = min(plan.scored, 250)
        for name, worker in workers.items():
            worker.measure(min(amount[name], few))
        each = (ours.measure(few)["seconds"] + forward.measure(few)["seconds"]) / few
        amount["ours"] = amount["forward"] = plan.clock.fitting(plan.scored, plan.repetitions * each, "images")
        found = by_turns(workers, amount, plan.repetitions, plan.clock)
    seconds = {name: _seconds(measurements, amount[name]) for name, measurements in found.items()}
    what = f"scoring {amount['ours']:,} images of 64² by Polychromify in float32: predictions, PSNR, SSIM, ΔE2000, five more"
    common = dict(unit="seconds per image", ours=seconds["ours"])
    return {
        "scoring": row(
            what,
            f"the papers' loop with `predict`, `lab2rgb`, `tf.image.psnr` and `ssim` image by image, {plan.looped} images",
            goal=15,
            theirs=seconds["loop"],
            **common,
        ),
        "scoring/forward": row(
            what,
            "the forward pass alone, `predict` in batches; at most 1.5 times as long is a ratio of 0.67",
            goal=0.667,
            theirs=seconds["forward"],
            **common,
        ),
    }


def _photographs(plan):
    """Folder of photographs in full size."""
    from colorize_lib import files

    found = plan.folder or files.data_home() / "imagenet-sample-images"
    return found if found.is_dir() else Path(__file__).parent.parent / "data_prep" / "photos"


def preparation(plan):
    """Preparation of photographs."""
    from benchmarks.preparation import against_imagemagick

    folder = _photographs(plan)
    found = against_imagemagick(folder, plan.photographs, plan.repetitions, plan.clock)
    count = found["photographs"]
    return {
        "preparation": row(
            f"preparing {count} photographs of {folder.name}, whole programs",
            "the `find … convert` of Matos et al. 2020, one photograph after the other",
            goal=5,
            unit="seconds per photograph",
            ours=[seconds / count for seconds in found["data_prep_seconds"]],
            theirs=[seconds / count for seconds in found["imagemagick_seconds"]],
            **{key: found[key] for key in ("imagemagick", "mean_difference", "largest_difference", "decoding_share")},
        )
    }


def memory(plan):
    """Peak memory of training on all of Tiny ImageNet."""
    half = plan.remembered // 2
    ours, theirs = [], []
    repetitions = min(3, plan.repetitions)
    for done in range(repetitions):  # a new process each time: a peak never falls
        if done and plan.clock.over(f"{repetitions - done} of {repetitions} runs"):
            break
        with Worker("memory") as worker:
            ours.append(worker.measure(plan.remembered))
        with Worker("memory_float64") as worker:
            theirs.append(worker.measure(half))
    gigabytes = [[found["peak_memory"] / 1e9 for found in measurements] for measurements in (ours, theirs)]
    common = dict(unit="GB", ours=gigabytes[0], data=ours[0]["data"])
    what = f"peak memory of an epoch of Polychromify, width 1/16, over {ours[0]['images']:,} images of 64² on disk"
    return {
        "memory": row(
            what,
            f"the papers' float64 arrays of Lab and `fit`, of {half:,} images only: for all, the ratio is larger",
            goal=4,
            theirs=gigabytes[1],
            note="TensorFlow itself takes a good part of ours; pages of the mapped files count as ours.",
            **common,
        ),
        "memory/3 GB": row(what, "3 GB", goal=1, ratio=3 / statistics.median(gigabytes[0]), **common),
    }


def adversarial(plan):
    """Adversarial steps."""
    batch_size = 64 if plan.width == 1 else 2
    options = dict(batch_size=batch_size, width=plan.width)
    with ExitStack() as stack:
        workers = {
            (contender, dtype): stack.enter_context(Worker(contender, dtype=dtype, **options))
            for contender in ("adversarial", "keras_gan")
            for dtype in ("auto", "float32")
        }
        steps = enough(workers, plan.seconds)
        found = by_turns(workers, steps, plan.repetitions, plan.clock)
    seconds = {key: _seconds(found[key], steps[key] * batch_size) for key in workers}
    size = f"CIFAR-10's size, batches of {batch_size}"
    profile, _ = _profiled(f"GAN, {size}", "adversarial", plan=plan, dtype="auto", **options)
    rows = {"profile/gan": profile}
    for suffix, ours, theirs in (
        ("", "auto", "float32"),
        (" in float32", "float32", "float32"),
        (" in the policy", "auto", "auto"),
    ):
        precisions = [{"auto": "the CPU’s policy"}.get(dtype, dtype) for dtype in (ours, theirs)]
        rows[f"adversarial{suffix}"] = row(
            f"step of generator and discriminator, one update each, under `fit`, {precisions[0]}: {size}",
            "the usual Keras GAN: `predict_on_batch` and three `train_on_batch`, Lab made beforehand, " + precisions[1],
            goal=1.2,
            unit="seconds per image",
            ours=seconds["adversarial", ours],
            theirs=seconds["keras_gan", theirs],
        )
    return rows


def quality(plan):
    """Whether bfloat16 costs quality."""
    with (
        Worker("quality", dtype="mixed_bfloat16", **plan.quality) as half,
        Worker("quality", dtype="float32", **plan.quality) as full,
        Worker("quality", dtype="float32", perturbed=True, **plan.quality) as control,
    ):
        found = []
        for seed in range(plan.seeds):
            if seed and plan.clock.over(f"{plan.seeds - seed} of {plan.seeds} seeds"):
                break
            found.append([worker.measure(seed) for worker in (half, full, control)])
    psnr = [[run["psnr"] for run in side] for side in zip(*found, strict=True)]
    differences, by_chance = ([a - b for a, b in zip(psnr[side], psnr[1], strict=True)] for side in (0, 2))
    words, words_by_chance = (", ".join(f"{value:+.3f}" for value in side) for side in (differences, by_chance))
    settings = plan.quality
    made = row(
        f"test PSNR of Polychromify, width {settings['width']:g}, after {settings['epochs']} epochs of {settings['train']:,} "
        f"images of {found[0][0]['data']} in mixed_bfloat16, {settings['test']:,} test images",
        "float32 with the same seed and budget; the goal is a difference of at most 0.1 dB for each seed",
        unit="dB, one a seed",
        ours=psnr[0],
        theirs=psnr[1],
        ratio=1.0,
        note=f"differences {words} dB, mean {statistics.mean(differences):+.3f}; of float32 to itself after a "
        f"change of the initial weights by a millionth {words_by_chance} dB.",
        differences=[round(value, 4) for value in differences],
        by_chance=[round(value, 4) for value in by_chance],
    )
    return {"quality of bfloat16": made | {"ratio": None, "goal": None, "met": max(map(abs, differences)) <= 0.1}}


def growth(plan):
    """Time and memory with more images, and with larger ones."""
    batch_size = 32 if plan.width == 1 else 2
    options = dict(network="polychromify", batch_size=batch_size, loss="mse", dtype="auto", width=plan.width / 4)
    rows, series = {}, {}
    for factor in (1, 4, 16):
        with Worker("fit", size=64 if plan.width == 1 else 16, **options) as worker:
            steps = factor * max(1, plan.grown // batch_size)
            worker.measure(2)
            repetitions = plan.repetitions if factor < 16 else min(3, plan.repetitions)
            found = by_turns({"": worker}, steps, repetitions, plan.clock)[""]
            series[factor] = _grown(found, steps * batch_size)
    rows["growth/images"] = _growth_row(
        "an epoch with 1, 4 and 16 times the images, in memory: polychromify, width 1/4", series, "images", 16
    )
    series = {}
    for side in plan.sides:
        with Worker("fit", size=side, **options) as worker:
            steps = max(2, plan.grown * plan.sides[0] ** 2 // side**2 * 4 // batch_size)
            worker.measure(2)
            found = by_turns({"": worker}, steps, plan.repetitions, plan.clock)[""]
            series[side] = _grown(found, steps * batch_size)
    area = (plan.sides[-1] / plan.sides[0]) ** 2
    rows["growth/pixels"] = _growth_row(
        f"an image at {', '.join(f'{side}²' for side in plan.sides)}: polychromify, width 1/4",
        series,
        "sides",
        area,
        each=True,
    )
    return rows


def _grown(found, images):
    return {
        "images": images,
        "seconds": [measurement["seconds"] for measurement in found],
        "peak_memory_gb": round(max(measurement["peak_memory"] for measurement in found) / 1e9, 3),
    }


def _growth_row(what, series, of, factor, each=False):
    seconds = []
    for part in (series[min(series)], series[max(series)]):
        seconds.append([value / (part["images"] if each else 1) for value in part["seconds"]])
    first, last = map(statistics.median, seconds)
    return row(
        what,
        f"linear growth: the smallest's median times {factor:g}; 1 is linear, below 1 slower than linear",
        goal=0.9,
        unit="seconds",
        ours=seconds[1],
        theirs=[factor * value for value in seconds[0]],
        ratio=factor * first / last,
        **{of: {str(key): part for key, part in series.items()}},
    )


def applying(plan):
    """Colorizing a folder of photographs, and the start of the command."""
    from benchmarks import applying

    starts = {"ours": applying.START, "theirs": applying.START_OF_LOOP, "import": "import tensorflow"}
    times = {name: [] for name in starts}
    for done in range(1 + plan.repetitions):
        for name, code in starts.items():
            seconds = applying.seconds(["-c", code])
            if done:  # the first one reads the libraries' files from disk
                times[name].append(seconds)
    start = {name: statistics.median(values) for name, values in times.items()}
    folder = _photographs(plan)
    found = applying.against_loop(folder, plan.applied, plan.repetitions, plan.clock)
    count = found["photographs"]
    each = {name: [(value - start[name]) / count for value in found[name]] for name in ("ours", "theirs")}
    whole = statistics.median(found["theirs"]) / statistics.median(found["ours"])
    return {
        "applying": row(
            f"`python -m colorize_lib colorize` of {count} photographs of {folder.name}, after the start",
            "the same network in a loop: open, resize, Keras' `predict` of one, enlarge by scikit-image, save",
            goal=3,
            unit="seconds per photograph",
            **each,
            note=f"{1 / statistics.median(each['ours']):.0f} photographs a second; with the starts of both programs the "
            f"ratio is {whole:.2f}.",
            mean_difference=found["mean_difference"],
            whole_programs={name: [round(value, 2) for value in found[name]] for name in ("ours", "theirs")},
        ),
        "start": row(
            "start of the command `colorize`: import, build, load the bundled network",
            "1.5 seconds more than `import tensorflow`",
            goal=1,
            unit="seconds; of the others `import tensorflow` alone",
            ours=times["ours"],
            theirs=times["import"],
            ratio=1.5 / max(start["ours"] - start["import"], 0.01),
            note=f"{start['ours'] - start['import']:.2f} s more (medians).",
        ),
    }


def scale(plan):
    """Preparing and training at growing numbers of images: linear in time, flat in memory."""
    from benchmarks.preparation import growing

    rows = {}
    with Worker("memory") as worker:
        worker.measure(plan.scale[0])
        trained = [worker.measure(count) for count in plan.scale]
    described = "an epoch of Polychromify, width 1/16, over {} images of 64² on disk"
    rows |= _scale_rows("training", described, plan.scale, trained, "own_memory", "memory without mapped files")
    small = growing(None, plan.scale)
    peak = "peak_memory", "peak memory of all processes"
    rows |= _scale_rows("preparation", "preparing {} JPEG files of 64²", plan.scale, small, *peak)
    if plan.clock.over("the folder of photographs"):
        return rows
    folder = _photographs(plan)
    described = f"preparing {{}} photographs at 64² (links to those of {folder.name})"
    rows |= _scale_rows("photographs", described, plan.files, growing(folder, plan.files), *peak)
    return rows


def _scale_rows(name, described, counts, found, kind, memory):
    """Rows on time and memory of what was measured at three numbers of images.

    Time is what each further image takes, between the first two numbers and between the last two: a start does not count. Memory is
    compared between the last two: a run of the smallest number may be too short for it to be seen.

    Args:
        name: of the rows.
        described: what was done, with a place for the numbers.
        counts: the three numbers.
        found: what was measured at each.
        kind: of memory, a key of `found`; `memory` is the same in words.
    """
    seconds, gigabytes = [one["seconds"] for one in found], [one[kind] / 1e9 for one in found]
    slopes = [(seconds[i + 1] - seconds[i]) / (counts[i + 1] - counts[i]) for i in (0, 1)]
    what = described.format(", ".join(f"{count:,}" for count in counts))
    return {
        f"scale/{name}": row(
            what,
            "linear growth: the time of each further image, up to the middle number and beyond it; below 1 slower than linear",
            goal=0.9,
            unit="seconds for each further image",
            ours=[slopes[1]],
            theirs=[slopes[0]],
            note=f"{', '.join(f'{second:.1f}' for second in seconds)} s.",
            seconds=[round(second, 3) for second in seconds],
        ),
        f"scale/{name}/memory": row(
            f"{what}: {memory}",
            f"that of {counts[1]:,}; 1 is flat",
            goal=0.8,
            unit="GB",
            ours=gigabytes[2:],
            theirs=gigabytes[1:2],
            note=f"{', '.join(f'{gigabyte:.2f}' for gigabyte in gigabytes)} GB.",
        ),
    }


# Each group, and the minutes that it may take; together they are less than an hour.
GROUPS = {
    **{f"training/{name}": (lambda plan, name=name: training(name, plan), 4.5) for name in NETWORKS},
    "lab": (lab, 1),
    "scoring": (scoring, 4),
    "applying": (applying, 5),
    "preparation": (preparation, 4),
    "memory": (memory, 3),
    "adversarial": (adversarial, 4),
    "quality": (quality, 6),
    "growth": (growth, 3),
    "scale": (scale, 5),
}


def measured(name, plan):
    """The rows of a group, {key: row}, with a note on what was left out because it would have taken too long."""
    group, minutes = GROUPS[name]
    clock = Clock(60 * minutes)
    found = group(replace(plan, clock=clock))
    if clock.left_out:
        left_out = f"To end after {minutes:g} minutes, it left out {', '.join(dict.fromkeys(clock.left_out))}."
        for made in found.values():
            made["note"] = f"{made['note']} {left_out}" if made["note"] else left_out
    return found


def chosen(names):
    """Groups by name, or by what stands before the slash; all without names. Raises InputError for an unknown name."""
    groups = []
    for name in names or GROUPS:
        found = [group for group in GROUPS if name in (group, group.split("/")[0])]
        if not found:
            raise InputError(
                f"There are no rows {name!r}: ROWS takes {', '.join(GROUPS)}, or training for all of its kind."
            )
        groups += found
    return list(dict.fromkeys(groups))
