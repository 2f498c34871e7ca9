"""colorize_lib.images: every kind of image file comes out right, or is refused with a reason."""

import io
import resource
import struct
import sys
import warnings
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, JpegImagePlugin
from skimage.color import rgb2lab

from colorize_lib.errors import InputError
from colorize_lib.evaluation.plots import Pictures
from colorize_lib.images import WRITABLE, Frame, Metadata, Photo, _Undisturbed, decode, encode, jpeg
from data_prep.readers import Photos

try:
    import pillow_heif
except ImportError:
    pillow_heif = None

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


def test_pillows_own_settings_come_back_when_the_last_thread_leaves(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
    filters, first, second = list(warnings.filters), _Undisturbed(), _Undisturbed()
    first.__enter__()
    second.__enter__()
    first.__exit__()
    assert Image.MAX_IMAGE_PIXELS is None
    assert warnings.filters != filters
    second.__exit__()
    assert Image.MAX_IMAGE_PIXELS == 7
    assert warnings.filters == filters


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP", "JPEG2000"])
def test_lossless_formats_keep_every_pixel(format, tmp_path):
    image = Image.fromarray(SMOOTH[:16, :16])
    options = {"WEBP": {"lossless": True}}.get(format, {})
    data = encoded(image, format, **options)
    np.testing.assert_array_equal(decoded(data), SMOOTH[:16, :16])
    (tmp_path / "photo").write_bytes(data)
    np.testing.assert_array_equal(decode(tmp_path / "photo"), SMOOTH[:16, :16])
    np.testing.assert_array_equal(decode(str(tmp_path / "photo")), SMOOTH[:16, :16])


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
        (encoded(np.ones((4, 4), np.float32), "TIFF"), "IEEEFP samples of 32 bits"),
        (encoded(np.full((4, 4), 1 << 20, np.int32), "TIFF"), "INT samples of 32 bits"),
    ],
    ids=["empty", "text", "postscript", "truncated", "truncated-png", "bomb", "large", "float", "int32"],
)
def test_what_cannot_be_used_is_refused_with_its_reason(data, reason):
    with pytest.raises(InputError, match=reason):
        decoded(data)


ALPHA = dict(planarconfig="contig", extrasamples=["unassalpha"])

# TIFF: tifffile writes and reads every layout on its own

