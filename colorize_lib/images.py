"""Photographs' files: read as upright sRGB pixels, with what else they hold, and written. The one place that knows formats.

Conventions
-----------
- Pixels are (H, W) for a file that holds gray alone, else (H, W, 3) RGB, turned upright by the file's EXIF orientation: uint16
  where a PNG, a TIFF or a gray file has more than 8 bits a sample, else uint8.
- Colours are brought to sRGB by the file's ICC profile, whatever its colour space. With `managed=False` the stored values are
  kept, as the papers' tools do; CMYK is converted by its profile either way, since its values mean nothing without one.
- A JPEG is decoded in full: Pillow's `draft` would be faster and gives other pixels.
- TIFF samples of up to 8 bits are decoded by Pillow, deeper ones by tifffile; what has no defined black and white (signed
  numbers, floating point, 32 bits, raw camera data) is refused by name, never guessed.

A file is not trusted: only regular files are opened, only the formats below are tried (no PostScript), and an image is refused
by its header before more than `max_pixels` pixels are decoded.
"""

import contextlib
import io
import re
import struct
import threading
import warnings
from dataclasses import dataclass, field, replace
from functools import lru_cache

import imagecodecs
import numpy as np
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageFile, ImageOps, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from colorize_lib import files
from colorize_lib.errors import InputError, reason

MAX_PIXELS = 52_000_000  # cameras of 50 megapixels; 156 MB as RGB, and about three times that while it is decoded
MAX_FRAMES = 10_000

