"""Training of the papers' networks on one GPU, on JAX, as one prepared run of a few minutes.

    KERAS_BACKEND=jax python -m benchmarks.gpu [NETWORK …]
    KERAS_BACKEND=jax python -m benchmarks.gpu --tiny --file FILE     a rehearsal on a CPU

It measures, the most important first:

- `fit` of each network in bfloat16 and in float32 on random images in the card's memory: `Plan.epochs` epochs after the one that
  compiles, next to the card's own rate, its best matrix product;
- where the time of Polychromify and of a GAN goes, by JAX's profiler;
- for the networks with most convolutions after an upsampling, whether computing these on the smaller map is faster.

Each measurement is a process. The processes of a wave compile side by side, and then measure one at a time. A wave begins only if
as much of the `--minutes` is left as the longest one before took; what does not begin is named and left out. Each row is written
to the file as soon as it is there.
"""

import argparse
import fcntl
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from benchmarks import networks, report
from benchmarks.report import row
from colorize_lib.acceleration import kernels as accelerated
from colorize_lib.errors import InputError, near_match
from colorize_lib.training import machine, resident

POLICIES = ("mixed_bfloat16", "float32")
PROFILED = ("polychromify", "gan")
UPSAMPLED = ("polychromify", "pix2pix_unet", "yosemite_unet")  # most of their arithmetic follows an upsampling


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        networks: of `benchmarks.networks.TRAINED`.
        epochs: measurements of each network.
        whole: images of Polychromify's epochs; the paper's are Tiny ImageNet's.
        steps: training steps in one compiled call. A prime above `resident.CALLS`, so that `fit` makes no shorter calls.
        pixels: of an epoch, at least.
        matrix: side of the matrices.
        side_by_side: processes that compile at the same time.
        batch_size: None: the paper's.
        sides: {network: pixels}, and that of the others as "other"; without it they are the papers'.
        width: factor on the filters.
    """

    networks: tuple = tuple(networks.TRAINED)
    epochs: int = 5
    whole: int = 100_000
    steps: int = 37
    pixels: int = 15_000_000
    matrix: int = 8192
    side_by_side: int = 10
    batch_size: int | None = None
    sides: dict = field(default_factory=dict)
    width: float = 1.0


TINY = Plan(
    networks=("polychromify", "gan"),
    whole=4,
    steps=1,
    pixels=0,
    matrix=64,
    side_by_side=2,
    batch_size=2,
    sides={"resnet50_autoencoder": 30, "pix2pix_unet": 64, "yosemite_unet": 64, "other": 16},
    width=0.05,
)


class Job(NamedTuple):
    """A measurement of its own process. `kind`: "fit", "profile", or "smaller map"."""

    network: str
    policy: str
    kind: str


def waves(names, side_by_side):
    """Lists of `Job`s that compile side by side, the most important first.

    Args:
        names: of networks.
        side_by_side: jobs of a wave, at most.

    Raises:
        InputError: unknown network.
    """
    for name in names:
        if name not in networks.TRAINED:
            known = networks.TRAINED
            raise InputError(
                f"There is no network {name!r}{near_match(name, known)}: the networks are {', '.join(known)}."
            )
    first = [Job("polychromify", policy, "fit") for policy in POLICIES]
    first += [Job(name, "mixed_bfloat16", "profile") for name in PROFILED]
    first += [Job(name, "mixed_bfloat16", "smaller map") for name in UPSAMPLED]
    rest = [Job(name, policy, "fit") for name in networks.TRAINED for policy in POLICIES if name != "polychromify"]
    found = []
    for jobs in (first, rest):
        chosen = [job for job in jobs if job.network in names]
        found += [chosen[i : i + side_by_side] for i in range(0, len(chosen), side_by_side)]
    return found


def run(jobs, work, seconds, clock=time.monotonic):
    """Run waves of jobs within a time limit.

    Args:
        jobs: of `waves`.
        work: function of a wave that runs its jobs.
        seconds: that are left.
        clock: function that returns the time in seconds.

    Returns:
        The jobs that were left out, because the longest wave so far took longer than the time left.
    """
    begun, longest, left_out = clock(), 0, []
    for wave in jobs:
        before = clock()
        if before - begun + longest >= seconds:
            left_out += wave
            continue
        work(wave)
        longest = max(longest, clock() - before)
    return left_out


# The measurements. Each runs in its own process.


class Turn:
    """The right to measure: several processes may compile at the same time, but while one measures, the others wait.

    Args:
        path: of a file that all of them lock.
    """

    def __init__(self, path):
        self._file = open(path)  # noqa: SIM115 – locked until the process ends
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def take(self):
        """Wait until no other process compiles or measures, and then keep them from it until this process ends."""
        fcntl.flock(self._file, fcntl.LOCK_UN)
        time.sleep(0.2)  # until the device has finished
        fcntl.flock(self._file, fcntl.LOCK_EX)


class Clock(keras.callbacks.Callback):
    """Measures the seconds of the epochs, of which the first one compiles; from the second one on this process has the turn.

    Args:
        batches: `Batches` of the training.
        turn: `Turn`.
        profiled: (number of an epoch, folder into which JAX's profiler writes it), or None.
    """

    def __init__(self, batches, turn, profiled=None):
        super().__init__()
        self.batches, self.turn, self.seconds = batches, turn, []
        self.profiled, self.folder = profiled or (None, None)

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.turn.take()
        if epoch == self.profiled:
            import jax

            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = options.host_tracer_level = 0
            jax.profiler.start_trace(self.folder, create_perfetto_trace=True, profiler_options=options)
        self.batches.set_epoch(epoch)
        self.begun = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds.append(time.perf_counter() - self.begun)
        if epoch == self.profiled:
            import jax

            jax.profiler.stop_trace()


def measure(job, plan, turn):
    """Measure a `Job`: a dictionary of the seconds of each of its epochs, and what they were."""
    import jax

    _, _, size, batch_size, _ = networks.TRAINED[job.network]
    size = plan.sides.get(job.network, plan.sides.get("other", size))
    batch_size = plan.batch_size or batch_size
    of_call = plan.steps * batch_size * size**2
    steps = plan.steps * max(2, -(-plan.pixels // of_call))
    whole = job.network == "polychromify" and job.kind == "fit"
    batches = networks.batches(job.network, -(-plan.whole // batch_size) if whole else steps, batch_size, size)
    if whole:
        batches.split = batches.split.take(range(plan.whole))
        batches.set_epoch(0)
    on_device = jax.devices()[0].platform != "cpu"
    found = {
        **job._asdict(),
        "side": size,
        "batch_size": batch_size,
        "images": len(batches.split),
        "steps_a_call": len(batches) // resident.calls_an_epoch(batches) if on_device else 1,
        "products": products(job.policy),
    }
    build = dict(name=job.network, dtype=job.policy, side=size, width=plan.width)
    found |= {"fit": _fit, "profile": _profile, "smaller map": _smaller_map}[job.kind](build, batches, plan, turn)
    if memory := jax.devices()[0].memory_stats():
        found["peak_memory_gb"] = round(memory["peak_bytes_in_use"] / 1e9, 2)
    return found


def _fit(build, batches, plan, turn, folder=None):
    model = networks.model(**build)
    model(batches[0][0][:1])
    last = plan.epochs + 1
    clock = Clock(batches, turn, (last, folder) if folder else None)
    model.fit(batches, epochs=last + bool(folder), verbose=0, callbacks=[clock])
    return {
        "seconds": clock.seconds[1:last],
        "first_epoch_seconds": round(clock.seconds[0], 2),
        "flops_per_image": networks.training_flops(model),
    }


def _profile(build, batches, plan, turn):
    with tempfile.TemporaryDirectory() as folder:
        found = _fit(build, batches, plan, turn, folder)
        with gzip.open(next(Path(folder).rglob("perfetto_trace.json.gz")), "rt") as file:
            return found | {"profile": kernels(json.load(file))}


def _smaller_map(build, batches, plan, turn):
    """The same steps with convolutions on the smaller map and, by turns, on the enlarged one; both must give the same losses."""
    import jax

    rows = np.stack([batches.rows(index) for index in range(len(batches))])
    images = jax.device_put(batches.split.images[:][rows])
    ways, losses = {}, {}
    for smaller in (True, False):
        keras.utils.set_random_seed(0)  # the same weights and dropout
        accelerated.SMALLER_MAP_ON_JAX = smaller
        ways[smaller] = _steps(networks.model(**build), images)
        losses[smaller] = ways[smaller]()
    # The first loss is of the same weights, and the second one of weights after a gradient; later ones drift apart by rounding.
    difference = float(np.max(np.abs(losses[True][:2] / losses[False][:2] - 1)))
    if not difference < (1e-3 if build["dtype"] == "float32" else 1e-2):
        raise InputError(f"The smaller map gives other losses: {losses[True][:2]}, not {losses[False][:2]}.")
    turn.take()
    seconds = {True: [], False: []}
    for _ in range(plan.epochs):
        for smaller, train in ways.items():
            begun = time.perf_counter()
            train()
            seconds[smaller].append(time.perf_counter() - begun)
    return {
        "seconds": seconds[True],
        "seconds_enlarged": seconds[False],
        "loss_difference": difference,
        "steps_a_call": len(batches),
    }


def _steps(model, images):
    """A function that trains `model` on `images`, (steps, batch, height, width, 3), in one compiled call and returns the losses.

    Each loss is the mean of the steps so far. All calls begin with the same weights.
    """
    import jax

    model(images[0])
    model.optimizer.build(model.trainable_variables)
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    state = tuple([variable.value for variable in group] for group in groups)

    @jax.jit
    def learn(state, images):
        def step(state, rgb):
            logs, after = model.train_step(state, (rgb,))
            return tuple(map(list, after)), logs["loss"]

        return jax.lax.scan(step, state, images)

    return lambda: np.asarray(learn(state, images)[1])


def products(policy):
    """In which precision the convolutions of a policy multiply here: "bfloat16", "TF32", or "float32".

    The library leaves float32 to JAX, whose default on a card that has it is TF32, with 10 bits of mantissa: it loses the 2^-12 of
    1 + 2^-12.
    """
    if policy == "mixed_bfloat16":
        return "bfloat16"
    value = 1 + 2.0**-12
    kernel = np.zeros((3, 3, 128, 128), "float32")
    kernel[1, 1] = np.eye(128)
    found = keras.ops.conv(np.full((16, 32, 32, 128), value, "float32"), kernel, padding="same")
    return "float32" if np.all(keras.ops.convert_to_numpy(found) == value) else "TF32"


def kernels(trace, count=15):
    """Where the device's time goes, from JAX's profiler.

    Args:
        trace: contents of its Perfetto file.
        count: of the longest kernels that are listed.

    Returns:
        "span_seconds" from the first kernel to the end of the last one, "busy_share": of it, in which a kernel ran, and "kernels":
        for each kind, the longest first, its share of the time of all kernels, how often it ran, and for how many microseconds on
        average. Without kernels in the trace, "threads" has the names of those that are in it.
    """
    events = trace["traceEvents"] if isinstance(trace, dict) else trace
    processes = {e["pid"]: e["args"]["name"] for e in events if e.get("name") == "process_name"}
    threads = {(e["pid"], e.get("tid")): e["args"]["name"] for e in events if e.get("name") == "thread_name"}
    ran = [
        event
        for event in events
        if event.get("ph") == "X"
        and "/device:" in processes.get(event["pid"], "")
        # Other threads repeat the kernels by module, operation, or source.
        and threads.get((event["pid"], event.get("tid")), "").startswith("Stream")
    ]
    if not ran:
        return {"busy_share": None, "kernels": [], "threads": sorted(set(threads.values()))[:40]}
    total, number = Counter(), Counter()
    for event in ran:
        name = re.sub(r"[._]\d+(?=$|[._])", "", event["name"])[:90]
        total[name] += event["dur"]
        number[name] += 1
    busy, end = 0, -1
    for event in sorted(ran, key=lambda event: event["ts"]):  # streams overlap
        last = event["ts"] + event["dur"]
        busy += max(0, last - max(end, event["ts"]))
        end = max(end, last)
    span = end - min(event["ts"] for event in ran)
    all_of_them = sum(total.values())
    longest = [
        {
            "kernel": name,
            "share": round(microseconds / all_of_them, 4),
            "calls": number[name],
            "microseconds": round(microseconds / number[name], 2),
        }
        for name, microseconds in total.most_common(count)
    ]
    return {"span_seconds": span / 1e6, "busy_share": round(busy / span, 4), "kernels": longest}


def matrix_rates(size, repeats=20):
    """FLOP/s of a square matrix product in bfloat16, in TF32, and in float32; medians."""
    import jax

    rates = {}
    for name, dtype, precision in (
        ("bfloat16", "bfloat16", None),
        ("TF32", "float32", "tensorfloat32"),
        ("float32", "float32", "highest"),
    ):
        keys = jax.random.split(jax.random.key(0))
        left, right = (jax.random.normal(key, (size, size), dtype) for key in keys)
        product = jax.jit(lambda a, b, precision=precision: jax.numpy.matmul(a, b, precision=precision))
        product(left, right).block_until_ready()
        seconds = []
        for _ in range(repeats):
            begun = time.perf_counter()
            product(left, right).block_until_ready()
            seconds.append(time.perf_counter() - begun)
        rates[name] = 2 * size**3 / statistics.median(seconds)
    return rates


# What becomes of the measurements.


def rows(found, rates, plan):
    """Rows of `report` from what `measure` found, and the card's `matrix_rates`."""
    name, policy = found["network"], found["policy"].removeprefix("mixed_")
    precision = policy if found["products"] == policy else f"{policy} with {found['products']} products"
    described = f"{name}, {found['side']}², batches of {found['batch_size']}, {precision}"
    per_image = [seconds / found["images"] for seconds in found["seconds"]]
    details = {
        key: found[key]
        for key in ("images", "steps_a_call", "products", "first_epoch_seconds", "peak_memory_gb", "loss_difference")
        if key in found
    }
    common = dict(unit="seconds per image", ours=per_image, **details)
    if found["kind"] == "profile":
        return {f"profile/{name}": _profile_row(found["profile"], described, common)}
    if found["kind"] == "smaller map":
        return {
            f"smaller map/{name}": row(
                f"training step on JAX with convolutions after an upsampling on the smaller map: {described}",
                "the same step with these convolutions on the enlarged map, by turns in one process",
                theirs=[seconds / found["images"] for seconds in found["seconds_enlarged"]],
                note=f"the losses of both agree to {found['loss_difference']:.1e}.",
                **common,
            )
        }
    best = rates[found["products"]]
    reached = found["flops_per_image"] / statistics.median(per_image)
    made = {
        f"utilisation in {policy}/{name}": row(
            f"share of the card's best matrix product that training on JAX reaches: {described}",
            f"products of {plan.matrix}² matrices in {found['products']}, {best / 1e12:.3g} TFLOP/s",
            ratio=reached / best,
            flops_per_image=found["flops_per_image"],
            tflops=round(reached / 1e12, 1),
            images_per_second=round(1 / statistics.median(per_image)),
            **common,
        )
    }
    if name == "polychromify" and found["images"] == Plan.whole:
        made[f"25 epochs in {policy}"] = row(
            f"training steps of Polychromify's 25 epochs of 100,000 images, {precision}",
            "60 seconds; the paper took 42 minutes",
            goal=1.0,
            unit="seconds for 25 epochs, of each epoch's",
            ours=[25 * seconds for seconds in found["seconds"]],
            theirs=[60.0],
        )
    return made


def _profile_row(profile, described, common):
    note = "the profiler saw no kernels of a card."
    if profile["kernels"]:
        longest = ", ".join(
            f"{each['kernel']} {each['share']:.0%} ({each['microseconds']:.0f} µs each)"
            for each in profile["kernels"][:3]
        )
        note = (
            f"kernels run {profile['busy_share']:.0%} of the time, {common['steps_a_call']} steps a call; most of the busy "
            f"time is {longest}."
        )
    what = f"where the card's time goes, by JAX's profiler: {described}"
    return row(what, None, note=note, **common, **profile)


def _work(wave, plan, rates, of_machine, path):
    """Run the jobs of a wave and write their rows as they come; the jobs that failed."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "lock"
        lock.touch()

        def child(job):
            output = Path(folder) / f"{'-'.join(job)}.json"
            command = [
                sys.executable,
                "-m",
                "benchmarks.gpu",
                *["--tiny"] * (plan is TINY),
                "--child",
                *job,
                lock,
                output,
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            return json.loads(output.read_text()) if done.returncode == 0 else done.stderr[-1500:]

        with ThreadPoolExecutor(len(wave)) as pool:
            waiting = {pool.submit(child, job): job for job in wave}
            for done in as_completed(waiting):
                job, found = waiting[done], done.result()
                if isinstance(found, str):
                    failed.append(job)
                    print(f"{' '.join(job)} failed: {found}", flush=True)
                    continue
                made = rows(found, rates, plan)
                report.write(made, *of_machine, path)
                for key, each in made.items():
                    ratio = "" if each["ratio"] is None else f"{each['ratio']}, "
                    print(f"{key}: {ratio}{each['note'] or each['details']}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", help="default all, with --tiny polychromify and gan")
    parser.add_argument("--minutes", type=float, default=8, help="that the whole may take, default 8")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal on a CPU, at sizes that say nothing")
    parser.add_argument("--file", type=Path, default=report.PATH, help="default results/bench.json")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    # Processes share the card, so that none may reserve most of its memory.
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    plan = TINY if given.tiny else Plan()
    if given.tiny:
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")  # most of the time is compilation
    try:
        if given.child:
            *job, lock, output = given.child
            Path(output).write_text(json.dumps(measure(Job(*job), plan, Turn(lock))))
            return
        sys.exit(bool(_measure_all(given, plan)))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _measure_all(given, plan):
    """Measure the networks that are `given` on the command line; the jobs that failed."""
    begun = time.monotonic()
    if given.tiny and given.file == report.PATH:
        raise InputError("--tiny does not go into results/bench.json: name another --file.")
    of_machine = machine.hardware(), machine.versions(), machine.git_commit()
    if keras.backend.backend() != "jax" or not (given.tiny or of_machine[0]["accelerators"]):
        raise InputError(
            "There is no GPU, or not JAX: set KERAS_BACKEND=jax on a machine with one. --tiny rehearses on a CPU, and `make "
            "bench` measures one."
        )
    jobs = waves(given.networks or plan.networks, plan.side_by_side)
    rates = matrix_rates(plan.matrix)
    print({name: f"{rate / 1e12:.3g} TFLOP/s" for name, rate in rates.items()}, flush=True)
    failed = []
    seconds = 60 * given.minutes - (time.monotonic() - begun)
    left_out = run(jobs, lambda wave: failed.extend(_work(wave, plan, rates, of_machine, given.file)), seconds)
    for job in left_out:
        print(f"{' '.join(job)}: left out, because the {given.minutes:g} minutes do not suffice.", flush=True)
    if given.file == report.PATH:
        report.write_readme(report.read())
    return failed


if __name__ == "__main__":
    main()
