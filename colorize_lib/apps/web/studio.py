"""The process that holds the networks, and how the server talks to it.

The server starts it once; it loads Keras and the first network while the page is there already. It has a few lanes, one pipe
each: on each it does one job after another, a file by a process of its own (`decoding`), the colours by a network in turn. A
message on a lane during a job is the order to abandon it.
"""

import asyncio
import hashlib
import logging
import multiprocessing
import os
import signal
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np

from colorize_lib.apps.web import decoding
from colorize_lib.apps.web.decoding import Refused
from colorize_lib.errors import InputError

LANES = 2
MAX_HINTS = 100
_KEPT = 32  # predictions that are kept: moving the saturation, or a download, asks for the same ones again


class Reporter:
    """A process that reports attributes of this object, as (name, value), until `RESULT` is there; for one event loop.

    Attributes:
        failure: the sentence that says why there is no result, or None.
    """

    RESULT = ENDED = ""  # the attribute that comes last, and the sentence for a process that ends before
    failure = None

    def spawn(self, work, *arguments):
        """Start the process, which calls `work(report, *arguments)`."""
        self.failure = None
        context = multiprocessing.get_context("spawn")
        reports, told = context.Pipe(duplex=False)
        self._process = context.Process(target=_work_and_report, args=(told, work, arguments))
        self._process.start()
        told.close()
        self._following = asyncio.create_task(self._follow(reports))

    async def _follow(self, reports):
        while getattr(self, self.RESULT) is None and self.failure is None:
            try:
                name, value = await asyncio.to_thread(reports.recv)
            except EOFError:
                name, value = "failure", self.ENDED
            setattr(self, name, value)

    async def wait_until_ready(self):
        """Wait until the result is there. Raises InputError if there is none."""
        await asyncio.shield(self._following)
        if self.failure:
            raise InputError(self.failure)

    def stop(self):
        """End the process."""
        self._process.kill()
        self._process.join()


def _work_and_report(reports, work, arguments):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the server, which ends this process
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        work(lambda name, value: reports.send((name, value)), *arguments)
    except InputError as error:
        reports.send(("failure", str(error)))


class Studio(Reporter):
    """Start and stop the process, and give it jobs; for one event loop.

    Args:
        run_folders: runs whose networks are offered next to the bundled and the public ones.

    Attributes:
        networks: what the process offers, a list of dictionaries; None until it is ready.
        failure: the sentence that says why it cannot start, or None.
    """

    RESULT, ENDED = "networks", "The process of the networks ended while it started: is there enough memory?"

    networks = None

    def __init__(self, run_folders=()):
        self.run_folders = [str(folder) for folder in run_folders]
        self._threads = ThreadPoolExecutor(LANES + 1, thread_name_prefix="studio")
        self._lanes = asyncio.Queue()

    def start(self):
        """Start the process; it is ready when `networks` is a list."""
        self.networks, self._lanes = None, asyncio.Queue()
        ours, theirs = zip(*(multiprocessing.Pipe() for _ in range(LANES)), strict=True)
        self.spawn(_serve, theirs, self.run_folders)
        for lane, end in zip(ours, theirs, strict=True):
            end.close()
            self._lanes.put_nowait(lane)

    def stop(self):
        """End the process; whoever waits for it gets an error."""
        self._lanes = None
        super().stop()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run(self, job, content):
        """Do a job, `decoding.run`'s or one with the settings of `Networks.colorize`, and return (plain value, list of bytes).

        Cancelling it ends the process that opened the file.

        Raises:
            Refused: what was sent cannot be used, or not now.
        """
        lanes = self._lanes
        lane = await lanes.get()
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, lane.send, (job, content))
            answer = asyncio.ensure_future(self._read(lane))
            try:
                error, value, buffers = await asyncio.shield(answer)
            except asyncio.CancelledError:
                lane.send("stop")
                await answer  # the lane is free then
                raise
        except (EOFError, OSError) as error:
            if lanes is self._lanes:
                logging.getLogger(__name__).error("The process of the networks ended: it is started again.")
                super().stop()
                self.start()
            raise Refused("The networks had to be started again: try again in a moment.") from error
        finally:
            if lanes is self._lanes:
                lanes.put_nowait(lane)
        if error:
            raise Refused(error)
        return value, buffers

    async def _read(self, pipe):
        return await asyncio.get_running_loop().run_in_executor(self._threads, pipe.recv)


# In the process