# Format (Pillow's name) → the suffixes of its files, the first of which a new file gets.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "PPM": (".ppm", ".pgm", ".pnm", ".pbm"),
    "AVIF": (".avif",),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
    "HEIF": (".heic", ".heif", ".hif"),
}
READABLE = tuple(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
WRITABLE = tuple(kind for kind in SUFFIXES if kind != "GIF")  # whose 256 colours cannot hold a photograph
SEVERAL_FRAMES = ("PNG", "WEBP", "TIFF", "AVIF", "HEIF")
WITH_QUALITY = ("JPEG", "WEBP", "AVIF", "HEIF")
SIXTEEN_BITS = ("PNG", "TIFF", "PPM")
WITH_ALPHA = ("PNG", "WEBP", "TIFF", "AVIF", "JPEG2000", "HEIF")
# What of `Metadata` each format holds.
_HELD = {
    "JPEG": ("exif", "xmp", "extended_xmp", "photoshop", "comment", "dpi", "profile"),
    "PNG": ("exif", "xmp", "text", "comment", "dpi", "profile"),
    "WEBP": ("exif", "xmp", "profile"),
    "TIFF": ("exif", "xmp", "photoshop", "dpi", "profile"),
    "AVIF": ("exif", "xmp", "profile"),
    "HEIF": ("exif", "xmp", "profile"),
    "JPEG2000": ("comment", "boxes"),
    "BMP": ("dpi",),
    "PPM": (),
}
_STRIP = 1 << 21  # pixels
_GRAY_OF_MORE_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_KINDS = "JPEG, PNG, WebP, TIFF, GIF, BMP, PPM, AVIF, JPEG 2000 and HEIC are read"
_NO_PHOTOSHOP_PICTURES = (1033, 1036)  # thumbnails of the picture as it was
_MOST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # pixels
_SEGMENT = 65_000  # bytes of EXIF, or of XMP, that a JPEG holds, at most


@dataclass
class Frame:
    """One picture of a file: `pixels` by the conventions above, `alpha` (H, W) of the same dtype or None, `duration` in ms."""

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    duration: float | None = None

    def eight_bits(self):
        """The pixels with transparency laid over white: uint8 (H, W), or (H, W, 3)."""
        pixels = to_eight_bits(self.pixels)
        if self.alpha is None:
            return pixels
        alpha = to_eight_bits(self.alpha)[..., None]
        result = np.empty((*alpha.shape[:2], 3), np.uint8)
        for rows in _strips(result.shape):
            over = (pixels[rows] if pixels.ndim == 3 else pixels[rows, :, None]).astype(np.uint16)
            result[rows] = (over * alpha[rows] + 255 * (255 - alpha[rows].astype(np.uint16)) + 127) // 255
        return result


@dataclass
class Metadata:
    """What a file holds besides pixels, corrected to describe the upright picture.

    `exif` is the block without its "Exif" prefix, `profile` the ICC profile, `extended_xmp` the segments of a JPEG in which XMP
    continues beyond 64 KB, `photoshop` Photoshop's resources by number (IPTC is 1028), `text` PNG's pairs of texts, `boxes` those
    of JPEG 2000.
    """

    exif: bytes = b""
    profile: bytes = b""
    xmp: bytes = b""
    extended_xmp: tuple = ()
    photoshop: dict = field(default_factory=dict)
    comment: bytes = b""
    text: dict = field(default_factory=dict)
    boxes: bytes = b""
    dpi: tuple | None = None

    def fitted(self, kind):
        """The part of it that the format `kind` can hold, and the names of what it cannot."""
        dropped = [name for name, value in vars(self).items() if value and name not in _HELD[kind]]
        if kind == "JPEG":
            dropped += [name for name in ("exif", "xmp", "comment") if len(getattr(self, name)) > _SEGMENT]
        return replace(self, **{name: type(getattr(self, name))() for name in dropped}), dropped


def decode(file, managed=True):
    """The first picture of an image file, in 8 bits.

    Args:
        file: path or binary file.
        managed: bring colours to sRGB where the file has another profile.

    Returns:
        uint8 (H, W) if the file holds gray alone, else (H, W, 3). Transparency is laid over white.

    Raises:
        InputError: the file is empty, truncated, damaged, too large, or no image of a known format; the message is the reason
            alone, without the file's name.
        OSError: the file cannot be opened.
    """
    with contextlib.nullcontext(file) if isinstance(file, io.IOBase) else files.open_regular(file) as opened:
        return Photo(opened, managed).frame().eight_bits()


def upright(image):
    """A `PIL.Image.Image` of any mode as an upright one of mode L or RGB, in sRGB and 8 bits."""
    with _reasons():
        return Image.fromarray(_frame(image).eight_bits())


def to_eight_bits(values):
    """uint16 values as uint8, rounded; uint8 as it is."""
    if values.dtype == np.uint8:
        return values
    result = np.empty(values.shape, np.uint8)
    for rows in _strips(result.shape):
        result[rows] = (values[rows].astype(np.uint32) * 255 + 32767) // 65535
    return result


class Photo:
    """An image file: its `format`, its frames (`len`, `frame`), its `metadata`, and `notes` on what is left out.

    Args:
        file: binary file that can seek; it must stay open.
        managed: bring colours to sRGB where the file has another profile.
        max_pixels: larger pictures are refused.
        tolerant: decode what there is of a file that ends early.

    Raises:
        InputError: as `decode`.
    """

    def __init__(self, file, managed=True, max_pixels=MAX_PIXELS, tolerant=False):
        self.notes = []
        self._file, self._managed, self.max_pixels, self._tolerant = file, managed, max_pixels, tolerant
        with _reasons(file):
            file.seek(0)
            head = file.read(16)
            file.seek(0)
            self._pages = _tiff_pages(file, self.notes) if head[:4] in _TIFF_HEADS else None
            if self._pages is None:
                self._image = Image.open(file, formats=_formats(head))
                _check_size(*self._image.size, max_pixels)
                self._numbers = self._pictures()
            self.format = "TIFF" if self._pages else _FORMATS.get(self._image.format, self._image.format)
            file.seek(0)
            self._note_depth(file.read(4096))

    def __len__(self):
        return len(self._pages or self._numbers)

    @property
    def size(self):
        """(width, height) in pixels as stored, of the first frame."""
        return (self._pages[0].imagewidth, self._pages[0].imagelength) if self._pages else self._image.size

    @property
    def deep(self):
        """Whether it has more than 8 bits a sample."""
        return self._pages[0].bitspersample > 8 if self._pages else _is_deep(self._image)

    @property
    def loop(self):
        """How often an animation is repeated; 0: for ever."""
        return 0 if self._pages else self._image.info.get("loop", 0)

    def frame(self, number=0):
        """The `Frame` of this number. Raises InputError if it cannot be decoded."""
        try:
            with _reasons(self._file):
                return self._frame(number)
        except InputError as error:
            if not self._tolerant or "memory" in str(error):
                raise
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            with _reasons(self._file):
                if self._pages is None:
                    self._file.seek(0)
                    self._image = Image.open(self._file, formats=_formats(b""))
                frame = self._frame(number)
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        self.notes.append("the file is incomplete or damaged; what is missing stays blank")
        return frame

    def _note_depth(self, head):
        """A note where the decoder gives 8 bits of a file that has more."""
        bits = 8
        if self.format == "AVIF" and (place := head.find(b"av1C")) >= 0:
            bits = 10 if head[place + 6] & 0x40 else 8
        elif self.format == "HEIF":
            bits = self._image.info.get("bit_depth", 8)
        elif self.format == "JPEG2000" and not self.deep and (place := head.find(b"\xff\x51")) >= 0:
            bits = (head[place + 40] & 0x7F) + 1
        if bits > 8:
            self.notes.append(f"its samples of {bits} bits or more are read as 8 bits")

    def _frame(self, number):
        if self._pages:
            return _tiff_frame(self._file, number, self._pages[number], self._managed, self.max_pixels)
        self._image.seek(self._numbers[number])
        _check_size(*self._image.size, self.max_pixels)
        return _frame(self._image, self._managed, self._file if len(self) == 1 else None, self.notes)

    def _pictures(self):
        """Numbers of the file's pictures; in a JPEG, smaller ones are previews, depth maps or gain maps of the first."""
        count = min(getattr(self._image, "n_frames", 1), MAX_FRAMES)
        if self._image.format != "MPO":
            return range(count)
        views = [0]
        for number in range(1, count):
            with contextlib.suppress(Exception):  # a damaged picture is no view
                other = Image.open(self._file, formats=["JPEG"])
                other.seek(number)
                if other.size == self._image.size:
                    views.append(number)
        if len(views) < count:
            left_out = f"{count - len(views)} of {count} pictures in the file"
            self.notes.append(f"previews or maps of the first picture are left out ({left_out})")
        return views

    def metadata(self, number=0):
        """The `Metadata` of the file; of a TIFF that of its page `number`."""
        with _reasons(self._file):
            if self._pages:
                return _tiff_metadata(self._file, self._pages[number])
            self._image.seek(self._numbers[0])  # each picture of a JPEG has EXIF of its own
            return _metadata(self._image, self._file, self.notes)

    def encoding(self):
        """Options of `encode` that write a result as this file was written: a JPEG's tables, a TIFF's compression, lossless."""
        if self._pages:
            return {"compression": self._pages[0].compression.name.lower()}
        if self.format == "JPEG":
            sampling = max(JpegImagePlugin.get_sampling(self._image), 0)
            progressive = bool(self._image.info.get("progressive"))
            return {"qtables": self._image.quantization, "subsampling": sampling, "progressive": progressive}
        if self.format == "WEBP":
            self._file.seek(0)
            return {"lossless": b"VP8L" in self._file.read(64)}
        return {}


# Reading


_FORMATS = {"MPO": "JPEG", "DIB": "BMP"}


def _formats(head):
    """Pillow's names of the formats that are read by this build of it."""
    Image.init()
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"):
        try:
            import pillow_heif
        except ImportError as error:
            raise InputError("HEIC needs the library pillow-heif: run `pip install pillow-heif`") from error
        pillow_heif.register_heif_opener()
    return [name for name in SUFFIXES if name in Image.OPEN]


class _Undisturbed:
    """Pillow without its warnings of harmless damage in metadata, and without its limit of pixels: sizes are checked here.

    Both are settings of the whole process, so the first thread inside changes them, and the last one changes them back.
    """

    _lock, _inside = threading.Lock(), 0

    def __enter__(self):
        with self._lock:
            if not _Undisturbed._inside:
                _Undisturbed._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                _Undisturbed._warnings = warnings.catch_warnings()
                _Undisturbed._warnings.__enter__()
                warnings.simplefilter("ignore")
            _Undisturbed._inside += 1

    def __exit__(self, *_):
        with self._lock:
            _Undisturbed._inside -= 1
            if not _Undisturbed._inside:
                _Undisturbed._warnings.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS = _Undisturbed._limit


@contextlib.contextmanager
def _reasons(file=None, doing="decoded"):
    """Turn whatever decoders and encoders raise for damaged files into an `InputError`."""
    try:
        with _Undisturbed():
            yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"memory ran out while it was {doing}; make it smaller") from error
    except Image.UnidentifiedImageError as error:
        empty = not file.seek(0, io.SEEK_END)
        raise InputError("the file is empty" if empty else f"no image of a known format ({_KINDS})") from error
    except Exception as error:  # damaged files make the decoders raise almost anything
        raise InputError(f"it cannot be {doing}: {reason(error)}") from error


