"""Training throughput of the papers' networks on one GPU, through `fit` on JAX with the images in its memory.

    KERAS_BACKEND=jax python -m benchmarks.gpu [NAME …]

Every network is trained in a process of its own on random images; processes compile side by side, but only one at a time is
measured, for `EPOCHS` epochs after the one that compiles. Beside it stands the card's own rate: its best matrix product.
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
from pathlib import Path

from benchmarks import report
from benchmarks.report import row

EPOCHS = 5
MATRIX = 8192  # its side
SIDE_BY_SIDE = 11
PROFILED = ("polychromify", "mixed_bfloat16")
IMAGES = 100_000  # Tiny ImageNet's training images, which Polychromify is measured with
POLICIES = ("mixed_bfloat16", "float32")


def matrix_rates(size=MATRIX, repeats=20):
    """FLOP/s of a square matrix product: bfloat16, float32 through TF32 units, float32 proper; medians."""
    import jax

    rates = {}
    for name, dtype, precision in (
        ("bfloat16", "bfloat16", None),
        ("tf32", "float32", "tensorfloat32"),
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


def measure(name, policy, lock, profile=None):
    """Seconds of `EPOCHS` epochs of network `name`, with what they were; `lock`: file that whoever measures holds alone."""
    import keras

    from benchmarks import networks
    from colorize_lib.training import resident

    whole = name == "polychromify" and profile is None
    batches = networks.batches(name, -(-IMAGES // 64) if whole else 60)
    if whole:
        batches.split = batches.split.take(range(IMAGES))
        batches.set_epoch(0)
    model = networks.model(name, policy)
    model(batches[0][0][:1])
    file = open(lock, "w")  # noqa: SIM115
    fcntl.flock(file, fcntl.LOCK_SH)  # compiling: nobody measures

    class Clock(keras.callbacks.Callback):
        seconds = []  # noqa: RUF012

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                fcntl.flock(file, fcntl.LOCK_UN)
                time.sleep(0.2)
                fcntl.flock(file, fcntl.LOCK_EX)
            if epoch == EPOCHS + 1:
                import jax

                options = jax.profiler.ProfileOptions()
                options.python_tracer_level = options.host_tracer_level = 0
                jax.profiler.start_trace(profile, create_perfetto_trace=True, profiler_options=options)
            batches.set_epoch(epoch)
            self.begun = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.begun)
            if epoch == EPOCHS + 1:
                import jax

                jax.profiler.stop_trace()

    clock = Clock()
    model.fit(batches, epochs=EPOCHS + 1 + bool(profile), verbose=0, callbacks=[clock])
    fcntl.flock(file, fcntl.LOCK_UN)
    images, seconds = len(batches.split), clock.seconds[1 : EPOCHS + 1]
    found = {"network": name, "paper": networks.TRAINED[name][0], "policy": policy, "batch_size": batches.batch_size}
    found |= {"side": batches.split.images.shape[1], "images": images, "seconds": [round(s, 4) for s in seconds]}
    found |= {"first_epoch_seconds": round(clock.seconds[0], 2), "calls_an_epoch": resident.calls_an_epoch(batches)}
    found["images_per_second"] = images / statistics.median(seconds)
    found["flops_per_image"] = networks.training_flops(model)
    if profile:
        found["profile"] = kernels(profile)
    return found


def kernels(folder, count=15):
    """Where the device's time goes, from JAX' profiler: share of the traced time by kind of kernel, and the longest kernels."""
    path = next(Path(folder).rglob("perfetto_trace.json.gz"))
    with gzip.open(path, "rt") as file:
        events = json.load(file)
    events = events["traceEvents"] if isinstance(events, dict) else events
    processes = {e["pid"]: e["args"]["name"] for e in events if e.get("name") == "process_name"}
    threads = {(e["pid"], e.get("tid")): e["args"]["name"] for e in events if e.get("name") == "thread_name"}
    on_device = [
        e
        for e in events
        if e.get("ph") == "X"
        and "/device:" in processes.get(e["pid"], "")
        and "XLA" not in threads.get((e["pid"], e.get("tid")), "")
    ]
    if not on_device:
        return {"threads": sorted(set(threads.values()))[:40], "processes": sorted(set(processes.values()))}
    total, number = Counter(), Counter()
    for event in on_device:
        name = re.sub(r"[._]\d+(?=$|[._])", "", event["name"])[:90]
        total[name] += event["dur"]
        number[name] += 1
    span = max(e["ts"] + e["dur"] for e in on_device) - min(e["ts"] for e in on_device)
    longest = [
        {"kernel": name, "share": round(us / span, 4), "calls": number[name]} for name, us in total.most_common(count)
    ]
    return {"span_seconds": span / 1e6, "busy_share": round(sum(total.values()) / span, 4), "kernels": longest}


def rows(found, rates):
    """Rows of `report` from what `measure` found of one network, and the card's `matrix_rates`."""
    name, policy = found["network"], found["policy"].removeprefix("mixed_")
    described = f"{name}, {found['side']}², batches of {found['batch_size']}, {policy}"
    per_image = [seconds / found["images"] for seconds in found["seconds"]]
    best = rates["bfloat16" if policy == "bfloat16" else "tf32"]
    reached = found["flops_per_image"] / statistics.median(per_image)
    details = {key: found[key] for key in ("images", "calls_an_epoch", "first_epoch_seconds") if key in found}
    results = {
        f"utilisation in {policy}/{name}": row(
            f"share of the card's best matrix product that training on JAX reaches: {described}",
            f"products of {MATRIX}² matrices, {best / 1e12:.0f} TFLOP/s",
            unit="seconds per image",
            ours=per_image,
            ratio=reached / best,
            flops_per_image=found["flops_per_image"],
            tflops=round(reached / 1e12, 1),
            images_per_second=round(1 / statistics.median(per_image)),
            **details,
        )
    }
    if name == "polychromify" and found["images"] == IMAGES:
        results[f"25 epochs in {policy}"] = row(
            f"training steps of Polychromify's 25 epochs of 100,000 images, {policy}",
            "60 seconds; the paper took 42 minutes",
            goal=1.0,
            unit="seconds for 25 epochs, of each epoch's",
            ours=[25 * seconds for seconds in found["seconds"]],
            theirs=[60.0],
        )
    if "profile" in found:
        results = {
            f"profile/{name}": row(
                f"where the card's time goes, by JAX' profiler: {described}",
                None,
                unit="seconds per image",
                ours=per_image,
                note=f"kernels run {found['profile']['busy_share']:.0%} of the time",
                **found["profile"],
            )
        }
    return results


