"""Colorizing files of photographs: many at once, each as its file was, and nothing lost on the way.

A result keeps its photograph's resolution, format, compression, depth, transparency, colour profile and metadata, as far as the
format can hold them; what it cannot hold is reported. An existing file is never replaced unless `existing="overwrite"` and this
module made it, which the list `.colorized.jsonl` in each folder of results records.
"""

import contextlib
import glob
import io
import json
import os
import sys
import threading
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import joblib
import numpy as np

from colorize_lib import files, images
from colorize_lib.apps import films
from colorize_lib.errors import InputError, is_out_of_memory, reason

LIST = ".colorized.jsonl"
FILMS = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".wmv")
# Memory of a pixel while its photograph is decoded, colorized and encoded, for 8 and 16 bits a sample; 15 and 18 were measured.
_BYTES_PER_PIXEL = {1: 20, 2: 32}
_STANDARD = Path("-")
MOST_THREADS = 8  # each holds a photograph, and the network computes in threads of its own


@dataclass(frozen=True)
class Settings:
    """How photographs are colorized.

    Args:
        saturation: factor on the predicted ab, 0 to 4.
        vivid: 0 careful to 1 vivid, for a network that has this range (`distribution.VividColorizer`); None: its default.
        side_by_side: write the gray photograph and the result next to each other.
        hints: of `colorize_lib.apps.guided.hint`, for a network that takes them.
        first_page: colorize only the first page or frame of a file that holds several.
        tolerant: colorize what there is of a file that ends early.
        kind: format of the results, one of `images.WRITABLE`; None: each photograph's own.
        quality: 1 to 100, of lossy formats; None: each photograph's own.
        memory: GB that the photographs which are colorized at the same time may take; one that needs more is refused.
        keep_dates: give the results the dates of their photographs' files.
    """

    saturation: float = 1.0
    vivid: float | None = None
    side_by_side: bool = False
    hints: tuple = ()
    first_page: bool = False
    tolerant: bool = False
    kind: str | None = None
    quality: int | None = None
    memory: float = 4.0
    keep_dates: bool = False


@dataclass
class Result:
    """A colorized photograph: the `content` of its file, its format `kind`, its (width, height), and `notes` on what was lost."""

    content: bytes
    kind: str
    size: tuple
    notes: list


@dataclass
class Report:
    """What became of a call's files: `done` {photograph: result}, `left` and `failed` {photograph: reason}, `notes`, `skipped`."""

    done: dict = field(default_factory=dict)
    left: dict = field(default_factory=dict)
    failed: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    skipped: list = field(default_factory=list)

    def summary(self):
        """One line on how many photographs went where, and how many files were left out and why."""
        places = Counter(str(target.parent) for target in self.done.values())
        where = ", ".join(
            f"{count} in {'this folder' if place == '.' else place}" for place, count in list(places.items())[:3]
        )
        more = f" and {len(places) - 3} other folders" if len(places) > 3 else ""
        parts = [f"{_counted(len(self.done), 'photograph')} colorized" + (f" ({where}{more})" if places else "")]
        if self.left:
            parts.append(f"{len(self.left)} left alone, because files with the names of their results already exist")
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        for why, count in Counter(why for _, why in self.skipped).items():
            parts.append(f"{_counted(count, 'file')} skipped: {why}")
        return "; ".join(parts) + "."


def _counted(count, what):
    return f"{count} {what}{'' if count == 1 else 's'}"


def find(names):
    """Photographs named by `names`: files, folders (their photographs, at any depth), patterns such as "*.jpg", and "-".

    Raises InputError for a name that matches nothing.
    """
    return [path for path, _ in _listed(names, Report())]