def _check_size(width, height, max_pixels):
    if width * height > max_pixels:
        raise InputError(f"{width} × {height} pixels are more than the {max_pixels:,} that are read")


def _strips(shape):
    """Rows of an array (H, W, …), in parts of about `_STRIP` pixels."""
    height, rows = shape[0], max(1, _STRIP // max(1, shape[1]))
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _frame(image, managed=True, file=None, notes=None):
    """The picture of a `PIL.Image.Image` at its present frame; `file` is what a PNG of 16 bits is decoded from."""
    profile = image.info.get("icc_profile")
    deep = image.format == "PNG" and image.mode not in _GRAY_OF_MORE_BITS and _is_deep(image)
    if deep and file is not None:
        file.seek(0)
        values = imagecodecs.png_decode(file.read())
        orientation = _orientation(image)
        return _deep_frame(values, None, orientation, profile if managed else None)
    if deep and notes is not None:
        notes.append("its frames of 16 bits a sample are read as 8 bits")
    image.load()
    duration = image.info.get("duration")
    gamma = image.info.get("gamma") if image.format == "PNG" and managed and not profile else None
    if image.mode in _GRAY_OF_MORE_BITS:
        return _deep_frame(_sixteen_bits(image), None, _orientation(image), profile if managed else None)
    if image.mode == "F":
        raise InputError("floating-point values have no fixed range; save it with 8 or 16 bits")
    with contextlib.suppress(Exception):  # unreadable EXIF is no reason to lose the image
        image = ImageOps.exif_transpose(image)
    boxes = [(0, rows.start, image.width, rows.stop) for rows in _strips((image.height, image.width))]
    strips = [_eight_bits(image.crop(box), profile, managed) for box in boxes]
    pixels = np.concatenate([colour for colour, _ in strips])
    alpha = None if strips[0][1] is None else np.concatenate([transparency for _, transparency in strips])
    if gamma and "srgb" not in image.info and abs(gamma - 0.45455) > 0.02:
        pixels = _of_gamma(gamma)[pixels]
    return Frame(pixels, alpha, duration)


def _is_deep(image):
    return image.mode in _GRAY_OF_MORE_BITS or any(";16" in str(tile.args) for tile in image.tile)


def _orientation(image):
    with contextlib.suppress(Exception):
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1


def _upright(values, orientation):
    """An array (H, W[, C]) turned by an EXIF orientation."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    return values[:, ::-1] if orientation in (2, 3, 6, 7) else values


def _eight_bits(image, profile, managed):
    """The image as gray or RGB, and its alpha or None, as uint8 arrays."""
    alpha = None
    if image.mode == "LAB":
        profile, managed = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), True
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        alpha = np.asarray(rgba.getchannel("A"))
        image = rgba.getchannel("R") if image.mode in ("LA", "La", "L", "1") else rgba.convert("RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "CMYK", "LAB"):
        image = image.convert("RGB")
    if profile and (managed or image.mode == "CMYK"):
        image = _transformed(image, profile, image.mode)
    return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB")), alpha


def _transformed(image, profile, mode):
    """An image of mode L, RGB, CMYK or LAB in sRGB; as it is where the profile changes nothing or is unusable."""
    transform, through = _transform(profile, mode)
    if transform is None:
        return image
    result = ImageCms.applyTransform(image.convert("RGB") if through == "RGB" else image, transform)
    return result.getchannel("G") if mode == "L" else result


@lru_cache(maxsize=16)
def _transform(profile, mode):
    """The transform from a profile to sRGB and the mode that it takes; (None, None) where it does nothing or cannot be made."""
    with contextlib.suppress(ImageCms.PyCMSError, OSError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = _colour_space(source)
        through = "RGB" if (mode, space) == ("L", "RGB") else mode  # gray in an RGB profile stands for R = G = B
        if space == {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}[through]:
            # The tables by which lcms speeds up a gray transform are too coarse for dark tones.
            exact = ImageCms.Flags.NOOPTIMIZE if through == "L" else ImageCms.Flags.NONE
            transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), through, "RGB", flags=exact)
            if mode not in ("L", "RGB") or _changes(transform, through):
                return transform, through
    return None, None


def _colour_space(profile):
    return profile.profile.xcolor_space.strip()


def _changes(transform, mode):
    """Whether a transform of mode L or RGB moves any colour by more than one level: names of profiles do not tell."""
    levels = np.arange(256, dtype=np.uint8)
    if mode == "RGB":
        levels = np.stack(np.meshgrid(*[np.linspace(0, 255, 16).astype(np.uint8)] * 3), axis=-1).reshape(64, 64, 3)
    else:
        levels = levels[None]
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(levels), transform)).astype(int)
    return np.abs(moved - (levels if mode == "RGB" else levels[..., None])).max() > 1


def _of_gamma(gamma):
    """Table from values encoded by the exponent `gamma` (PNG's gAMA) to sRGB's encoding."""
    linear = (np.arange(256) / 255) ** (1 / min(max(gamma, 0.01), 10))
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * encoded).astype(np.uint8)


def _sixteen_bits(image):
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise InputError("integers beyond 16 bits have no fixed range; save it with 8 or 16 bits")
    return values.astype(np.uint16)


def _deep_frame(values, alpha, orientation, profile):
    """A `Frame` of uint16 values (H, W[, C]), whose last channel is alpha where there are two or four."""
    if values.ndim == 3 and values.shape[2] in (2, 4):
        values, alpha = values[..., :-1], values[..., -1]
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if profile and values.dtype == np.uint16:
        values = _managed_sixteen_bits(values, profile)
    turned = _upright(values, orientation)
    return Frame(np.ascontiguousarray(turned), None if alpha is None else _upright(alpha, orientation))


def _managed_sixteen_bits(values, profile):
    mode = "L" if values.ndim == 2 else "RGB"
    transform, through = _transform(profile, mode)
    if transform is None:
        return values
    if mode == "L" and through == "RGB":
        values = np.repeat(values[..., None], 3, axis=2)
    result = _convert_sixteen_bits(values, profile, _srgb(), "gray" if through == "L" else "rgb")
    return result[..., 1] if mode == "L" else result


@lru_cache
def _srgb():
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _convert_sixteen_bits(values, source, target, space):
    result = np.empty((*values.shape[:2], 3), np.uint16)
    options = {"colorspace": space, "outcolorspace": "rgb", "flags": int(ImageCms.Flags.NOOPTIMIZE)}
    for rows in _strips(values.shape):
        strip = np.ascontiguousarray(values[rows])
        result[rows] = imagecodecs.cms_transform(strip, source, target, **options).reshape(result[rows].shape)
    return result


# TIFF


_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Tags that place the pixels, or are kept by other means: all others describe the photograph.
# fmt: off
_TIFF_STRUCTURE = {
    *range(254, 260), *range(262, 267), *range(273, 285), *range(288, 294), 282, 283, 296, 298, 299, 301, *range(317, 327), 330,
    332, 334, 336, *range(338, 348), *range(512, 522), *range(529, 533), 700, 33723, 34377, 34665, 34675, 34853, 37724, 40965,
}
# fmt: on
# Samples of a pixel, without transparency.
_TIFF_COLOURS = {"MINISBLACK": 1, "MINISWHITE": 1, "PALETTE": 1, "RGB": 3, "YCBCR": 3, "CIELAB": 3, "SEPARATED": 4}
_TIFF_DEEP = ("MINISBLACK", "MINISWHITE", "RGB")  # read with up to 16 bits a sample


def _tiff_pages(file, notes):
    """The pages of a TIFF that are pictures of their own."""
    pages = [page for _, page in zip(range(MAX_FRAMES), tifffile.TiffFile(file).pages, strict=False)]
    pages = [page if isinstance(page, tifffile.TiffPage) else page.aspage() for page in pages]
    own = [page for page in pages if not page.subfiletype & 5]  # neither a smaller copy nor a mask of another page
    if len(own) < len(pages) and own:
        notes.append(f"smaller copies or masks in the file are left out ({len(pages) - len(own)})")
    if any(0 in page.extrasamples for page in own):
        notes.append("a channel of unknown meaning is left out")
    if not pages:
        raise InputError("it cannot be decoded: it holds no page")
    return own or pages


def _tiff_frame(file, number, page, managed, max_pixels):
    """One page, or an InputError that names what of it is not read."""
    _check_size(page.imagewidth, page.imagelength, max_pixels)
    _check_tiff(page)
    if page.bitspersample <= 8:
        file.seek(0)
        with Image.open(file, formats=["TIFF"]) as image:
            image.seek(page.index)
            return _frame(image, managed)
    values = page.asarray()
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = np.moveaxis(values, 0, -1)
    values = values.reshape(page.imagelength, page.imagewidth, page.samplesperpixel)
    if page.bitspersample < 16:
        values = (values.astype(np.uint32) * 65535 // (2**page.bitspersample - 1)).astype(np.uint16)
    colours = page.samplesperpixel - len(page.extrasamples)
    pixels, alpha = values[..., :colours], None
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        pixels = 65535 - pixels
    if page.extrasamples and page.extrasamples[0] in (1, 2):
        alpha = np.ascontiguousarray(values[..., colours])
        if page.extrasamples[0] == 1:  # colours are stored multiplied by alpha
            scale = np.maximum(alpha, 1)[..., None].astype(np.uint32)
            pixels = np.minimum((pixels.astype(np.uint32) * 65535 + scale // 2) // scale, 65535).astype(np.uint16)
    pixels = pixels[..., 0] if colours == 1 else pixels
    orientation = page.tags.valueof(274, default=1)
    return _deep_frame(np.ascontiguousarray(pixels), alpha, orientation, page.iccprofile if managed else None)


def _check_tiff(page):
    """Refuse, by its name, what has no sure meaning as a picture, such as signed numbers, or is decoded wrongly by Pillow."""
    kind, bits, samples = page.photometric.name, page.bitspersample, page.samplesperpixel
    sign = tifffile.SAMPLEFORMAT(page.sampleformat).name
    planes, extra = page.planarconfig == 2 and samples > 1, page.extrasamples
    is_picture = page.imagedepth == 1 and samples - len(extra) == _TIFF_COLOURS.get(kind)
    has_white = sign in ("UINT", "VOID") and isinstance(bits, int) and bits <= (16 if kind in _TIFF_DEEP else 8)
    has_meaning = list(extra).count(0) < 2 and not (extra and kind in ("MINISWHITE", "CIELAB"))
    is_misread = planes and (kind == "YCBCR" or (extra and has_white and bits <= 8))
    if not (is_picture and has_white and has_meaning) or is_misread:
        raise InputError(
            f"TIFF of the kind {kind} with {samples} {sign} samples of {bits} bits{' in separate planes' * planes}"
            f"{' and further channels' * bool(extra)} is not read; save it as gray or RGB of 8 or 16 bits"
        )


def _tiff_metadata(file, page):
    exif, kept = Image.Exif(), Image.Exif()
    file.seek(0)
    exif.endian, exif.bigtiff = page.parent.byteorder, page.parent.is_bigtiff
    exif.load_from_fp(file, page.offset)
    kept.update({tag: value for tag, value in exif.items() if tag not in _TIFF_STRUCTURE})
    for pointer in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        kept.get_ifd(pointer).update(exif.get_ifd(pointer))
    photoshop = _resources(page.tags.valueof(34377, default=b""))
    iptc = page.tags.valueof(33723, default=None)
    if iptc is not None and 1028 not in photoshop:
        photoshop[1028] = iptc if isinstance(iptc, bytes) else np.asarray(iptc, f"{page.parent.byteorder}u4").tobytes()
    xmp = page.tags.valueof(700, default=b"")
    dpi = None
    if page.tags.valueof(282, default=None) and page.resolutionunit in (2, 3):
        dpi = tuple(value * (2.54 if page.resolutionunit == 3 else 1) for value in page.resolution)
    return Metadata(
        kept.tobytes().removeprefix(b"Exif\0\0") if kept else b"",
        page.iccprofile or b"",
        _mended_xmp(xmp if isinstance(xmp, bytes) else bytes(xmp)),
        photoshop=photoshop,
        dpi=dpi,
    )


# What a file holds besides pixels


def _metadata(image, file, notes):
    info, found = image.info, Metadata()
    if info.get("exif"):
        found.exif = info["exif"].removeprefix(b"Exif\0\0")
    elif image.format == "PNG" and image.getexif():  # of a text by ImageMagick
        found.exif = image.getexif().tobytes().removeprefix(b"Exif\0\0")
    with contextlib.suppress(struct.error, IndexError):
        found.exif = _mended_exif(found.exif, image.size)
    found.profile = info.get("icc_profile") or b""
    xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
    found.xmp = _mended_xmp(xmp.encode() if isinstance(xmp, str) else xmp)
    segments = [data for _, data in getattr(image, "applist", ())]
    found.extended_xmp = tuple(data for data in segments if data.startswith(_EXTENDED_XMP))
    # Resources continue from one segment to the next.
    found.photoshop = _resources(b"".join(data[len(_PHOTOSHOP) :] for data in segments if data.startswith(_PHOTOSHOP)))
    comment = info.get("comment") or b""
    found.comment = comment.encode() if isinstance(comment, str) else comment
    if image.format == "PNG":
        image.load()  # some texts come after the pixels
        found.text = {key: text for key, text in image.text.items() if key.lower() not in _NOT_TEXT}
    if image.format == "JPEG2000":
        found.boxes = _boxes(file)
    with contextlib.suppress(TypeError, ValueError, ZeroDivisionError):
        found.dpi = tuple(float(value) for value in info["dpi"]) if "dpi" in info else None
    return found


_EXTENDED_XMP, _PHOTOSHOP = b"http://ns.adobe.com/xmp/extension/\0", b"Photoshop 3.0\0"
_NOT_TEXT = ("xml:com.adobe.xmp", "raw profile type exif", "raw profile type app1", "raw profile type icc")


def _mended_exif(block, size):
    """An EXIF block whose picture is upright and `size` large, without its thumbnail; all other bytes stay where they are."""
    if not block:
        return block
    data, order = bytearray(block), "<" if block[:2] == b"II" else ">"

    def read(kind, place):
        return struct.unpack_from(order + kind, data, place)[0]

    def entries(start):
        """{tag: (type and place of its value)} of the directory at `start`."""
        places = range(start + 2, start + 2 + 12 * read("H", start), 12)
        return {read("H", place): ("I" if read("H", place + 2) == 4 else "H", place + 8) for place in places}

    first = read("I", 4)
    directory = entries(first)
    if orientation := directory.get(ExifTags.Base.Orientation):
        size = size[::-1] if read("H", orientation[1]) in (5, 6, 7, 8) else size
        struct.pack_into(order + orientation[0], data, orientation[1], 1)
    inner = entries(read("I", directory[ExifTags.IFD.Exif][1])) if ExifTags.IFD.Exif in directory else {}
    for tag, side in zip((ExifTags.Base.ExifImageWidth, ExifTags.Base.ExifImageHeight), size, strict=True):
        if tag in inner:
            struct.pack_into(order + inner[tag][0], data, inner[tag][1], side)
    struct.pack_into(f"{order}I", data, first + 2 + 12 * read("H", first), 0)  # the directory of the thumbnail
    return bytes(data)


def _mended_xmp(xmp):
    xmp = re.sub(rb"(tiff:Orientation(?:=[\"']|>))[2-8]", rb"\g<1>1", xmp)
    return re.sub(rb"<(x[am]p:Thumbnails)\b.*?</\1>", b"", xmp, flags=re.DOTALL)


def _resources(block):
    """Photoshop's image resources {number: bytes} of a block, without its thumbnails."""
    found, place = {}, 0
    block = block if isinstance(block, bytes) else bytes(block)
    with contextlib.suppress(struct.error, IndexError):
        while block[place : place + 4] == b"8BIM":
            number, length = struct.unpack_from(">HB", block, place + 4)
            place += 6 + (length + 2) // 2 * 2
            (size,) = struct.unpack_from(">I", block, place)
            found[number] = block[place + 4 : place + 4 + size]
            place += 4 + (size + 1) // 2 * 2
    return {number: data for number, data in found.items() if number not in _NO_PHOTOSHOP_PICTURES}


def _photoshop_block(resources):
    parts = []
    for number, data in resources.items():
        parts.append(b"8BIM" + struct.pack(">HHI", number, 0, len(data)) + data + b"\0" * (len(data) % 2))
    return b"".join(parts)


def _boxes(file):
    """The boxes of a JPEG 2000 file that describe the photograph, as they are: XMP, EXIF and other XML."""
    file.seek(0)
    content, place, kept = file.read(), 0, b""
    while content[4:8] == b"jP  " and place + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        if size < 8:  # the last box, or one beyond 4 GB
            break
        kept += content[place : place + size] if kind in (b"uuid", b"xml ") else b""
        place += size
    return kept


# Writing


def encode(frames, kind, metadata=None, *, quality=None, loop=0, **options):
    """A file of photographs, as bytes.

    Args:
        frames: list of `Frame` in sRGB, RGB or gray; several only for `SEVERAL_FRAMES` and JPEG.
        kind: one of `WRITABLE`.
        metadata: `Metadata`, all of which the format holds (see `Metadata.fitted`), one or a list of one for each frame. The
            pixels are brought to its profile, where that is one of RGB; else the file gets the profile of sRGB.
        quality: 1 to 100, of lossy formats; None: as `options` say, else 95.
        loop: how often an animation is repeated; 0: for ever.
        options: of `Photo.encoding`.

    Raises:
        InputError: the format cannot hold these pixels; the message is the reason alone.
    """
    each = metadata if isinstance(metadata, list) else [metadata or Metadata()] * len(frames)
    most = _MOST_SIDE.get(kind)
    if most and any(max(frame.pixels.shape[:2]) > most for frame in frames):
        raise InputError(f"{kind} holds at most {most:,} pixels a side; choose --format png or --format tiff")
    with _reasons(doing="written"):
        fitted = [_in_profile(frame, found) for frame, found in zip(frames, each, strict=True)]
        frames, each = zip(*fitted, strict=True)
        if kind == "TIFF":
            return _encode_tiff(frames, each, quality, **options)
        if kind not in SIXTEEN_BITS or len(frames) > 1:
            frames = [_in_eight_bits(frame) for frame in frames]
        if frames[0].pixels.dtype == np.uint16:
            return (_deep_png if kind == "PNG" else _deep_ppm)(frames[0], each[0])
        return _encode(frames, kind, each[0], quality, loop, options)


def jpeg(image, quality, subsampling="4:2:0", comment=b""):
    """The JPEG file of a `PIL.Image.Image`, as bytes; Pillow itself does not notice when the disk that it writes to is full."""
    frame = Frame(np.asarray(image.convert("RGB")))
    return encode([frame], "JPEG", Metadata(comment=comment), quality=quality, subsampling=subsampling)


def _in_eight_bits(frame):
    alpha = None if frame.alpha is None else to_eight_bits(frame.alpha)
    return Frame(to_eight_bits(frame.pixels), alpha, frame.duration)


def _in_profile(frame, metadata):
    """The frame in the metadata's profile, and the metadata with a profile that fits the pixels."""
    if not metadata.profile or frame.pixels.ndim == 2:
        return frame, replace(metadata, profile=b"")
    transform, _ = _transform(metadata.profile, "RGB")
    with contextlib.suppress(ImageCms.PyCMSError, OSError):
        target = ImageCms.ImageCmsProfile(io.BytesIO(metadata.profile))
        if _colour_space(target) == "RGB" and transform is None:
            return frame, metadata
        if transform is not None and frame.pixels.dtype == np.uint16:
            pixels = _convert_sixteen_bits(frame.pixels, _srgb(), metadata.profile, "rgb")
            return replace(frame, pixels=pixels), metadata
        if transform is not None:
            back = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), target, "RGB", "RGB")
            pixels = np.empty_like(frame.pixels)
            for rows in _strips(pixels.shape):
                pixels[rows] = ImageCms.applyTransform(Image.fromarray(frame.pixels[rows]), back)
            return replace(frame, pixels=pixels), metadata
    return frame, replace(metadata, profile=_srgb())