def main():
    """Measure all networks, or those named, and put their rows into results/bench.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--file", type=Path, default=report.PATH, help="default results/bench.json")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, policy, profiled, lock, output = arguments.child
        with tempfile.TemporaryDirectory() as folder:
            found = measure(name, policy, lock, folder if profiled == "profiled" else None)
        Path(output).write_text(json.dumps(found))
        return
    from benchmarks.networks import TRAINED
    from colorize_lib.training import machine

    machine = machine.hardware(), machine.versions(), machine.git_commit()
    if not machine[0]["accelerators"] or machine[1]["backend"] != "jax":
        sys.exit(
            "error: there is no GPU, or not JAX: set KERAS_BACKEND=jax on a machine with one; `make bench` is for CPUs."
        )
    names = arguments.names or sorted(TRAINED, key=lambda name: name != "polychromify")
    jobs = [(name, policy, "timed") for policy in POLICIES for name in names]
    jobs.insert(len(names), (*PROFILED, "profiled"))
    rates = matrix_rates()
    print({name: f"{rate / 1e12:.0f} TFLOP/s" for name, rate in rates.items()}, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "lock"
        lock.touch()

        def child(job):
            output = Path(folder) / f"{'-'.join(job)}.json"
            command = [sys.executable, "-m", "benchmarks.gpu", "--child", *job, lock, output]
            environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            return job, json.loads(output.read_text()) if done.returncode == 0 else done.stderr[-1500:]

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for done in as_completed([pool.submit(child, job) for job in jobs]):
                job, found = done.result()
                if isinstance(found, str):
                    print(*job, found, flush=True)
                    continue
                new = rows(found, rates)
                report.write(new, *machine, arguments.file)
                for key, made in new.items():
                    print(f"{key}: {made['ratio']} {made['note'] or made['details']}", flush=True)


if __name__ == "__main__":
    main()