def _listed(names, report):
    """[(photograph, its place in a folder of results)]; what is passed over goes to `report.skipped`."""
    found, lists = {}, _Lists()
    for name in names:
        path = Path(name)
        if not name or not (name == "-" or path.is_dir() or os.path.lexists(path)):
            matches = [Path(match) for match in sorted(glob.glob(name, recursive=True)) if os.path.isfile(match)]
            matches = [(match, Path(match.name)) for match in matches]
        elif path.is_dir():
            matches = [(file, file.relative_to(path)) for file in _walk(path, report)]
        else:
            matches = [(path, Path(path.name))]
        if not matches and not path.is_dir():
            raise InputError(
                f"There is no photograph at {name!r}: name files, folders, or a pattern in quotation marks."
            )
        for file, place in matches:
            if file != _STANDARD and lists.has(file):
                report.skipped.append((file, "results of earlier calls"))
            else:
                found.setdefault(os.path.abspath(file), (file, place))
    if not found and not any(why == "results of earlier calls" for _, why in report.skipped):
        raise InputError(f"There is no photograph at {', '.join(names)}: name a folder that holds some.")
    return _distinct(list(found.values()))


def _walk(folder, report):
    """Photographs below a folder, sorted; hidden files and folders, links to folders, and all but regular files are left out."""
    found = []
    for parent, folders, names in files.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if name.startswith("."):
                if name != LIST:
                    report.skipped.append((path, "hidden"))
            elif path.suffix.lower() not in images.READABLE:
                report.skipped.append((path, f"{path.suffix.lower() or 'no suffix'} is not a photograph's suffix"))
            elif not path.is_file():
                report.skipped.append((path, "not a regular file"))
            else:
                found.append(path)
    return found


def _distinct(photographs):
    """Places that differ, whatever the order of the photographs: those of one name keep as much of their folders as it takes."""
    counts = Counter(place for _, place in photographs)
    shared = [os.path.dirname(os.path.abspath(file)) for file, place in photographs if counts[place] > 1]
    if shared:
        common = os.path.commonpath(shared)
        photographs = [
            (file, Path(os.path.relpath(os.path.abspath(file), common)) if counts[place] > 1 else place)
            for file, place in photographs
        ]
    return photographs


def colorize_files(
    names, model=None, *, output=None, weights=None, size=None, existing="leave", settings=None, report=None
):
    """Colorize photographs and write the results. One that fails does not stop the others.

    Args:
        names: see `find`; the photograph from standard input ("-") is written to standard output, unless there is an `output`.
        model: name of the network, or folder of a system that a run trained; None: `trained.DEFAULT`.
        output: folder of the results, under the photographs' names; None: next to each photograph, as NAME-colorized.
        weights: file of weights; None: the bundled or the public ones.
        size: side of the network's input in pixels; None: the network's own.
        existing: what to do with a result that already exists: "leave" it (and report it), "skip" it, or "overwrite" it if it was
            made here, by this function, from the same photograph, and not changed since.
        settings: `Settings`.
        report: `Report` that is filled as the work proceeds, for a caller who is interrupted.

    Returns:
        The `Report`.

    Raises:
        InputError: nothing to colorize, no such model or weights.
    """
    from tqdm import tqdm

    from colorize_lib.apps import trained
    from colorize_lib.apps.guided import GuidedColorizer
    from colorize_lib.training.distribution import VividColorizer

    settings, report = settings or Settings(), Report() if report is None else report
    photographs = _listed(names, report)
    if not photographs:
        return report
    model = model or trained.DEFAULT
    colorizer = trained.load(model, weights, **({"size": size} if size else {}))
    if settings.vivid is not None:
        if not isinstance(colorizer, VividColorizer):
            raise InputError(f"{model} has no range from careful to vivid: leave out --vivid, or choose -m natural.")
        colorizer = colorizer.at(settings.vivid)
    if settings.hints and (len(photographs) > 1 or not isinstance(colorizer, GuidedColorizer)):
        raise InputError("Hints are for one photograph and for a network that takes them: choose -m siggraph17.")
    stems = Counter(place.with_suffix("") for _, place in photographs)
    with _Work(colorizer, output, existing, settings, report) as work:
        for photograph, place in tqdm(photographs, unit="photo", disable=len(photographs) < 2):
            work.add(photograph, place, alone=stems[place.with_suffix("")] == 1)
        work.finish()
    return report