def _image(frame):
    image = Image.fromarray(frame.pixels)
    if frame.alpha is not None:
        image = image.convert("RGB")
        image.putalpha(Image.fromarray(frame.alpha))
    return image


def _encode(frames, kind, metadata, quality, loop, options):
    options = {**options, **_written(kind, metadata)}
    if kind in WITH_QUALITY and (quality or not ("qtables" in options or options.get("lossless"))):
        options = {name: value for name, value in options.items() if name not in ("qtables", "lossless")}
        options["quality"] = quality or 95
    if kind in ("JPEG", "AVIF", "HEIF"):
        options.setdefault("subsampling", "4:4:4")
    if kind == "HEIF":
        _formats(b"    ftypheic")
        options["chroma"] = options.pop("subsampling").replace(":", "")
    if kind == "WEBP":
        options["exact"] = True
    images = [_image(frame) for frame in frames]
    if len(images) > 1:
        options |= {"save_all": True, "append_images": images[1:]}
        if any(frame.duration for frame in frames):
            options |= {"duration": [round(frame.duration or 100) for frame in frames], "loop": loop}
        kind = "MPO" if kind == "JPEG" else kind
    buffer = io.BytesIO()
    images[0].save(buffer, kind, **options)
    if kind == "JPEG2000":
        buffer.write(metadata.boxes)
    return buffer.getvalue()