GRADIENT = np.add.outer(np.arange(40) * 3, np.arange(50) * 2).astype(np.uint8)
COLOURS = np.stack([GRADIENT, GRADIENT[::-1], GRADIENT // 2], axis=-1)


def tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def frame(data, **options):
    return Photo(io.BytesIO(data), **options).frame()


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_rgb_tiff_of_every_layout(dtype, planar, compression, byteorder):
    values = COLOURS.astype(dtype) * (257 if dtype == "u2" else 1)
    stored = np.moveaxis(values, -1, 0) if planar == "separate" else values
    data = tiff(
        stored, photometric="rgb", planarconfig=planar, compression=compression, byteorder=byteorder, rowsperstrip=7
    )
    independent = tifffile.imread(io.BytesIO(data))
    independent = np.moveaxis(independent, 0, -1) if planar == "separate" else independent
    found = frame(data).pixels
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, independent)
    np.testing.assert_array_equal(decoded(data), COLOURS)


@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_gray_tiff_of_every_meaning(dtype, photometric, tile):
    values = GRADIENT.astype(dtype) * (257 if dtype == "u2" else 1)
    found = frame(tiff(values, photometric=photometric, tile=tile)).pixels
    white = np.iinfo(dtype).max
    np.testing.assert_array_equal(found, values if photometric == "minisblack" else white - values)


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
def test_tiff_of_odd_depths(bits):
    values = (GRADIENT.astype(np.uint32) * (2**bits - 1) // 255).astype(np.uint8 if bits <= 8 else np.uint16)
    stored = values.astype(bool) if bits == 1 else values
    found = frame(tiff(stored, photometric="minisblack", bitspersample=bits)).pixels
    white = 255 if bits <= 8 else 65535
    np.testing.assert_allclose(found / white, values / (2**bits - 1), atol=1 / white)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_tiff_with_alpha(dtype, channels, kind):
    white = np.iinfo(dtype).max
    colour = (COLOURS[..., :channels].astype(dtype) // 2 * (white // 255)).astype(dtype)
    alpha = np.full((40, 50, 1), white // 5 * 4, dtype)
    stored = colour if kind == "unassalpha" else (colour / white * alpha).round().astype(dtype)
    photometric = "rgb" if channels == 3 else "minisblack"
    data = tiff(
        np.concatenate([stored, alpha], -1), photometric=photometric, extrasamples=[kind], planarconfig="contig"
    )
    found = frame(data)
    assert found.pixels.dtype == dtype
    np.testing.assert_allclose(found.pixels.reshape(40, 50, -1).astype(float), colour, atol=2)
    np.testing.assert_array_equal(found.alpha, alpha[..., 0])


def test_tiff_in_palette_cmyk_and_lab():
    palette = np.zeros((3, 256), np.uint16)
    palette[0], palette[1] = np.arange(256) * 257, np.arange(256)[::-1] * 257
    found = decoded(tiff(GRADIENT, photometric="palette", colormap=palette))
    np.testing.assert_array_equal(found[..., 0], GRADIENT)
    np.testing.assert_array_equal(found[..., 1], 255 - GRADIENT)
    cmyk = np.asarray(Image.fromarray(COLOURS).convert("CMYK"))
    np.testing.assert_allclose(decoded(tiff(cmyk, photometric="separated")).astype(int), COLOURS, atol=2)
    lab = np.asarray(rgb2lab(COLOURS), float)
    stored = np.dstack([lab[..., 0] * 2.55, lab[..., 1], lab[..., 2]]).round()
    stored = np.dstack([stored[..., 0].astype(np.uint8), stored[..., 1:].astype(np.int8).view(np.uint8)])
    found = decoded(tiff(stored, photometric="cielab"))
    assert np.abs(rgb2lab(found)[..., 0] - lab[..., 0]).mean() < 2


@pytest.mark.parametrize(
    ("values", "options", "reason"),
    [
        (GRADIENT.astype("i1"), dict(photometric="minisblack"), "1 INT samples of 8 bits"),
        (GRADIENT.astype("i2"), dict(photometric="minisblack"), "1 INT samples of 16 bits"),
        (COLOURS.astype("i2"), dict(photometric="rgb"), "3 INT samples of 16 bits"),
        (GRADIENT.astype("u4"), dict(photometric="minisblack"), "1 UINT samples of 32 bits"),
        (COLOURS.astype("u4"), dict(photometric="rgb"), "3 UINT samples of 32 bits"),
        *[(GRADIENT.astype(kind) / 255, dict(photometric="minisblack"), "1 IEEEFP") for kind in ("f2", "f4", "f8")],
        *[(COLOURS.astype(kind) / 255, dict(photometric="rgb"), "3 IEEEFP") for kind in ("f2", "f4", "f8")],
        (np.zeros((9, 9, 4), "u2"), dict(photometric="separated"), "SEPARATED with 4 UINT samples of 16 bits"),
        (np.zeros((9, 9, 3), "u2"), dict(photometric="cielab"), "CIELAB with 3 UINT samples of 16 bits"),
        (
            np.zeros((9, 9, 3), "u2"),
            dict(photometric="minisblack", planarconfig="contig", extrasamples=["unspecified"] * 2),
            "MINISBLACK with 3 UINT samples of 16 bits and further channels",
        ),
        *[
            (np.zeros((9, 9, samples), "u1"), dict(ALPHA, photometric=kind), f"{samples} UINT.* and further channels")
            for kind, samples in (("miniswhite", 2), ("cielab", 4))
        ],
        (
            np.zeros((4, 9, 9), "u1"),
            dict(ALPHA, photometric="rgb", planarconfig="separate"),
            "in separate planes and further channels",
        ),
        (
            np.zeros((9, 9, 2), "u2"),
            dict(ALPHA, photometric="miniswhite", extrasamples=["assocalpha"]),
            "MINISWHITE with 2 UINT samples of 16 bits and further channels",
        ),
        (np.zeros((3, 9, 9), "u1"), dict(photometric="ycbcr", planarconfig="separate"), "YCBCR.* in separate planes"),
        (GRADIENT.astype("u2"), dict(photometric="cfa", extratags=[(33421, 3, 2, (2, 2), True)]), "kind CFA"),
    ],
)
def test_tiff_whose_black_and_white_are_not_defined_is_refused_by_name(values, options, reason):
    with pytest.raises(InputError, match=reason):
        decoded(tiff(values, **options))


def test_every_page_of_a_tiff_is_read_except_smaller_copies():
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        writer.write(GRADIENT)
        writer.write(GRADIENT[::2, ::2], subfiletype=1)
        writer.write(255 - GRADIENT)
    photo = Photo(stream)
    assert len(photo) == 2
    np.testing.assert_array_equal(photo.frame(1).pixels, 255 - GRADIENT)
    assert photo.notes == ["smaller copies or masks in the file are left out (1)"]


# Profiles


def rgb_profile(gamma):
    primaries = [0.64, 0.33, 1.0, 0.3, 0.6, 1.0, 0.15, 0.06, 1.0]
    return imagecodecs.cms_profile("rgb", gamma=gamma, whitepoint=[0.3127, 0.329, 1.0], primaries=primaries)


def gray_profile(gamma):
    return imagecodecs.cms_profile("gray", gamma=gamma)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_a_gray_profile_is_applied(format, bits):
    linear = np.linspace(0, 1, 256)[None].repeat(8, 0)
    values = (linear * (2**bits - 1)).round().astype(f"u{bits // 8}")
    data = encoded(values, format, icc_profile=gray_profile(1.0))
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    found = frame(data).pixels
    assert found.shape == values.shape
    np.testing.assert_allclose(found / (2**bits - 1), expected, atol=0.006)
    np.testing.assert_array_equal(frame(data, managed=False).pixels, values)


def test_gray_pixels_in_an_rgb_profile_have_its_tone_curve():
    linear = rgb_profile(1.0)
    data = encoded(GRADIENT, "PNG", icc_profile=linear)
    assert abs(int(decoded(data)[GRADIENT == 100][0]) - 168) <= 1  # the code of 100/255 of white
    data = encoded(COLOURS, "PNG", icc_profile=gray_profile(1.0))  # a profile that fits no RGB
    np.testing.assert_array_equal(decoded(data), COLOURS)


def test_a_profile_is_known_by_what_it_does_not_by_its_name():
    """Linear profiles are sold under the name sRGB."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(decoded(encoded(COLOURS, "PNG", icc_profile=srgb)), COLOURS)
    linear = rgb_profile(1.0)
    assert abs(int(decoded(encoded(np.full((4, 4, 3), 100, np.uint8), "PNG", icc_profile=linear))[0, 0, 0]) - 168) <= 1


def test_the_gamma_of_a_png_is_applied():
    data = png(4, 1, 8, 0, b"\0" + bytes([0, 100, 200, 255]))
    gamma = struct.pack(">I", 4) + b"gAMA" + struct.pack(">I", 100_000)
    gamma = gamma[:4] + gamma[4:] + struct.pack(">I", zlib.crc32(gamma[4:]))
    data = data[:33] + struct.pack(">I", 4) + b"gAMA" + struct.pack(">I", 100_000) + gamma[-4:] + data[33:]
    assert abs(int(decoded(data)[0, 1]) - 168) <= 1
    np.testing.assert_array_equal(decoded(data, managed=False)[0], [0, 100, 200, 255])
    perceptual = b"sRGB" + b"\0"  # the chunk of which the gamma is only a copy
    perceptual = struct.pack(">I", 1) + perceptual + struct.pack(">I", zlib.crc32(perceptual))
    np.testing.assert_array_equal(decoded(data[:33] + perceptual + data[33:])[0], [0, 100, 200, 255])


# Depth and transparency


@pytest.mark.parametrize("channels", [3, 4])
def test_a_png_of_16_bits_keeps_them(channels):
    values = np.random.default_rng(0).integers(0, 65536, (9, 7, channels), "uint16")
    data = imagecodecs.png_encode(values)
    found = frame(data)
    np.testing.assert_array_equal(found.pixels, values[..., :3])
    again = Photo(io.BytesIO(encode([found], "PNG", Metadata(text={"Title": "A"})))).frame()
    np.testing.assert_array_equal(again.pixels, values[..., :3])
    if channels == 4:
        np.testing.assert_array_equal(found.alpha, values[..., 3])
        np.testing.assert_array_equal(again.alpha, values[..., 3])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_come_back_from_every_format_that_has_them(kind):
    values = np.random.default_rng(0).integers(0, 65536, (9, 7, 3), "uint16")
    data = encode([Frame(values)], kind)
    if kind == "PPM":
        np.testing.assert_array_equal(np.frombuffer(data[-9 * 7 * 6 :], ">u2").reshape(9, 7, 3), values)
    else:
        np.testing.assert_array_equal(frame(data).pixels, values)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG2000"])
def test_transparency_is_written(kind):
    alpha = GRADIENT
    options = {"lossless": True} if kind == "WEBP" else {}
    found = frame(encode([Frame(COLOURS, alpha)], kind, **options))
    np.testing.assert_array_equal(found.alpha, alpha)
    np.testing.assert_array_equal(found.pixels, COLOURS)


# What a file holds besides pixels


def exif_block(**tags):
    """An EXIF block of a turned photograph, with a description, a date, a place, and a thumbnail."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif[0x0132] = 6, "A ferry", "1951:07:03 10:00:00"
    exif.get_ifd(0x8769).update({0x9003: "1951:07:03 10:00:00", 0xA002: 50, 0xA003: 40, 0x927C: b"maker's own"})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0)})
    return exif.tobytes().removeprefix(b"Exif\0\0")


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="1" dc:title="A"/></x:xmpmeta>'


# Which of the fields that the next test fills a format can hold.
HELD = {
    "JPEG": {"exif", "xmp", "profile", "photoshop", "comment", "dpi"},
    "PNG": {"exif", "xmp", "profile", "comment", "text", "dpi"},
    "WEBP": {"exif", "xmp", "profile"},
    "TIFF": {"exif", "xmp", "profile", "photoshop", "dpi"},
    "AVIF": {"exif", "xmp", "profile"},
    "JPEG2000": {"comment", "boxes"},
    "BMP": {"dpi"},
}


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("kind", HELD)
def test_metadata_comes_back_from_every_format_that_holds_it(kind, deep):
    whole = Metadata(
        exif=exif_block().replace(b"\x06\x00", b"\x01\x00", 1),
        xmp=XMP,
        profile=rgb_profile(2.2),
        photoshop={1028: b"\x1c\x02\x05\x00\x05Ferry"},
        comment=b"a comment",
        text={"Author": "Ä"},
        boxes=struct.pack(">I", 12) + b"xml <a/>",
        dpi=(300.0, 300.0),
    )
    held, dropped = whole.fitted(kind)
    assert set(dropped) == {name for name, value in vars(whole).items() if value} - HELD[kind]
    pixels = COLOURS.astype(np.uint16) * 257 if deep else COLOURS
    found = Photo(io.BytesIO(encode([Frame(pixels)], kind, held))).metadata()
    for name, value in vars(held).items():
        if name in dropped:
            assert not value
        elif name == "exif":
            exif = Image.Exif()
            exif.load(found.exif)
            assert exif[0x010E] == "A ferry"
            assert exif.get_ifd(0x8769)[0x9003] == "1951:07:03 10:00:00"
            assert exif.get_ifd(0x8769)[0x927C] == b"maker's own"
            assert exif.get_ifd(0x8825)[2] == (52.0, 30.0, 0.0)
        elif name == "dpi":
            np.testing.assert_allclose(found.dpi, value, atol=0.1)
        elif name in ("comment", "text") and kind == "PNG":
            assert found.text == {"Author": "Ä", "Comment": "a comment"}
        else:
            assert getattr(found, name) == value, name


@pytest.mark.parametrize("kind", WRITABLE)
def test_a_file_without_metadata_has_none(kind):
    if kind == "HEIF" and pillow_heif is None:
        pytest.skip("pillow-heif is not installed")
    found = vars(Photo(io.BytesIO(encode([Frame(COLOURS)], kind))).metadata())
    # Writers state a resolution, and OpenJPEG its version.
    assert not any(value for name, value in found.items() if name not in ("dpi", "comment"))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_metadata_describes_the_upright_picture(format):
    exif = Image.Exif()
    exif.load(exif_block())
    xmp = XMP.replace(b'Orientation="1"', b'Orientation="6"')
    options = {"tiffinfo": {700: xmp}} if format == "TIFF" else {"xmp": xmp} if format != "PNG" else {}
    photo = Photo(io.BytesIO(encoded(COLOURS, format, exif=exif, **options)))
    assert photo.frame().pixels.shape == (50, 40, 3)
    found = photo.metadata()
    mended = Image.Exif()
    mended.load(found.exif)
    assert mended.get(0x0112, 1) == 1
    if format != "TIFF":
        assert (mended.get_ifd(0x8769)[0xA002], mended.get_ifd(0x8769)[0xA003]) == (40, 50)
    assert b'Orientation="6"' not in found.xmp


def test_the_bytes_of_exif_stay_in_their_places_and_the_thumbnail_goes():
    """Makers' own notes point to places in the block."""
    data = io.BytesIO()
    with_thumbnail = Image.Exif()
    with_thumbnail.load(exif_block())
    block = with_thumbnail.tobytes().removeprefix(b"Exif\0\0")
    end = len(block)
    first = struct.unpack_from(">I" if block[:2] == b"MM" else "<I", block, 4)[0]
    order = ">" if block[:2] == b"MM" else "<"
    count = struct.unpack_from(order + "H", block, first)[0]
    block = bytearray(block) + struct.pack(order + "HHHIHHI", 1, 0x0103, 3, 1, 6, 0, 0)
    struct.pack_into(order + "I", block, first + 2 + 12 * count, end)
    Image.fromarray(COLOURS).save(data, "JPEG", exif=b"Exif\0\0" + bytes(block))
    found = Photo(data).metadata().exif
    assert len(found) == len(block)
    assert found.index(b"maker's own") == block.index(b"maker's own")
    assert struct.unpack_from(order + "I", found, first + 2 + 12 * count)[0] == 0


def test_iptc_of_a_jpeg_is_kept_without_the_thumbnail():
    iptc = b"\x1c\x02\x05\x00\x05Ferry"
    metadata = Metadata(photoshop={1028: iptc, 1036: b"old thumbnail"})
    data = encode([Frame(COLOURS)], "JPEG", metadata)
    assert b"old thumbnail" in data
    assert Photo(io.BytesIO(data)).metadata().photoshop == {1028: iptc}


def test_metadata_beyond_one_segment_of_a_jpeg(tmp_path):
    """XMP goes on in segments of its own, Photoshop's resources from one segment to the next."""
    extended = (b"http://ns.adobe.com/xmp/extension/\0" + bytes(32) + struct.pack(">II", 5, 0) + b"<a/>.",)
    resources = {1028: b"\x1c\x02\x05\x00\x05Ferry", 2000: bytes(range(256)) * 600, 1061: b"last"}
    found = Photo(
        io.BytesIO(encode([Frame(COLOURS)], "JPEG", Metadata(xmp=XMP, extended_xmp=extended, photoshop=resources)))
    ).metadata()
    assert (found.xmp, found.extended_xmp, found.photoshop) == (XMP, extended, resources)
    assert found.fitted("PNG")[1] == ["extended_xmp", "photoshop"]


@pytest.mark.parametrize("name", ["exif", "xmp", "comment"])
def test_metadata_too_large_for_a_jpeg_is_named_as_dropped(name):
    held, dropped = Metadata(**{name: bytes(70_000)}).fitted("JPEG")
    assert dropped == [name]
    assert Photo(io.BytesIO(encode([Frame(COLOURS)], "JPEG", held))).frame().pixels.shape == COLOURS.shape
    assert not Metadata(**{name: bytes(70_000)}).fitted("PNG")[1]


def test_each_picture_of_a_jpeg_has_exif_of_its_own():
    exif = [Image.Exif(), Image.Exif()]
    exif[0][0x010E], exif[1][0x010E] = "the left one", "the right one"
    pictures = [Image.open(io.BytesIO(encoded(COLOURS, "JPEG", exif=block))) for block in exif]
    stream = io.BytesIO()
    pictures[0].save(stream, "MPO", save_all=True, append_images=pictures[1:], exif=exif[0])
    photo = Photo(stream)
    photo.frame(1)
    assert b"the left one" in photo.metadata().exif


@pytest.mark.parametrize(("kind", "side"), [("JPEG", 65_501), ("WEBP", 16_384)])
def test_a_picture_too_long_for_a_format_is_refused_with_one_that_takes_it(kind, side):
    with pytest.raises(InputError, match="--format png"):
        encode([Frame(np.zeros((1, side), np.uint8))], kind)
    data = encode([Frame(np.zeros((1, side - 1), np.uint8))], kind)
    assert Photo(io.BytesIO(data)).size == (side - 1, 1)


# Encoding as it was


@pytest.mark.parametrize("quality", [60, 100])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_a_jpeg_keeps_its_tables_and_subsampling(quality, subsampling):
    original = Image.open(
        io.BytesIO(encoded(COLOURS, "JPEG", quality=quality, subsampling=subsampling, progressive=True))
    )
    photo = Photo(original.fp)
    again = Image.open(io.BytesIO(encode([photo.frame()], "JPEG", **photo.encoding())))
    assert again.quantization == original.quantization
    assert JpegImagePlugin.get_sampling(again) == JpegImagePlugin.get_sampling(original)
    assert again.info["progressive"]


def test_a_gray_jpeg_becomes_one_of_its_quality_without_subsampling():
    photo = Photo(io.BytesIO(encoded(GRADIENT, "JPEG", quality=80)))
    again = Image.open(io.BytesIO(encode([Frame(COLOURS)], "JPEG", **photo.encoding())))
    assert again.quantization[0] == Image.open(photo._file).quantization[0]
    assert JpegImagePlugin.get_sampling(again) == 0


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits"])
def test_a_tiff_keeps_its_compression(compression):
    photo = Photo(io.BytesIO(tiff(COLOURS, photometric="rgb", compression=compression)))
    again = Photo(io.BytesIO(encode([photo.frame()], "TIFF", **photo.encoding())))
    assert again.encoding() == photo.encoding()
    np.testing.assert_array_equal(again.frame().pixels, COLOURS)


def test_lossless_webp_stays_lossless():
    photo = Photo(io.BytesIO(encoded(COLOURS, "WEBP", lossless=True)))
    np.testing.assert_array_equal(frame(encode([photo.frame()], "WEBP", **photo.encoding())).pixels, COLOURS)
    lossy = Photo(io.BytesIO(encoded(COLOURS, "WEBP")))
    assert lossy.encoding() == {"lossless": False}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_several_frames_are_written(kind):
    frames = [Frame(COLOURS, duration=40.0), Frame(255 - COLOURS, duration=80.0)]
    photo = Photo(io.BytesIO(encode(frames, kind, **({"lossless": True} if kind == "WEBP" else {}))))
    assert len(photo) == 2
    if kind != "AVIF":
        np.testing.assert_array_equal(photo.frame(1).pixels, 255 - COLOURS)
    if kind != "TIFF":
        assert [photo.frame(number).duration for number in (0, 1)] == [40, 80]


def two_in_one(second):
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, "MPO", save_all=True, append_images=[second], quality=95)
    return stream.getvalue()