class _Work:
    """The photographs of a call, colorized in several threads and reported in the order in which they were added.

    What decides on names is done in that order, too, so that it does not depend on how fast a thread is. After an exception in the
    `with`, those that are being written are finished and reported.
    """

    def __init__(self, colorizer, output, existing, settings, report):
        self.colorizer, self.output, self.existing = colorizer, output, existing
        self.settings, self.report = settings, report
        self.taken, self.lists = set(), _Lists()
        # Pillow's tolerance of damage is one switch for all threads.
        self.threads = 1 if settings.tolerant else min(MOST_THREADS, joblib.cpu_count())
        self.pool = ThreadPoolExecutor(self.threads)
        self.memory = _Memory(int(settings.memory * 1e9))
        self.waiting = deque()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.pool.shutdown(cancel_futures=True)
        self.finish()

    def add(self, photograph, place, alone):
        """Colorize a photograph; `alone`: whether no other one of the call has its name without the suffix."""
        try:
            task = self._task(photograph, place, alone)
        except Exception as error:
            failed = Future()
            failed.set_exception(error)
            self.waiting.append((photograph, failed))
        else:
            if task is not None:
                self.waiting.append((photograph, self.pool.submit(task)))
        while len(self.waiting) > 2 * self.threads:
            self._collect()

    def finish(self):
        """Wait for all photographs."""
        while self.waiting:
            self._collect()

    def _collect(self):
        photograph, future = self.waiting.popleft()
        if future.cancelled():
            return
        try:
            target, notes = future.result()
        except InputError as error:
            self.report.failed[photograph] = str(error)
        except Exception as error:  # one bad file never stops the others, whatever it makes a library raise
            memory = is_out_of_memory(type(error).__name__, error)
            self.report.failed[photograph] = "memory ran out; make it smaller" if memory else reason(error)
        else:
            self.report.done[photograph] = target
            self.report.notes += [(photograph, note) for note in notes]

    def _task(self, photograph, place, alone):
        """A function that colorizes the photograph or film, and returns where it went and notes; None: there is nothing to do."""
        settings = self.settings
        film = photograph.suffix.lower() in FILMS
        content = None if film else _read(photograph, int(settings.memory * 1e9))
        if photograph == _STANDARD and self.output is None:
            return partial(self._to_standard_output, content)
        place = Path("standard-input") if photograph == _STANDARD else place
        opened = None if film else _opened(content, settings)
        kind = None if film else settings.kind or _own_kind(opened.format)
        target = _target(photograph, place, kind, alone, self.output)
        if target in self.taken:
            raise InputError(
                "another photograph of this call has the same name in the results; colorize it in a call of its own"
            )
        self.taken.add(target)
        replace = self._may_write(target, photograph)
        if replace is None:
            return None
        size = 0 if film else _pixels(opened, settings) * _BYTES_PER_PIXEL[1 + opened.deep]
        self.memory.take(size)
        return partial(self._colorize, photograph, content, target, replace, size)

    def _to_standard_output(self, content):
        result = colorize_image(self.colorizer, content, self.settings)
        sys.stdout.buffer.write(result.content)
        sys.stdout.buffer.flush()
        return Path("standard output") / "-", result.notes

    def _colorize(self, photograph, content, target, replace, size):
        settings = self.settings
        try:
            with files.atomic(target, replace=replace) as temporary:
                if content is None:
                    notes = _without_effect(settings)
                    notes += films.colorize_film(self.colorizer, photograph, temporary, Steady(), settings.saturation)
                else:
                    result = colorize_image(self.colorizer, content, settings)
                    temporary.write_bytes(result.content)
                    notes = result.notes
        finally:
            self.memory.give(size)
        self.lists.record(target, photograph)
        if settings.keep_dates and photograph != _STANDARD:
            state = photograph.stat()
            os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
        return target, notes

    def _may_write(self, target, photograph):
        """Whether the target is to be replaced, or None if it is there and stays."""
        if not os.path.lexists(target):
            return False
        if self.existing == "overwrite" and self.lists.is_result_of(target, photograph):
            return True
        if self.existing == "skip":
            self.report.skipped.append((photograph, "a file with the name of the result already exists"))
        else:
            foreign = " and is not an unchanged result of this photograph" if self.existing == "overwrite" else ""
            self.report.left[photograph] = f"{target} already exists{foreign}"
        return None


class _Memory:
    """Bytes that photographs which are colorized at the same time share."""

    def __init__(self, total):
        self._free, self._changed = total, threading.Condition()

    def take(self, size):
        """Wait until `size` bytes, which are no more than all, are free, and take them."""
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size

    def give(self, size):
        """Give back what was taken."""
        with self._changed:
            self._free += size
            self._changed.notify()


