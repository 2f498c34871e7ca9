"""Training throughput of the papers' networks on one GPU, through `fit` on JAX with the images in its memory.

    KERAS_BACKEND=jax python -m benchmarks.gpu FILE.json [NAME …]

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

EPOCHS = 5
SIDE_BY_SIDE = 11
PROFILED = ("polychromify", "mixed_bfloat16")
IMAGES = 100_000  # Tiny ImageNet's training images, which Polychromify is measured with
POLICIES = ("mixed_bfloat16", "float32")


def matrix_rates(size=8192, repeats=20):
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
    model.fit(batches, epochs=EPOCHS + 1 + bool(profile), verbose=0, shuffle=False, callbacks=[clock])
    fcntl.flock(file, fcntl.LOCK_UN)
    images, seconds = len(batches.split), clock.seconds[1 : EPOCHS + 1]
    found = {"network": name, "paper": networks.TRAINED[name][0], "policy": policy, "batch_size": batches.batch_size}
    found |= {"side": batches.split.images.shape[1], "images": images, "seconds": [round(s, 4) for s in seconds]}
    found |= {"first_epoch_seconds": round(clock.seconds[0], 2), "calls_an_epoch": _calls(model, batches)}
    found["images_per_second"] = images / statistics.median(seconds)
    found["flops_per_image"] = networks.training_flops(model)
    if profile:
        found["profile"] = kernels(profile)
    return found


def _calls(model, batches):
    from colorize_lib import resident

    fits = resident._fits(batches)
    return max(n for n in range(1, resident.CALLS + 1) if len(batches) % n == 0) if fits else len(batches)


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


def main():
    """Measure all networks, or those named, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        name, policy, lock, profiled = arguments.child
        with tempfile.TemporaryDirectory() as folder:
            found = measure(name, policy, lock, folder if profiled == "profiled" else None)
        arguments.file.write_text(json.dumps(found))
        return
    from benchmarks.networks import TRAINED

    names = arguments.names or sorted(TRAINED, key=lambda name: name != "polychromify")
    jobs = [(name, policy, "timed") for policy in POLICIES for name in names]
    jobs.insert(len(names), (*PROFILED, "profiled"))
    from colorize_lib import runs

    results = []
    found = {"hardware": runs.hardware(), "versions": runs.versions(), "commit": runs.git_commit()}
    found |= {"matrix_product_flops": matrix_rates(), "networks": results}
    print({name: f"{rate / 1e12:.0f} TFLOP/s" for name, rate in found["matrix_product_flops"].items()}, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "lock"
        lock.touch()

        def child(job):
            file = Path(folder) / f"{'-'.join(job)}.json"
            command = [sys.executable, "-m", "benchmarks.gpu", file, "--child", *job[:2], lock, job[2]]
            environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                return {"network": job[0], "policy": job[1], "error": done.stderr[-1500:]}
            return json.loads(file.read_text())

        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            for job in as_completed([pool.submit(child, job) for job in jobs]):
                result = job.result()
                results.append(result)
                if "error" in result:
                    print(result["network"], result["policy"], result["error"], flush=True)
                else:
                    rate = result["images_per_second"]
                    print(
                        f"{result['network']:<22}{result['policy']:<16}{rate:>10.0f} images/s",
                        f"{rate * result['flops_per_image'] / 1e12:6.1f} TFLOP/s",
                        flush=True,
                    )
                arguments.file.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