def test_a_jpeg_of_two_views_keeps_both():
    data = two_in_one(Image.fromarray(255 - COLOURS))
    photo = Photo(io.BytesIO(data))
    assert (photo.format, len(photo), photo.notes) == ("JPEG", 2, [])
    assert np.abs(photo.frame(1).pixels.astype(int) - (255 - COLOURS)).mean() < 3
    again = Photo(io.BytesIO(encode([photo.frame(0), photo.frame(1)], "JPEG")))
    assert (again.format, len(again)) == ("JPEG", 2)


def test_the_gain_map_of_a_phone_is_no_second_photograph():
    data = two_in_one(Image.fromarray(COLOURS[..., 0]).resize((16, 12)))
    photo = Photo(io.BytesIO(data))
    assert len(photo) == 1
    assert photo.notes == ["previews or maps of the first picture are left out (1 of 2 pictures in the file)"]
    assert np.abs(photo.frame().pixels.astype(int) - COLOURS).mean() < 3
    damaged = two_in_one(Image.fromarray(255 - COLOURS))
    photo = Photo(io.BytesIO(damaged[: damaged.rindex(b"\xff\xd8\xff") + 4]))
    assert len(photo) == 1
    assert np.abs(photo.frame().pixels.astype(int) - COLOURS).mean() < 3