def _written(kind, metadata):
    """Options of Pillow's writers for what a file holds besides pixels."""
    options = {"icc_profile": metadata.profile or None}
    if metadata.dpi:
        options["dpi"] = metadata.dpi
    if metadata.exif:
        options["exif"] = b"Exif\0\0" + metadata.exif
    if metadata.xmp and kind != "PNG":
        options["xmp"] = metadata.xmp
    if metadata.comment and kind != "PNG":
        options["comment"] = metadata.comment
    if kind == "JPEG":
        block = _photoshop_block(metadata.photoshop)
        parts = [block[start : start + _SEGMENT] for start in range(0, len(block), _SEGMENT)]
        segments = [(b"\xff\xe1", data) for data in metadata.extended_xmp]
        segments += [(b"\xff\xed", _PHOTOSHOP + part) for part in parts]
        options["extra"] = b"".join(marker + struct.pack(">H", len(data) + 2) + data for marker, data in segments)
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        for key, text in metadata.text.items():
            texts.add_text(key, text)
        if metadata.comment and "Comment" not in metadata.text:
            texts.add_text("Comment", metadata.comment.decode(errors="replace"))
        if metadata.xmp:
            texts.add_itxt("XML:com.adobe.xmp", metadata.xmp.decode(errors="replace"))
        options["pnginfo"] = texts
    return options


