"""Contenders: processes that do a given amount of work whenever they are asked, and how they take turns.

    python -m benchmarks.worker CONTENDER OPTIONS     (JSON; started by `Worker`)

A contender is a function of `benchmarks.contenders` that takes options, sets everything up, and returns a function `prepare` of
an amount of work, which returns a function without arguments that does that work: only the last one is timed. What it returns,
a dictionary or None, comes with the measurement; "seconds" in it replace the measured ones.
"""

import contextlib
import importlib
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from colorize_lib.errors import InputError


class Worker:
    """The process of one contender, to be used in a `with`.

    Args:
        contender: name of a function of `benchmarks.contenders`.
        environment: what its environment has beside ours, such as KERAS_BACKEND.
        options: the function's arguments.
    """

    def __init__(self, contender, environment=None, **options):
        self.name = contender
        self._ready = False
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 – closed at the end of the `with`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", contender, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | (environment or {}),
        )

    def wait(self):
        """Wait until it is set up: several workers that are made one after the other start at the same time."""
        if not self._ready:
            self._answer()
            self._ready = True

    def measure(self, amount):
        """Do `amount` of work once: {"seconds", "peak_memory" of the process so far and its "own_memory" now in bytes, …}."""
        self.wait()
        with contextlib.suppress(BrokenPipeError):  # it has failed, and the answer says why
            print(amount, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._ready = True
            self._errors.seek(0)
            raise InputError(f"The contender {self.name} failed: {self._errors.read()[-2000:].strip()}")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        if not self._ready:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()


class Clock:
    """The time that a group of rows may take. What is left out for its sake is noted in `left_out`, in words."""

    def __init__(self, seconds=float("inf")):
        self.seconds, self.begun, self.left_out = seconds, time.perf_counter(), []

    def left(self):
        """Seconds that are left; below 0 if more were taken."""
        return self.seconds - (time.perf_counter() - self.begun)

    def over(self, what, needed=0.0):
        """Whether less than the `needed` seconds are left; if so, `what` is left out."""
        over = self.left() < needed
        if over:
            self.left_out.append(what)
        return over

    def fitting(self, wanted, seconds, what):
        """How much of the `wanted` work fits into the time that is left at `seconds` for each unit; the rest is left out."""
        amount = int(min(wanted, max(1, self.left() / max(seconds, 1e-9))))
        if amount < wanted:
            self.left_out.append(f"{wanted - amount:,} of {wanted:,} {what}")
        return amount


def by_turns(workers, amount, repetitions, clock=None):
    """{name: [a measurement each time]} of `Worker`s that do `amount` of work, each once, then each once again, and so on.

    Args:
        workers: {name: Worker}.
        amount: of work, the same for all, or {name: amount}.
        repetitions: how often; fewer times, but at least once, where the `clock` has not enough time left for another one.
    """
    found, taken = {name: [] for name in workers}, 0.0
    for done in range(repetitions):
        if done and clock is not None and clock.over(f"{repetitions - done} of {repetitions} runs", needed=taken):
            break
        begun = time.perf_counter()
        for name, worker in workers.items():
            found[name].append(worker.measure(amount[name] if isinstance(amount, dict) else amount))
        taken = time.perf_counter() - begun
    return found


def enough(workers, seconds, least=2):
    """{name: amount of work that keeps it busy for about `seconds`} of `Worker`s, after a first run that warms each up."""
    for worker in workers.values():
        worker.wait()
    amount = {}
    for name, worker in workers.items():
        worker.measure(least)
        amount[name] = max(least, round(seconds * least / worker.measure(least)["seconds"]))
    return amount


def median(measurements, amount=1):
    """Median of their seconds for one unit of work."""
    return statistics.median(found["seconds"] for found in measurements) / amount


def main():
    contender, options = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    prepare = getattr(importlib.import_module("benchmarks.contenders"), contender)(**json.loads(options))
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        run = prepare(int(line))
        begun = time.perf_counter()
        found = run()
        seconds = time.perf_counter() - begun
        measured = {"seconds": seconds, "peak_memory": _memory("VmHWM"), "own_memory": _memory("RssAnon")}
        print(json.dumps(measured | (found or {})), file=answers, flush=True)


def _memory(kind):
    """Bytes of this process by Linux: "VmHWM", the most so far, or "RssAnon", now and without the pages of mapped files.

    Elsewhere both are the most so far. (What `getrusage` says on Linux contains the process that started it.)
    """
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.search(rf"{kind}:\s+(\d+)", status.read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


if __name__ == "__main__":
    main()