def test_a_file_that_ends_early_is_read_on_request():
    data = encoded(np.asarray(Image.open(PHOTO)), "JPEG", quality=90)
    with pytest.raises(InputError, match="truncated"):
        frame(data[: len(data) // 2])
    photo = Photo(io.BytesIO(data[: len(data) // 2]), tolerant=True)
    whole = decoded(data)
    found = photo.frame().pixels
    np.testing.assert_array_equal(found[: len(found) // 3], whole[: len(found) // 3])
    assert "incomplete" in photo.notes[0]


def test_depth_that_the_decoder_does_not_keep_is_noted():
    deep = COLOURS.astype(np.uint16) * 257
    notes = Photo(io.BytesIO(imagecodecs.avif_encode(deep >> 6, bitspersample=10))).notes
    assert notes == ["its samples of 10 bits or more are read as 8 bits"]
    notes = Photo(io.BytesIO(imagecodecs.jpeg2k_encode(deep))).notes
    assert notes == ["its samples of 16 bits or more are read as 8 bits"]
    assert Photo(io.BytesIO(encode([Frame(COLOURS)], "AVIF"))).notes == []
    assert Photo(io.BytesIO(encode([Frame(COLOURS)], "JPEG2000"))).notes == []


def test_a_jpeg_is_written_whole_or_not_at_all(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), "uint8"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * 1024, before[1]))
    try:
        with pytest.raises(OSError, match="large"):
            Pictures(noise).savefig(tmp_path / "a.jpg")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    Pictures(noise).savefig(tmp_path / "a.jpg")
    assert Image.open(tmp_path / "a.jpg").size == (200, 200)
    assert Image.open(io.BytesIO(jpeg(noise, 95))).size == (200, 200)


@pytest.mark.skipif(pillow_heif is None, reason="pillow-heif is not installed")
def test_heic_is_read_and_written():
    data = encode([Frame(COLOURS)], "HEIF", Metadata(exif=exif_block().replace(b"\x06\x00", b"\x01\x00", 1)))
    photo = Photo(io.BytesIO(data))
    assert photo.format == "HEIF"
    assert np.abs(photo.frame().eight_bits().astype(int) - COLOURS).mean() < 3
    assert b"A ferry" in photo.metadata().exif


def test_without_its_library_heic_is_refused_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError, match="pip install pillow-heif"):
        decoded(b"\0\0\0\x18ftypheic" + bytes(100))
