"""Visitors' files, opened and written in a process of their own, whose memory and time are limited.

A file may be made to exhaust whoever opens it. Each file is therefore opened in a process of its own, forked from a small one that
holds Pillow and no network, and ended with the request. The network never sees a file, nor this process a network: it sends the
pixels to the process that holds the networks, and gets them back in colour.

A message is a plain value and a list of buffers. The parent sends the job, {"do": name of a job} and the file's bytes. The child
answers with any number of {"call": "predict_ab" or "colorize", …} and arrays, to each of which the parent replies with an array;
the last message is {"done": …} and the results, or {"refused": a sentence}.
"""

import contextlib
import io
import multiprocessing
import resource
import threading
from dataclasses import dataclass
from multiprocessing import connection

import numpy as np
from PIL import Image

from colorize_lib import images
from colorize_lib.errors import InputError, is_out_of_memory

PREVIEW = 1600  # pixels of a preview's longer side
FAILED = "Something went wrong here, and the terminal of the server says what. Try again."
MAX_SIDE = 20_000  # pixels; a longer strip costs far more than its number of pixels suggests


class Refused(InputError):
    """What a visitor sent cannot be used. The sentence is for the visitor's eyes: it says nothing of this machine."""


@dataclass(frozen=True)
class Limits:
    """What one file may cost: address space in `memory` bytes, and `seconds` of the processor for each job.

    On the clock it may take `patience` times as long, because other work waits for the same processor.
    """

    memory: int = 1536 << 20
    seconds: int = 20
    patience: int = 5


def run(job, content, limits, calls=(), stop=None):
    """Do a job with a file in a process of its own, and return what it sent: (plain value, list of bytes).

    Args:
        job: {"do": "open", "preview" or "download"}.
        content: bytes of the file.
        limits: `Limits`.
        calls: {name: function}, `predict_ab(preview)` and `colorize(pixels, ab)`, which do what those of a `Colorizer` do.
        stop: `multiprocessing.connection.Connection`; the process ends as soon as something can be read there.

    Raises:
        Refused: the file cannot be used, or costs more than the limits.
        Stopped: by `stop`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, limits), daemon=True)
    process.start()
    theirs.close()
    clock = threading.Timer(limits.patience * limits.seconds, process.kill)
    clock.start()
    try:
        _send(ours, job, [content])
        while True:
            if stop in connection.wait([ours, *([stop] if stop else [])]):
                raise Stopped
            value, buffers = _receive(ours)
            if "call" in value:
                arrays = [_array(*kind, buffer) for kind, buffer in zip(value["arrays"], buffers, strict=True)]
                _send_arrays(ours, {}, calls[value["call"]](*arrays))
            elif "refused" in value:
                raise Refused(value["refused"])
            else:
                return value["done"], buffers
    except (EOFError, OSError) as error:  # the system ended it, or the clock did
        raise Refused(
            f"This file takes longer than the {limits.seconds} seconds, or more than the {limits.memory >> 20:,} MB of memory, "
            "that a photograph is given here: save it as an ordinary JPEG or PNG, or make it smaller."
        ) from error
    finally:
        clock.cancel()
        process.kill()
        process.join()
        process.close()
        ours.close()


class Stopped(Exception):
    """The visitor who wanted the result has left."""


def _send(pipe, value, buffers):
    pipe.send((value, len(buffers)))
    for buffer in buffers:
        pipe.send_bytes(memoryview(buffer).cast("B"))


def _receive(pipe):
    value, count = pipe.recv()
    return value, [pipe.recv_bytes() for _ in range(count)]


def _send_arrays(pipe, value, *arrays):
    arrays = [np.ascontiguousarray(array) for array in arrays]
    _send(pipe, {**value, "arrays": [(array.shape, array.dtype.str) for array in arrays]}, arrays)


def _array(shape, dtype, buffer):
    return np.frombuffer(buffer, dtype).reshape(shape)


# In the child


def _serve(pipe, limits):
    resource.setrlimit(resource.RLIMIT_CPU, (limits.seconds, limits.seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS knows no such limit
        resource.setrlimit(resource.RLIMIT_AS, (limits.memory, limits.memory))
    job, (content,) = _receive(pipe)
    try:
        value, buffers = _JOBS[job["do"]](pipe, content)
    except Exception as error:
        cause = error.__cause__ or error
        if is_out_of_memory(type(cause).__name__, cause):
            return  # the parent says why the answer is missing
        reason = str(error) if isinstance(error, InputError) else "it cannot be read"
        _send(pipe, {"refused": f"This file cannot be used: {reason.rstrip('.')}."}, [])
    else:
        _send(pipe, {"done": value}, buffers)


def _decoded(content):
    """The photo's pixels, uint8 (height, width, 3)."""
    photo = images.Photo(io.BytesIO(content))
    width, height = photo.size
    if max(width, height) > MAX_SIDE:
        raise InputError(f"it has {width} × {height} pixels, and no side may have more than {MAX_SIDE:,}")
    pixels = photo.frame().eight_bits()
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


def _preview(pixels):
    """The photo at most `PREVIEW` pixels wide and high, as a JPEG file. Networks see every photo in this form."""
    image = Image.fromarray(pixels).convert("RGB")
    image.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
    return _jpeg(image)


def _jpeg(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def _open(pipe, content):
    """What the photo is, and its preview."""
    pixels = _decoded(content)
    height, width = pixels.shape[:2]
    preview = _preview(pixels)
    small = _decoded(preview).astype("int16")
    return {"width": width, "height": height, "colour": bool(np.ptp(small, axis=-1).mean() > 2)}, [preview]


def _colorize_preview(pipe, content):
    """A preview in colour."""
    pixels = _decoded(content)
    if max(pixels.shape) > PREVIEW:
        raise InputError(f"a preview has at most {PREVIEW} pixels a side")
    network = _Network(pipe)
    return {}, [_jpeg(Image.fromarray(network.colorize(pixels, ab=network.call("predict_ab", pixels))))]


def _download(pipe, content):
    """The photo in colour, as its file was."""
    from colorize_lib.apps import photographs

    _decoded(content)
    result = photographs.colorize_image(_Network(pipe), content)
    width, height = result.size
    kind = Image.MIME.get(result.kind, "application/octet-stream")
    suffix = images.SUFFIXES[result.kind][0].lstrip(".")
    return {"type": kind, "suffix": suffix, "width": width, "height": height, "notes": result.notes}, [result.content]


class _Network:
    """Stands for a `Colorizer` in this process: the one that holds the networks does the work, with the settings of the job."""

    def __init__(self, pipe):
        self.pipe = pipe

    def predict_ab(self, photo):
        """The colours that the network sees in the photo's preview, the same for the preview and for the download."""
        return self.call("predict_ab", _decoded(_preview(images.to_eight_bits(photo))))

    def colorize(self, photo, saturation=None, ab=None):
        """The photo in the colours `ab`; its saturation is the job's."""
        return self.call("colorize", photo, ab)

    def call(self, name, *arrays):
        """What a function of the process with the networks returns."""
        _send_arrays(self.pipe, {"call": name}, *arrays)
        value, (buffer,) = _receive(self.pipe)
        return _array(*value["arrays"][0], buffer)


_JOBS = {"open": _open, "preview": _colorize_preview, "download": _download}