def _deep_png(frame, metadata):
    """A PNG of 16 bits, which Pillow does not write: its other chunks come from a small one that it does."""
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "PNG", **_written("PNG", metadata))
    small, place, chunks = stream.getvalue(), 8, b""
    while place < len(small):
        size, name = struct.unpack_from(">I4s", small, place)
        chunks += b"" if name in (b"IHDR", b"IDAT", b"IEND") else small[place : place + size + 12]
        place += size + 12
    whole = imagecodecs.png_encode(_with_alpha(frame))
    after_header = 8 + 25
    return whole[:after_header] + chunks + whole[after_header:]


def _with_alpha(frame):
    if frame.alpha is None:
        return np.ascontiguousarray(frame.pixels)
    colour = frame.pixels if frame.pixels.ndim == 3 else np.repeat(frame.pixels[..., None], 3, axis=2)
    return np.concatenate([colour, frame.alpha[..., None]], axis=-1)


def _deep_ppm(frame, metadata):
    height, width = frame.pixels.shape[:2]
    kind = 6 if frame.pixels.ndim == 3 else 5
    return b"P%d\n%d %d\n65535\n" % (kind, width, height) + frame.pixels.astype(">u2").tobytes()


# Compression of the file that was read → of a file in colour; those for black and white alone become lossless ones.
_TIFF_COMPRESSION = {
    "none": None,
    "lzw": "lzw",
    "adobe_deflate": "zlib",
    "deflate": "zlib",
    "packbits": "packbits",
    "jpeg": "jpeg",
    "ojpeg": "jpeg",
    "zstd": "zstd",
    "lzma": "lzma",
    "webp": "zlib",
}


