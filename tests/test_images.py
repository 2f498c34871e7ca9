"""colorize_lib.images: every kind of image file comes out right, or is refused with a reason."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from colorize_lib.errors import InputError
from colorize_lib.images import decode
from data_prep.readers import Photos

PHOTO = next((Path(__file__).parents[1] / "data_prep" / "photos").glob("*/*.jpg"))
SMOOTH = np.stack(np.broadcast_arrays(np.arange(48)[:, None] * 5, np.arange(64) * 3, 128), axis=-1).astype(np.uint8)


def encoded(image, format, **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, format, **options)
    return stream.getvalue()


def decoded(data, **options):
    return decode(io.BytesIO(data), **options)


def png(width, height, bit_depth, colour_type, rows=b""):
    """A PNG written by hand: Pillow writes neither 16-bit RGB nor headers that lie."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_jpeg_is_decoded_in_full_and_gray_stays_gray():
    whole = np.asarray(Image.open(PHOTO).convert("RGB"))
    np.testing.assert_array_equal(decode(PHOTO), whole)
    gray = decoded(encoded(Image.open(PHOTO).convert("L"), "JPEG"))
    assert gray.shape == whole.shape[:2]
    assert gray.dtype == np.uint8


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG2000"])
def test_lossless_formats_keep_every_pixel(format):
    image = Image.fromarray(SMOOTH[:16, :16])
    options = {"WEBP": {"lossless": True}}.get(format, {})
    np.testing.assert_array_equal(decoded(encoded(image, format, **options)), SMOOTH[:16, :16])


def test_cmyk_becomes_rgb():
    result = decoded(encoded(Image.fromarray(SMOOTH).convert("CMYK"), "JPEG", quality=95)).astype(int)
    assert np.abs(result - SMOOTH).mean() < 3


def test_a_foreign_profile_is_applied_unless_stored_values_are_asked_for():
    # The sRGB profile with red and green exchanged: what is stored as red is to be shown as green.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))
    profile = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    red = encoded(np.full((8, 8, 3), (255, 0, 0), np.uint8), "PNG", icc_profile=profile)
    assert decoded(red)[0, 0].argmax() == 1
    np.testing.assert_array_equal(decoded(red, managed=False)[0, 0], (255, 0, 0))
    damaged = encoded(np.full((8, 8, 3), (255, 0, 0), np.uint8), "PNG", icc_profile=profile[:200])
    np.testing.assert_array_equal(decoded(damaged)[0, 0], (255, 0, 0))


def test_transparency_is_laid_over_white():
    rgba = np.dstack([SMOOTH, np.full(SMOOTH.shape[:2], 255, np.uint8)])
    rgba[:10, ..., 3] = 0
    rgba[10:20, ..., 3] = 128
    result = decoded(encoded(rgba, "PNG")).astype(int)
    assert (result[:10] == 255).all()
    np.testing.assert_allclose(result[10:20], (SMOOTH[10:20] * 128.0 + 255 * 127) / 255, atol=1)
    np.testing.assert_array_equal(result[20:], SMOOTH[20:])


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_a_transparent_palette_colour_is_white(format):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([200, 10, 10, 10, 200, 10])
    image.putpixel((1, 2), 1)
    result = decoded(encoded(image, format, transparency=0))
    assert (result[0, 0] == 255).all()
    np.testing.assert_array_equal(result[2, 1], (10, 200, 10))


def test_sixteen_bits():
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    np.testing.assert_array_equal(decoded(encoded(ramp, "PNG")), np.arange(256).reshape(16, 16))
    np.testing.assert_array_equal(decoded(encoded(ramp, "TIFF")), np.arange(256).reshape(16, 16))
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).astype(">u2").tobytes() for row in ramp)
    np.testing.assert_array_equal(decoded(png(16, 16, 16, 2, rows))[..., 0], np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL.Image.Transpose that stores the image so
    stored = Image.fromarray(SMOOTH)
    if orientation > 1:
        stored = stored.transpose(turns[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decoded(encoded(stored, "PNG", exif=exif)), SMOOTH)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(format):
    frames = [Image.new("RGB", (9, 7), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"WEBP": {"lossless": True}}.get(format, {})
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert (decoded(data) == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(1, 1), (20_000, 20), (20, 20_000)])
@pytest.mark.parametrize("geometry", ["imagemagick", "square", "centre"])
def test_extreme_shapes_go_through_every_geometry(size, geometry, tmp_path):
    Image.new("RGB", size, (10, 200, 30)).save(tmp_path / "odd.jpg", quality=95)
    result = Photos(tmp_path, 64, geometry)("odd.jpg")
    assert result.shape == (64, 64, 3)
    np.testing.assert_allclose(result, np.broadcast_to((10, 200, 30), result.shape), atol=4)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"this is a letter, not a photograph", "no image of a known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "no image of a known format"),
        (PHOTO.read_bytes()[:5000], "cannot be decoded"),
        (encoded(SMOOTH, "PNG")[:-60], "cannot be decoded"),
        (png(30_000, 30_000, 8, 2), "pixels"),
        (png(9_000, 8_000, 8, 2), "9000 × 8000 pixels"),
        (encoded(np.ones((4, 4), np.float32), "TIFF"), "floating-point"),
        (encoded(np.full((4, 4), 1 << 20, np.int32), "TIFF"), "16 bits"),
    ],
    ids=["empty", "text", "postscript", "truncated", "truncated-png", "bomb", "large", "float", "int32"],
)
def test_what_cannot_be_used_is_refused_with_its_reason(data, reason):
    with pytest.raises(InputError, match=reason):
        decoded(data)


ORIGINALS = [
    PHOTO.read_bytes(),
    encoded(SMOOTH, "JPEG", progressive=True),
    encoded(SMOOTH, "PNG"),
    encoded(Image.fromarray(SMOOTH).convert("P"), "GIF"),
    encoded(SMOOTH, "TIFF", compression="tiff_lzw"),
    encoded(SMOOTH, "WEBP"),
    encoded(SMOOTH, "BMP"),
]


def mutated(data, generator):
    """The bytes with one to four spots overwritten, put in or cut out; a third of them also end early."""
    data = bytearray(data)
    for _ in range(generator.integers(1, 5)):
        start = int(generator.integers(len(data)))
        data[start : start + int(generator.choice([0, 1, 4, 40]))] = generator.bytes(int(generator.choice([0, 1, 4])))
    return data[: int(len(data) * generator.random())] if generator.random() < 1 / 3 else data


def test_mutated_files_give_an_image_or_a_reason(tmp_path):
    images, reasons = [], []

    @settings(max_examples=350, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(original=st.sampled_from(ORIGINALS), seed=st.integers(0, 2**32))
    def read(original, seed):
        (tmp_path / "mutated.jpg").write_bytes(mutated(original, np.random.default_rng(seed)))
        begun = time.monotonic()
        try:
            result = Photos(tmp_path, 32, "imagemagick", managed=True)("mutated.jpg")
        except InputError as error:
            reasons.append(str(error))
        else:
            assert result.shape == (32, 32, 3)
            assert result.dtype == np.uint8
            images.append(result)
        assert time.monotonic() - begun < 30

    read()
    assert len(images) + len(reasons) >= 300
    assert min(len(images), len(reasons)) > 30
    assert all(0 < len(reason) < 300 and "\n" not in reason for reason in reasons)
