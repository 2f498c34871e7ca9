"""Image files of any kind as upright 8-bit RGB or gray.

Conventions
-----------
- The result is uint8, (H, W) for a file that holds gray alone, else (H, W, 3) RGB, turned upright by its EXIF orientation.
- Transparency, of whole pixels or of a palette's colour, is laid over white; of an animation the first frame counts.
- 16 bits become 8 by rounding (gray) or by their upper half (RGB, as Pillow reads it).
- Colours are brought to sRGB where the file holds another profile. With `managed=False` the stored RGB values are kept, as
  the papers' tools do; CMYK is converted by its profile either way, since its values mean nothing without one.
- A JPEG is decoded in full: Pillow's `draft` would be faster and gives other pixels.

A file is not trusted: only the formats below are tried (no PostScript), and an image is refused by its header before a pixel of
more than `MAX_PIXELS` is decoded.
"""

import contextlib
import io
import warnings
from functools import lru_cache

import numpy as np
from PIL import ExifTags, Image, ImageCms

from colorize_lib.errors import InputError

MAX_PIXELS = 52_000_000  # cameras of 50 megapixels; 156 MB as RGB, and about three times that while it is decoded

_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF", "JPEG2000")
_STRIP = 512  # rows
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_READABLE = "JPEG, PNG, WebP, TIFF, GIF, BMP, PPM, AVIF and JPEG 2000 are read"


def decode(file, managed=True):
    """Decode an image file.

    Args:
        file: path or binary file.
        managed: bring colours to sRGB where the file has another profile.

    Returns:
        uint8 (H, W) if the file holds gray alone, else (H, W, 3).

    Raises:
        InputError: the file is empty, truncated, damaged, too large, or no image of a known format; the message is the reason
            alone, without the file's name.
        OSError: the file cannot be opened.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about harmless damage in metadata and about large images
        if isinstance(file, io.IOBase):
            return _decode(file, managed)
        with open(file, "rb") as opened:
            return _decode(opened, managed)


def _decode(file, managed):
    try:
        with Image.open(file, formats=_formats()) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise InputError(f"{width} × {height} pixels are more than the {MAX_PIXELS:,} that are read")
            return pixels(image, managed)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise InputError(f"more than the {MAX_PIXELS:,} pixels that are read") from error
    except Image.UnidentifiedImageError as error:
        empty = not file.seek(0, io.SEEK_END)
        raise InputError("the file is empty" if empty else f"no image of a known format ({_READABLE})") from error
    except Exception as error:  # damaged files make Pillow's decoders raise almost anything
        detail = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"it cannot be decoded: {detail}") from error


@lru_cache
def _formats():
    """Those of `_FORMATS` that this build of Pillow reads."""
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def pixels(image, managed=True):
    """The values of a `PIL.Image.Image` of any mode, upright: uint8 (H, W) or (H, W, 3), by the conventions above.

    Converted strip by strip, so that a large photograph costs little more memory than Pillow's copy and the result.

    Raises `InputError` for values of unknown range (float, or integers beyond 16 bits).
    """
    image.load()
    profile = image.info.get("icc_profile")
    strips = []
    for top in range(0, image.height, _STRIP):
        strip = image.crop((0, top, image.width, min(top + _STRIP, image.height)))
        strips.append(np.asarray(_eight_bits(strip, profile, managed)))
    values = strips[0] if len(strips) == 1 else np.concatenate(strips)
    return np.ascontiguousarray(_TURNS.get(_orientation(image), _as_it_is)(values))


def upright(image, managed=True):
    """`pixels` as a `PIL.Image.Image` of mode L or RGB."""
    return Image.fromarray(pixels(image, managed))


def _orientation(image):
    with contextlib.suppress(Exception):  # unreadable EXIF is no reason to lose the image
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    return 1


def _as_it_is(values):
    return values


# EXIF orientation → what makes the image upright
_TURNS = {
    2: lambda values: values[:, ::-1],
    3: lambda values: values[::-1, ::-1],
    4: lambda values: values[::-1],
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: np.rot90(values, -1),
    7: lambda values: values[::-1, ::-1].swapaxes(0, 1),
    8: lambda values: np.rot90(values),
}


def _eight_bits(image, profile, managed):
    """The image in mode L or RGB."""
    if image.mode in _SIXTEEN_BITS:
        return _from_16_bits(image)
    if image.mode == "F":
        raise InputError("floating-point values have no fixed range; save it with 8 or 16 bits")
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return image.convert("L")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return _over_white(_managed(rgba, profile) if managed else rgba)
    if image.mode == "CMYK":
        return _managed(image, profile)
    return _managed(image.convert("RGB"), profile) if managed else image.convert("RGB")


def _from_16_bits(image):
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise InputError("integers beyond 16 bits have no fixed range; save it with 8 or 16 bits")
    return Image.fromarray(((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8))


def _over_white(image):
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def _managed(image, profile):
    """The image in sRGB. Without a profile, or with one that is unusable, values are converted as they are."""
    mode = "RGBA" if image.mode == "RGBA" else "RGB"
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if "sRGB" not in ImageCms.getProfileDescription(source):
                target = ImageCms.createProfile("sRGB")
                return ImageCms.profileToProfile(image, source, target, outputMode=mode)
    return image.convert(mode)