def _encode_tiff(frames, each, quality, compression="zlib", **_):
    pointers, buffer = [], io.BytesIO()
    large = sum(frame.pixels.nbytes for frame in frames) > 3_500_000_000
    with tifffile.TiffWriter(buffer, bigtiff=large, byteorder="<") as writer:
        for frame, metadata in zip(frames, each, strict=True):
            values = _with_alpha(frame)
            packed = _TIFF_COMPRESSION.get(compression, "zlib")
            packed = "zlib" if packed == "jpeg" and (values.dtype == np.uint16 or frame.alpha is not None) else packed
            tags, directories = _tiff_tags(metadata)
            pointers.append(directories)
            resolution = {"resolution": metadata.dpi, "resolutionunit": 2} if metadata.dpi else {}
            writer.write(
                values,
                photometric="rgb" if values.ndim == 3 else "minisblack",
                extrasamples=None if frame.alpha is None else ["unassalpha"],
                compression=packed,
                compressionargs={"level": quality or 95} if packed == "jpeg" else None,
                predictor=packed in ("lzw", "zlib", "zstd"),
                rowsperstrip=None if packed is None else max(1, (1 << 18) // max(1, values[0].nbytes)),
                iccprofile=metadata.profile or None,
                extratags=tags,
                metadata=None,
                software=False,
                **resolution,
            )
    _append_directories(buffer, pointers, large)
    return buffer.getvalue()


_HEADER = b"II*\0\x08\0\0\0"
# tifffile writes no pointers to EXIF and GPS, but unused tags of the same order, which become such pointers.
_PLACEHOLDERS = {ExifTags.IFD.Exif: ExifTags.IFD.Exif - 1, ExifTags.IFD.GPSInfo: ExifTags.IFD.GPSInfo - 2}
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}