def _without_effect(settings):
    """Notes on the options that are given and that films do not have."""
    of_photographs = {
        "--side-by-side": settings.side_by_side,
        "--format": settings.kind,
        "--quality": settings.quality,
        "--hints": settings.hints,
        "--first-page": settings.first_page,
        "--tolerant": settings.tolerant,
    }
    return [f"{option} has no effect on a film" for option, given in of_photographs.items() if given]


def colorize_image(colorizer, content, settings=None):
    """Colorize the content of one photograph's file.

    Args:
        colorizer: a trained `Colorizer`.
        content: bytes of the file.
        settings: `Settings`.

    Returns:
        `Result`.

    Raises:
        InputError: it cannot be decoded, or its format cannot hold the result; the message is the reason alone.
    """
    settings = settings or Settings()
    photo = _opened(content, settings)
    notes, kind = photo.notes, settings.kind or _own_kind(photo.format)
    if kind != photo.format and not settings.kind:
        notes.append(f"{photo.format} has too few colours, so the result is {kind}")
    count = _count(photo, kind, settings, notes)
    hints = {"hints": settings.hints} if settings.hints else {}
    frames, steady = [], Steady() if photo.format != "TIFF" else None
    for number in range(count):
        frame = photo.frame(number)
        seen = frame.pixels if frame.alpha is None else frame.eight_bits()
        predicted = colorizer.predict_ab(seen, **hints)
        if count > 1 and steady:
            predicted = steady(predicted, seen)
        _say_what_is_lost(frame, kind, count, notes)
        frames.append(_colorized(colorizer, frame, predicted, kind, settings))
    fitted = [photo.metadata(number).fitted(kind) for number in range(count if photo.format == "TIFF" else 1)]
    dropped = dict.fromkeys(name for _, names in fitted for name in names)
    if dropped:
        notes.append(f"{kind} cannot hold its {', '.join(dropped).replace('_', ' ')}")
    metadata = [found for found, _ in fitted]
    encoding = photo.encoding() if kind == photo.format else {}
    content = images.encode(
        frames,
        kind,
        metadata if len(metadata) == len(frames) else metadata * len(frames),
        quality=settings.quality,
        loop=photo.loop,
        **encoding,
    )
    height, width = frames[0].pixels.shape[:2]
    return Result(content, kind, (width, height), list(dict.fromkeys(notes)))


def _opened(content, settings):
    photo = images.Photo(io.BytesIO(content), max_pixels=10**12, tolerant=settings.tolerant)
    most = int(settings.memory * 1e9 / _BYTES_PER_PIXEL[1 + photo.deep])
    pixels = _pixels(photo, settings)
    if pixels > most:
        raise InputError(
            f"its {pixels:,} pixels need more than {settings.memory:g} GB, which is enough for {most:,}; choose more with --memory"
        )
    photo.max_pixels = most
    return photo


def _pixels(photo, settings):
    width, height = photo.size
    return width * height * (1 if settings.first_page else len(photo))


def _own_kind(kind):
    return kind if kind in images.WRITABLE else "PNG"


def _count(photo, kind, settings, notes):
    """How many pages or frames are colorized; what is left out is noted."""
    count = len(photo)
    holds = kind in images.SEVERAL_FRAMES or (kind == photo.format == "JPEG")
    if count > 1 and (settings.first_page or not holds):
        notes.append(f"only the first of its {count} pages is colorized" + ("" if holds else f": {kind} holds one"))
        return 1
    return count


def _say_what_is_lost(frame, kind, count, notes):
    if frame.pixels.dtype == np.uint16 and (kind not in images.SIXTEEN_BITS or (count > 1 and kind != "TIFF")):
        notes.append(f"its 16 bits a sample become 8 in {kind}; --format png or --format tiff keeps them")
    if frame.alpha is not None and kind not in images.WITH_ALPHA:
        notes.append(f"{kind} cannot hold its transparency, which is laid over white; --format png keeps it")