def _serve(report, lanes, run_folders):
    networks = Networks(run_folders)
    networks.warm_up()
    report("networks", networks.described())
    threads = [threading.Thread(target=_work, args=(lane, networks), daemon=True) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()  # they end with the server


def _work(lane, networks):
    limits = decoding.Limits()
    while True:
        try:
            message = lane.recv()
        except (EOFError, OSError):
            return
        if message == "stop":  # of a job that was done by then
            continue
        job, content = message
        try:
            calls = networks.calls(job) if job["do"] != "open" else {}
            seconds = limits.seconds * (4 if job["do"] == "download" else 1)  # writing some formats takes long
            value, buffers = decoding.run(job, content, replace(limits, seconds=seconds), calls, lane)
            answer = None, value, buffers
        except Refused as error:
            answer = str(error), None, []
        except decoding.Stopped:
            answer = "It was cancelled.", None, []
        except Exception:
            logging.getLogger(__name__).exception("A job failed")
            answer = decoding.FAILED, None, []
        try:
            lane.send(answer)
        except OSError:
            return


class Networks:
    """The networks, one of which works at a time.

    Args:
        run_folders: see `Studio`.

    Raises:
        InputError: a run folder without networks.
    """

    def __init__(self, run_folders=()):
        from colorize_lib.apps import trained

        self._found = {item.label: item for item in trained.find(run_folders)}
        self._titles = trained.titles(self._found.values())
        self._loaded = {}
        self._predictions = OrderedDict()
        self._lock = threading.Lock()

    def described(self):
        """For each network its `name` in requests, `title` in words, and what it takes: `hints`, `vivid` (its default or None)."""
        return [
            {
                "name": label,
                "title": text,
                "hints": item.guided,
                "vivid": _vivid(self._colorizer(label)) if item.kind == "bundled" else None,
            }
            for (label, item), text in zip(self._found.items(), self._titles, strict=True)
        ]

    def warm_up(self):
        """Load the first network and let it work once, so that the first visitor does not wait for it."""
        gray = np.full((64, 64, 3), 128, "uint8")
        label = next(iter(self._found))
        self.colorize(gray, self.predict_ab(gray, label), label)

    def calls(self, job):
        """The functions `predict_ab(preview)` and `colorize(pixels, ab)` by name, with the network and the settings of a job.

        Raises:
            Refused: no such network, hint or number.
        """
        from colorize_lib.apps.guided import hint

        label, points = job.get("network"), job.get("hints", [])
        if not isinstance(label, str) or label not in self._found:
            raise Refused("There is no network of this name here: load the page again.")
        if not isinstance(points, list) or len(points) > MAX_HINTS or not all(_is_point(point) for point in points):
            raise Refused(f"Hints are a list of at most {MAX_HINTS} points with their colours.")
        try:
            hints = tuple(hint(*point) for point in points) if self._found[label].guided else ()
        except InputError as error:
            raise Refused(str(error)) from error
        saturation = _number(job, "saturation", 2)
        vivid, saturation = _number(job, "vivid", 1), 1.0 if saturation is None else saturation
        return {
            "predict_ab": partial(self.predict_ab, label=label, hints=hints, vivid=vivid),
            "colorize": partial(self.colorize, label=label, saturation=saturation),
        }

    def predict_ab(self, preview, label, hints=(), vivid=None):
        """The colours that a network sees in a preview, see `Colorizer.predict_ab`; the latest ones are kept."""
        with self._lock:
            colorizer = self._colorizer(label)
            options = {"hints": hints} if hints else {}
            if vivid is not None and _vivid(colorizer) is not None:
                options["vivid"] = vivid
            key = hashlib.sha256(preview).digest(), preview.shape, label, hints, options.get("vivid")
            if key not in self._predictions:
                self._predictions[key] = colorizer.predict_ab(preview, **options)
                if len(self._predictions) > _KEPT:
                    self._predictions.popitem(last=False)
            return self._predictions[key]

    def colorize(self, pixels, ab, label, saturation=1.0):
        """A photo in the colours `ab`, see `Colorizer.colorize`."""
        with self._lock:
            return self._colorizer(label).colorize(pixels, saturation, ab)

    def _colorizer(self, label):
        if label not in self._loaded:
            self._loaded[label] = self._found[label].load()
        return self._loaded[label]


def _vivid(colorizer):
    """How vivid the colorizer is by default, from 0, careful, to 1; None: it has no such setting."""
    return getattr(colorizer, "vivid", None)


def _is_point(point):
    return isinstance(point, list) and len(point) == 3


def _number(job, name, most):
    """A number from 0 to `most` of a job; None if it has none."""
    value = job.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise Refused(f"The {name} must be a number from 0 to {most}.")
    return float(value)
