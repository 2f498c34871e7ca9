"""Colorizing files of photographs: many at once, each kept in its own resolution, file format, colour profile and DPI."""

import contextlib
import io
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from colorize_lib import files
from colorize_lib.apps.trained import load, load_trained
from colorize_lib.errors import InputError
from colorize_lib.images import decode

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".avif", ".jp2")
_WRITABLE = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000")  # the others become PNG
_ORIENTATION = 0x0112
# In a TIFF file EXIF stands among the tags that say where the pixels lie; only these describe the photo: description, make, model,
# software, date, artist, copyright.
_TIFF_TAGS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)


def find(names):
    """Files named by `names`: files, folders (their images, at any depth), patterns such as "*.jpg", and "-".

    Raises InputError for a name that stands for nothing.
    """
    found = []
    for name in names:
        path = Path(name)
        if name == "-" or path.is_file():
            matches = [path]
        elif path.is_dir():
            matches = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
        else:
            matches = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor))))
        if not matches:
            raise InputError(f"There is no photograph at {name}: name files, folders, or a pattern in quotation marks.")
        found += [match for match in matches if match not in found]
    return found


def colorize_files(
    names, model="polychromify", *, output=None, weights=None, size=None, saturation=1.0, side_by_side=False
):
    """Colorize photographs and write the results.

    Args:
        names: see `find`; the photo from standard input ("-") is written to standard output.
        model: name of the network, or folder of a system that a run trained.
        output: folder of the results, under the photos' names; None: beside each photo, as NAME-colorized.
        weights: file of weights; None: the bundled ones.
        size: side of the network's input in pixels; None: the network's own.
        saturation: factor on the predicted ab.
        side_by_side: write the gray photo and the result beside each other.

    Returns:
        {path: reason} of the photos that could not be colorized; the others are done.

    Raises:
        InputError: nothing to colorize, no such model or weights.
    """
    from tqdm import tqdm

    photos = find(names)
    colorizer = (
        load_trained(model) if Path(model).is_dir() else load(model, weights, **({"size": size} if size else {}))
    )
    failed, taken = {}, {photo.resolve() for photo in photos}
    for photo in tqdm(photos, unit="photo", disable=len(photos) < 2):
        try:
            standard = str(photo) == "-"
            content = sys.stdin.buffer.read() if standard else _read(photo)
            result, options = colorize_image(colorizer, content, saturation, side_by_side)
            if standard:
                result.save(sys.stdout.buffer, **options)
            else:
                target = _target(photo, options["format"], output, taken)
                with files.atomic(target) as path:
                    result.save(path, **options)
        except InputError as error:
            failed[str(photo)] = str(error)
    return failed


def colorize_image(colorizer, content, saturation=1.0, side_by_side=False, ab=None):
    """One photograph: the bytes of its file → `PIL.Image.Image` and the options to save it with, as the original was.

    The result is upright and in the photo's own colour profile, if that is one of RGB; else in sRGB. `ab` is an earlier
    prediction for it, see `Colorizer.colorize`. Raises InputError.
    """
    photo = Image.fromarray(decode(io.BytesIO(content)))  # refuses what is damaged, too large or no image
    with Image.open(io.BytesIO(content)) as original:  # its header alone
        info, kind, exif = original.info, original.format, original.getexif()
    profile = _rgb_profile(info.get("icc_profile"))
    result = Image.fromarray(colorizer.colorize(np.asarray(photo), saturation, ab))
    if side_by_side:
        both = Image.new("RGB", (2 * photo.width, photo.height))
        both.paste(photo.convert("L").convert("RGB"))
        both.paste(result, (photo.width, 0))
        result = both
    options = {"format": kind if kind in _WRITABLE else "PNG"}
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # one that converts nothing: the result is in sRGB
            result = ImageCms.profileToProfile(result, ImageCms.createProfile("sRGB"), profile)
            options["icc_profile"] = info["icc_profile"]
    if "dpi" in info:
        options["dpi"] = tuple(float(value) for value in info["dpi"])
    if exif and options["format"] in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF"):
        if kind == "TIFF":
            described = {tag: exif[tag] for tag in _TIFF_TAGS if tag in exif}
            exif = Image.Exif()
            exif.update(described)
        exif[_ORIENTATION] = 1  # the pixels are upright now
        options["exif"] = exif
    if options["format"] in ("JPEG", "WEBP", "AVIF"):
        options["quality"] = 95
    return result, options


def _rgb_profile(content):
    """The ICC profile, if it is a usable one of an RGB space other than sRGB."""
    if not content:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        return profile if profile.profile.xcolor_space.strip() == "RGB" else None
    except (ImageCms.PyCMSError, OSError):
        return None


def _read(photo):
    with files.disk_errors(photo, "read"):
        return photo.read_bytes()


def _target(photo, kind, output, taken):
    """Where the result goes: never onto a photo of the same call, nor onto the result of another one."""
    suffix = photo.suffix if Image.registered_extensions().get(photo.suffix.lower()) == kind else f".{kind.lower()}"
    stem = photo.stem if output else f"{photo.stem}-colorized"
    folder = Path(output) if output else photo.parent
    number, target = 1, folder / f"{stem}{suffix}"
    while target.resolve() in taken:
        number += 1
        target = folder / f"{stem}-{number}{suffix}"
    taken.add(target.resolve())
    return target
