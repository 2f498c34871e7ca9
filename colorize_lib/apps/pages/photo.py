"""Colorize your photos: upload or choose, networks side by side, saturation, before and after, hints, download.

An upload stays in the memory of this process: it is decoded by `colorize_lib.images` with its limits, and never written to disk;
its name is used for the download's name alone, letter by letter.
"""

import io
import re

import numpy as np
import traitlets
from PIL import Image

from colorize_lib import images
from colorize_lib.apps import photographs, trained, turing
from colorize_lib.apps.pages.page import Page, script
from colorize_lib.color import metrics
from colorize_lib.errors import InputError

MAX_BYTES = 50_000_000
PREVIEW = 720  # pixels of a preview's longer side
MAX_HINTS = 100


class PhotoPage(Page):
    """The page, in one kernel for one visitor.

    Args:
        run_folders: runs whose networks are offered beside the bundled and the public ones.

    Raises:
        InputError: a run folder without networks.
    """

    _esm = script("photo")
    settings = traitlets.Dict().tag(sync=True)
    requests = ("choose", "upload", "colorize", "download")

    def __init__(self, run_folders=()):
        found = trained.find(run_folders)
        self._trained = {item.label: item for item in found}
        self._colorizers = {}
        self._photo = None
        self._upload = bytearray()
        table, self._bundled = turing.photo_table()
        self._table = table
        super().__init__()
        self.settings = {
            "photos": [[name, f"{row['title']} ({name.split('/')[0]})"] for name, row in table.items()],
            "networks": [[item.label, item.guided] for item in found],
            "maxBytes": MAX_BYTES,
            "accept": ",".join(images.READABLE),
            "guided": any(item.guided for item in found),
        }

    def choose(self, request, _):
        """A bundled photograph by its name."""
        name = request.get("photo")
        if name not in self._table:
            raise InputError(f"No bundled photograph is called {name!r}.")
        content = (self._bundled / name).read_bytes()
        return self._opened(_Photo(content, name.split("/")[1], turing.credit(self._table[name])))

    def upload(self, request, buffers):
        """The next piece of an uploaded file; with the last one the photo is decoded."""
        start, size = request.get("start"), request.get("size")
        if not isinstance(size, int) or not 0 < size <= MAX_BYTES:
            raise InputError(f"The file has {size} bytes: photographs of 1 to {MAX_BYTES:,} bytes are taken.")
        if start == 0:
            self._upload = bytearray()
        piece = b"".join(buffers)
        if start != len(self._upload) or start + len(piece) > size or not piece:
            raise InputError("The upload was interrupted: choose the file again.")
        self._upload += piece
        if len(self._upload) < size:
            return {"received": len(self._upload)}, []
        content, self._upload = bytes(self._upload), bytearray()
        return self._opened(_Photo(content, str(request.get("name", "")), None))

    def _opened(self, photo):
        self._photo = photo
        gray, original = photo.preview.convert("L"), photo.preview
        return photo.description, [_jpeg(gray), _jpeg(original)]

    def colorize(self, request, _):
        """A preview of the photo by one network."""
        network, ab, saturation = self._prediction(request)
        result = Image.fromarray(network.colorize(self._photo.preview, saturation, ab))
        return {"colorfulness": _colorfulness(result)}, [_jpeg(result)]

    def download(self, request, _):
        """The photo by one network in its own resolution, file format, colour profile and DPI."""
        network, ab, saturation = self._prediction(request)
        settings = photographs.Settings(saturation=saturation)
        result = photographs.colorize_image(network, self._photo.content, settings, ab=ab)
        width, height = result.size
        content = {
            "name": f"{self._photo.stem}-colorized{images.SUFFIXES[result.kind][0]}",
            "type": Image.MIME.get(result.kind, "application/octet-stream"),
            "width": width,
            "height": height,
        }
        return content, [result.content]

    def _prediction(self, request):
        """The colorizer, the ab it predicts for the photo, and the saturation that a request asks for."""
        if self._photo is None:
            raise InputError("There is no photograph yet: upload one, or choose one that comes along.")
        label, saturation = request.get("network"), request.get("saturation")
        if label not in self._trained:
            raise InputError(f"There is no network called {label!r}.")
        if isinstance(saturation, bool) or not isinstance(saturation, int | float) or not 0 <= saturation <= 4:
            raise InputError(f"The saturation is {saturation!r}: it must be a number from 0 to 4.")
        hints = self._hints(request.get("hints", [])) if self._trained[label].guided else ()
        if label not in self._colorizers:
            self._colorizers[label] = self._trained[label].load()
        network = self._colorizers[label]
        key = label, hints
        if key not in self._photo.predictions:
            if len(self._photo.predictions) > 32:
                self._photo.predictions.clear()
            guidance = {"hints": hints} if hints else {}
            self._photo.predictions[key] = network.predict_ab(self._photo.whole(), **guidance)
        return network, self._photo.predictions[key], float(saturation)

    def _hints(self, points):
        from colorize_lib.apps.guided import hint

        if (
            not isinstance(points, list)
            or len(points) > MAX_HINTS
            or not all(isinstance(point, list) and len(point) == 3 for point in points)
        ):
            raise InputError(f"Hints are a list of at most {MAX_HINTS} points with their colours.")
        return tuple(hint(*point) for point in points)


class _Photo:
    """One photo in memory: its file's `content`, the upright `preview`, predicted colours by network and hints."""

    def __init__(self, content, name, credit):
        try:
            pixels = images.decode(io.BytesIO(content))
        except InputError as error:
            raise InputError(f"This file cannot be used: {error}.") from error
        self.content = content
        self.stem = re.sub(r"[^\w\- ]", "", name.rpartition(".")[0] or name).strip()[:80] or "photo"
        height, width = pixels.shape[:2]
        self.preview = Image.fromarray(pixels).convert("RGB")
        self.preview.thumbnail((PREVIEW, PREVIEW), Image.Resampling.LANCZOS)
        self.predictions = {}
        self.description = {
            "title": self.stem,
            "credit": credit,
            "width": width,
            "height": height,
            "colour": _colorfulness(self.preview) > 1,
        }

    def whole(self):
        """The photo as the networks get it, the same for preview and download."""
        return Image.fromarray(images.decode(io.BytesIO(self.content)))


def _jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, subsampling=0)
    return buffer.getvalue()


def _colorfulness(image):
    return round(float(metrics.colorfulness(np.asarray(image)[None] / 255)[0]), 1)