def _directory(tags, place):
    """The bytes of a TIFF directory of {tag: value} that will stand at `place` of a file; Pillow chooses the types."""
    directory = TiffImagePlugin.ImageFileDirectory_v2(_HEADER)
    for tag, value in tags.items():
        directory[tag] = value
    return directory.tobytes(place)


def _reloaded(block):
    """The directory of such bytes at 8, with each tag's type and bytes."""
    directory, stream = TiffImagePlugin.ImageFileDirectory_v2(_HEADER), io.BytesIO(_HEADER + block)
    stream.seek(8)
    directory.load(stream)
    return directory


def _append_directories(buffer, pages, large):
    """Write EXIF and GPS, {pointer's tag: directory} for each page, after the pages, and point to them from `_PLACEHOLDERS`."""
    buffer.seek(0)
    for page, own in zip(tifffile.TiffFile(buffer).pages, pages, strict=True):
        for pointer, values in own.items():
            end = buffer.seek(0, io.SEEK_END)
            buffer.write(b"\0" * (end % 2) + _directory(values, end + end % 2))
            buffer.seek(page.tags[_PLACEHOLDERS[pointer]].offset)
            buffer.write(struct.pack("<HHQQ" if large else "<HHII", pointer, 4, 1, end + end % 2))


def _tiff_tags(metadata):
    """tifffile's extra tags, and the directories {pointer's tag: directory} that they point to once those are written."""
    tags, directories = [], {}
    if metadata.exif:
        exif = Image.Exif()
        exif.load(metadata.exif)
        described = {tag: value for tag, value in exif.items() if tag not in _TIFF_STRUCTURE}
        directory = _reloaded(_directory(described, 8))
        for tag, data in directory._tagdata.items():
            kind = directory.tagtype[tag]
            tags.append((tag, kind, len(data) // _TYPE_BYTES[kind], data, True))
        for pointer in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
            if inner := {tag: value for tag, value in exif.get_ifd(pointer).items() if tag != ExifTags.IFD.Interop}:
                directories[pointer] = inner
                tags.append((_PLACEHOLDERS[pointer], 4, 1, 0, True))
    if metadata.xmp:
        tags.append((700, 1, len(metadata.xmp), metadata.xmp, True))
    if metadata.photoshop:
        block = _photoshop_block(metadata.photoshop)
        tags.append((34377, 1, len(block), block, True))
    if 1028 in metadata.photoshop:
        iptc = metadata.photoshop[1028]
        tags.append((33723, 7, len(iptc), iptc, True))
    return tags, directories