def _colorized(colorizer, frame, ab, kind, settings):
    pixels, kept = frame.pixels, frame.alpha
    if kept is not None and kind not in images.WITH_ALPHA:
        pixels, kept = frame.eight_bits(), None
    result = colorizer.colorize(pixels, settings.saturation, ab)
    if settings.side_by_side:
        gray = colorizer.colorize(pixels, 0.0, ab)
        result = np.concatenate([gray, result], axis=1)
        kept = None if kept is None else np.concatenate([kept, kept], axis=1)
    return images.Frame(result, kept, frame.duration)


class Steady:
    """Keeps the colours of successive frames steady: a running mean of ab that starts again at each cut.

    A cut is a frame whose lightness differs from the last one's by more than `CUT` of white on average.
    """

    SHARE = 0.3  # of a frame's own prediction
    CUT = 0.12

    def __init__(self):
        self._mean = self._last = None

    def __call__(self, ab, pixels):
        """The steadied ab of the next frame, which has these `pixels`."""
        step = max(1, min(pixels.shape[:2]) // 32)
        small = pixels[::step, ::step].astype(np.float32) / np.iinfo(pixels.dtype).max
        small = small.mean(axis=-1) if small.ndim == 3 else small
        same = self._last is not None and small.shape == self._last.shape and ab.shape == self._mean.shape
        if same and np.abs(small - self._last).mean() < self.CUT:
            self._mean = (1 - self.SHARE) * self._mean + self.SHARE * ab
        else:
            self._mean = ab
        self._last = small
        return self._mean


def _read(photograph, most):
    content, standard = io.BytesIO(), photograph == _STANDARD
    opened = contextlib.nullcontext(sys.stdin.buffer) if standard else files.open_regular(photograph)
    with files.disk_errors(photograph, "read"), opened as file:
        # In parts: Python sets aside as many bytes as it is asked for, and there may be less memory than `most`.
        while content.tell() <= most and (part := file.read(1 << 24)):
            content.write(part)
    if content.tell() > most:
        raise InputError(f"it has more than {most / 1e9:g} GB, which no photograph has; choose more with --memory")
    return content.getvalue()


def _target(photograph, place, kind, alone, output):
    """Where the result goes. A photograph that changes its suffix keeps the old one in its name if another one has that stem."""
    suffix = place.suffix
    if kind is not None and suffix.lower() not in images.SUFFIXES[kind]:
        suffix = images.SUFFIXES[kind][0]
        place = place if alone else place.with_name(f"{place.stem}-{place.suffix[1:]}{place.suffix}")
    if output is None:
        return photograph.with_name(f"{place.stem}-colorized{suffix}")
    return Path(output) / place.with_name(place.stem + suffix)


class _Lists:
    """The list of results in each folder: one line of JSON each, appended after the result is there; read once a call."""

    def __init__(self):
        self._entries, self._lock = {}, threading.Lock()

    def record(self, target, photograph):
        """Append a result to the list of its folder."""
        entry = {
            "result": os.path.abspath(target),
            "photograph": os.path.abspath(photograph),
            "bytes": target.stat().st_size,
            "sha256": files.sha256(target),
        }
        with self._lock:
            with files.disk_errors(target.parent / LIST), open(target.parent / LIST, "ab") as file:
                file.write(json.dumps(entry).encode() + b"\n")
            self._of(target.parent)[target.name] = entry

    def has(self, path):
        """Whether a file has the name and the size of a result."""
        entry = self._of(path.parent).get(path.name)
        return entry is not None and path.is_file() and entry.get("bytes") == path.stat().st_size

    def is_result_of(self, target, photograph):
        """Whether the file was made here from this photograph, and not changed since."""
        entry = self._of(target.parent).get(target.name)
        if entry is None or target.is_symlink() or not target.is_file():
            return False
        made = entry["result"], entry.get("photograph"), entry.get("sha256")
        return made == (os.path.abspath(target), os.path.abspath(photograph), files.sha256(target))

    def _of(self, folder):
        """{name of a result: its last entry} of a folder."""
        if folder not in self._entries:
            found = self._entries[folder] = {}
            with contextlib.suppress(OSError, InputError), files.open_regular(folder / LIST) as file:
                for line in file:
                    with contextlib.suppress(ValueError, TypeError, KeyError):
                        entry = json.loads(line)
                        found[Path(entry["result"]).name] = entry
        return self._entries[folder]
