"""colorize_lib.apps.photographs and the command `colorize`: any photograph in, nothing lost on the way out."""

import contextlib
import io
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import imagecodecs
import keras
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, JpegImagePlugin
from skimage.color import rgb2lab

from colorize_lib import __main__, images, models
from colorize_lib.apps import photographs, trained
from colorize_lib.errors import InputError
from colorize_lib.training.colorizer import Colorizer

GRAY = np.add.outer(np.arange(40) * 3, np.arange(60) * 2).astype(np.uint8)


def photo(width=60, height=40, seed=0):
    small = np.random.default_rng(seed).integers(60, 190, (3, 4, 3), dtype="uint8")
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of the full network whose output is a constant colour, far from gray."""
    network = models.build("polychromify")
    output = network.layers[-1]
    output.set_weights([0 * output.kernel.numpy(), np.array([0.1, 0.2])])
    path = tmp_path_factory.mktemp("weights") / "polychromify.weights.h5"
    network.save_weights(path)
    return str(path)


@pytest.fixture
def constant(monkeypatch):
    """A small network in place of the bundled one, whose output is a constant colour, far from gray."""
    inputs = keras.Input((16, 16, 1))
    network = keras.Model(inputs, keras.layers.Conv2D(2, 1, kernel_initializer="zeros")(inputs))
    network.layers[-1].bias.assign([0.1, 0.2])
    colorizer = Colorizer(network, models.entry("polychromify").convention)
    monkeypatch.setattr(trained, "load", lambda *arguments, **options: colorizer)
    return colorizer


def run(*arguments):
    return __main__.main(["colorize", *map(str, arguments)])


def lightness(path):
    return rgb2lab(np.asarray(Image.open(path).convert("RGB")))[..., 0]


def colorfulness(path):
    rgb = np.asarray(Image.open(path).convert("RGB"))
    return np.abs(rgb2lab(rgb)[..., 1:]).mean()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_format_resolution_dpi_and_exif_are_kept(tmp_path, constant, suffix):
    source = tmp_path / f"photo.{suffix}"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    options = {} if suffix == "webp" else {"dpi": (150, 150)}
    photo().convert("L").save(source, exif=exif, **options)
    before = source.read_bytes()
    assert run(source) == 0
    with Image.open(source) as original, Image.open(tmp_path / f"photo-colorized.{suffix}") as result:
        assert result.format == original.format
        assert result.size == (40, 60)  # turned upright by the orientation
        assert result.getexif().get(0x0112, 1) == 1
        assert result.getexif()[0x010F] == "Maker"
        if suffix != "webp":
            assert [round(float(value)) for value in result.info["dpi"]] == [150, 150]
    assert source.read_bytes() == before
    assert colorfulness(tmp_path / f"photo-colorized.{suffix}") > 8


def test_the_color_profile_is_kept_and_right(tmp_path, constant):
    """A photo in another RGB profile looks the same, after its colours are brought to sRGB, as one in sRGB."""
    primaries = [0.64, 0.33, 1.0, 0.21, 0.71, 1.0, 0.15, 0.06, 1.0]
    profile = imagecodecs.cms_profile("rgb", gamma=2.2, whitepoint=[0.3127, 0.329, 1.0], primaries=primaries)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    wide = ImageCms.profileToProfile(photo(), ImageCms.createProfile("sRGB"), source)
    wide.save(tmp_path / "own.png", icc_profile=profile)
    photo().save(tmp_path / "plain.png")
    assert run(tmp_path / "*.png", "-o", tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "own.png") as own, Image.open(tmp_path / "out" / "plain.png") as plain:
        assert own.info["icc_profile"] == profile
        assert "icc_profile" not in plain.info
        shown = ImageCms.profileToProfile(own, source, ImageCms.createProfile("sRGB"))
        assert np.abs(np.asarray(shown).astype(int) - np.asarray(plain)).mean() < 2


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_a_gray_profile_gives_the_right_lightness_and_a_profile_that_fits(tmp_path, constant, suffix):
    Image.fromarray(GRAY).save(tmp_path / f"a.{suffix}", icc_profile=imagecodecs.cms_profile("gray", gamma=1.0))
    assert run(tmp_path / f"a.{suffix}") == 0
    linear = GRAY / 255
    expected = np.where(linear <= 0.008856, 903.3 * linear, 116 * np.cbrt(linear) - 16)
    with Image.open(tmp_path / f"a-colorized.{suffix}") as result:
        kept = ImageCms.ImageCmsProfile(io.BytesIO(result.info["icc_profile"]))
        assert kept.profile.xcolor_space.strip() == "RGB"
    middle = (expected > 30) & (expected < 80)  # beyond, sRGB does not hold this colour
    assert np.abs(lightness(tmp_path / f"a-colorized.{suffix}") - expected)[middle].mean() < 1


def test_sixteen_bits_of_lightness_are_kept(tmp_path, constant):
    gray = np.linspace(20_000, 40_000, 40 * 60).reshape(40, 60).round().astype(np.uint16)
    Image.fromarray(gray).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", np.stack([gray] * 3, -1), photometric="rgb")
    tifffile.imwrite(tmp_path / "c.tif", np.stack([gray] * 3), photometric="rgb", planarconfig="separate")
    assert run(tmp_path, "-o", tmp_path / "out") == 0
    results = [
        imagecodecs.png_decode((tmp_path / "out" / "a.png").read_bytes()),
        *(tifffile.imread(tmp_path / "out" / name) for name in ("b.tif", "c.tif")),
    ]
    expected = rgb2lab(np.repeat(gray[..., None] / 65535, 3, -1))[..., 0]
    for result in results:
        assert result.dtype == np.uint16
        assert result.shape == (40, 60, 3)
        np.testing.assert_allclose(rgb2lab(result / 65535)[..., 0], expected, atol=0.02)
        assert len(np.unique(result[..., 1])) > 1000


def test_formats_without_sixteen_bits_say_so(tmp_path, constant, capsys):
    Image.fromarray(GRAY.astype(np.uint16) * 257).save(tmp_path / "a.png")
    assert run(tmp_path / "a.png", "--format", "jpeg") == 0
    assert "16 bits a sample become 8 in JPEG" in capsys.readouterr().err
    assert Image.open(tmp_path / "a-colorized.jpg").mode == "RGB"


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_transparency_is_kept(tmp_path, constant, suffix, capsys):
    rgba = np.dstack([GRAY, GRAY, GRAY, 255 - GRAY])
    Image.fromarray(rgba).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    assert run(tmp_path / f"a.{suffix}") == 0
    result = Image.open(tmp_path / f"a-colorized.{suffix}")
    np.testing.assert_array_equal(np.asarray(result)[..., 3], 255 - GRAY)
    assert run(tmp_path / f"a.{suffix}", "--format", "jpeg") == 0
    assert "transparency, which is laid over white" in capsys.readouterr().err


def test_quality_and_subsampling_of_a_jpeg_are_kept_unless_chosen(tmp_path, constant):
    photo().save(tmp_path / "a.jpg", quality=100, subsampling="4:4:4")
    assert run(tmp_path / "a.jpg") == 0
    original, kept = Image.open(tmp_path / "a.jpg"), Image.open(tmp_path / "a-colorized.jpg")
    assert kept.quantization == original.quantization
    assert JpegImagePlugin.get_sampling(kept) == 0
    assert run(tmp_path / "a.jpg", "-o", tmp_path / "small", "--quality", 30) == 0
    assert Image.open(tmp_path / "small" / "a.jpg").quantization[0][0] > 10


def test_texts_comments_and_xmp_are_kept(tmp_path, constant):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    texts = images.PngImagePlugin.PngInfo()
    texts.add_text("Author", "Ana")
    photo().save(tmp_path / "a.png", pnginfo=texts)
    photo().save(tmp_path / "b.jpg", comment=b"in the garden", xmp=xmp)
    assert run(tmp_path, "-o", tmp_path / "out") == 0
    assert Image.open(tmp_path / "out" / "a.png").text == {"Author": "Ana"}
    assert Image.open(tmp_path / "out" / "b.jpg").info["comment"] == b"in the garden"
    assert Image.open(tmp_path / "out" / "b.jpg").info["xmp"] == xmp


def test_dates_are_kept_on_request(tmp_path, constant):
    photo().save(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", (1_000_000_000, 1_000_000_000))
    assert run(tmp_path / "a.png", "--keep-dates") == 0
    assert (tmp_path / "a-colorized.png").stat().st_mtime == 1_000_000_000


def test_every_page_is_colorized_or_it_is_said(tmp_path, constant, capsys):
    with tifffile.TiffWriter(tmp_path / "scan.tif") as writer:
        writer.write(GRAY)
        writer.write(255 - GRAY[:20])
    assert run(tmp_path / "scan.tif") == 0
    pages = tifffile.TiffFile(tmp_path / "scan-colorized.tif").pages
    assert [page.shape for page in pages] == [(40, 60, 3), (20, 60, 3)]
    assert run(tmp_path / "scan.tif", "-o", tmp_path / "first", "--first-page") == 0
    assert len(tifffile.TiffFile(tmp_path / "first" / "scan.tif").pages) == 1
    assert "only the first of its 2 pages" in capsys.readouterr().err
    assert run(tmp_path / "scan.tif", "-o", tmp_path / "jpeg", "--format", "jpeg") == 0
    assert "JPEG holds one" in capsys.readouterr().err


def test_an_animation_keeps_its_frames_and_times_and_its_change_of_format_is_said(tmp_path, constant, capsys):
    frames = [Image.fromarray(np.roll(GRAY, 3 * number, axis=1)) for number in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=70, loop=0)
    assert run(tmp_path / "a.gif") == 0
    with Image.open(tmp_path / "a-colorized.png") as result:
        assert result.n_frames == 3
        assert result.info["duration"] == 70
    assert "GIF has too few colours, so the result is PNG" in capsys.readouterr().err


def test_colours_of_successive_frames_are_steady_and_start_again_at_a_cut():
    steady, pixels = photographs.Steady(), np.full((40, 40), 100, np.uint8)
    ab = np.zeros((4, 4, 2), np.float32)
    assert steady(ab, pixels).max() == 0
    np.testing.assert_allclose(steady(ab + 10, pixels), 10 * photographs.Steady.SHARE)
    np.testing.assert_allclose(steady(ab + 10, pixels + 100), 10)


def test_a_bad_file_is_reported_and_the_rest_go_on(tmp_path, constant, capsys, monkeypatch):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    photo().save(tmp_path / "in" / "a.jpg")
    photo(seed=1).save(tmp_path / "in" / "sub" / "a.jpg")
    photo(seed=2).save(tmp_path / "in" / "z.png")
    (tmp_path / "in" / "b.jpg").write_bytes((tmp_path / "in" / "a.jpg").read_bytes()[:300])
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    (tmp_path / "in" / "._a.jpg").write_text("a shadow of macOS")
    predict = constant.predict_ab

    def fails(pixels):
        if pixels.shape == (7, 8, 3):
            raise RuntimeError("whatever a library raises")
        return predict(pixels)

    monkeypatch.setattr(constant, "predict_ab", fails)
    photo(8, 7).save(tmp_path / "in" / "c.png")
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 1
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if line.startswith("error")]
    assert "b.jpg: it cannot be decoded" in errors[0]
    assert "c.png: whatever a library raises" in errors[1]
    found = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("[!.]*.*"))
    assert found == ["a.jpg", "sub/a.jpg", "z.png"]
    assert "3 photographs colorized (2 in" in printed.out
    assert "2 failed; 1 file skipped: hidden; 1 file skipped: .txt is not a photograph's suffix." in printed.out


def test_a_name_that_is_too_long_is_an_error_of_that_photo_alone(tmp_path, constant, capsys):
    photo().save(tmp_path / "a.png")
    name = tmp_path / ("n" * 245 + ".png")
    photo().save(name)
    assert run(tmp_path) == 1
    assert "the name is too long" in capsys.readouterr().err
    assert (tmp_path / "a-colorized.png").exists()
    assert run(name, "-o", tmp_path / "out") == 0


# What is there is left alone


def test_nothing_foreign_is_ever_replaced(tmp_path, constant, capsys):
    for folder, seed in (("own", 0), ("other", 1)):
        (tmp_path / folder).mkdir()
        photo(seed=seed).save(tmp_path / folder / "IMG_1.png")
    before = (tmp_path / "own" / "IMG_1.png").read_bytes()
    for option, code in (((), 1), (("--skip-existing",), 0), (("--overwrite",), 1)):
        assert run(tmp_path / "other" / "IMG_1.png", "-o", tmp_path / "own", *option) == code
        assert (tmp_path / "own" / "IMG_1.png").read_bytes() == before
    printed = capsys.readouterr().err
    assert printed.count("left alone") == 2
    assert "is not an unchanged result of this photograph" in printed


def test_overwrite_replaces_only_the_unchanged_result_of_the_same_photo(tmp_path, constant):
    for folder, seed in (("a", 0), ("b", 1)):
        (tmp_path / folder).mkdir()
        photo(seed=seed).save(tmp_path / folder / "x.png")
    first, out = tmp_path / "a" / "x.png", tmp_path / "out"
    assert run(first, "-o", out) == 0
    made = (out / "x.png").read_bytes()
    assert run(first, "-o", out, "--saturation", 0, "--overwrite") == 0
    again = (out / "x.png").read_bytes()
    assert again != made
    assert run(tmp_path / "b" / "x.png", "-o", out, "--overwrite") == 1  # another photo's result
    assert (out / "x.png").read_bytes() == again
    photo(seed=5).save(out / "x.png")  # retouched by hand
    retouched = (out / "x.png").read_bytes()
    assert run(first, "-o", out, "--overwrite") == 1
    assert (out / "x.png").read_bytes() == retouched
    out.rename(tmp_path / "moved")  # its list is that of another place
    assert run(first, "-o", tmp_path / "moved", "--overwrite") == 1


def test_a_second_call_does_not_colour_its_own_results(tmp_path, constant, capsys):
    photo().save(tmp_path / "a.png")
    assert run(tmp_path) == 0
    capsys.readouterr()
    assert run(tmp_path, "--skip-existing") == 0
    printed = capsys.readouterr().out
    assert (
        "0 photographs colorized; 1 file skipped: results of earlier calls; 1 file skipped: a file with the name"
        in printed
    )
    assert not (tmp_path / "a-colorized-colorized.png").exists()
    assert run(tmp_path, "-o", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.png"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_same_names_come_out_whatever_the_order(tmp_path, constant, order):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        photo().save(tmp_path / folder / "same.png")
    photo().save(tmp_path / "x" / "same.gif")
    names = [tmp_path / "x" / "same.png", tmp_path / "y" / "same.png", tmp_path / "x" / "same.gif"]
    assert run(*names[::order], "-o", tmp_path / "out") == 0
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert len(found) == 3
    assert {"x/same.png", "y/same.png"} < found


def test_a_photo_whose_suffix_changes_takes_no_other_ones_name(tmp_path, constant):
    photo().save(tmp_path / "a.png")
    photo(seed=1).save(tmp_path / "a.gif")
    assert run(tmp_path, "-o", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a-gif.png", "a.png"]


def test_every_suffix_of_the_formats_is_found(tmp_path, constant):
    for suffix in (".jfif", ".jpe", ".mpo"):
        photo().save(tmp_path / f"a{suffix}", "JPEG")
    for suffix in (".pgm", ".pnm"):
        photo().convert("L").save(tmp_path / f"b{suffix}", "PPM")
    for suffix in (".j2k", ".jpx"):
        photo().save(tmp_path / f"c{suffix}", "JPEG2000")
    report = photographs.colorize_files([str(tmp_path)], output=tmp_path / "out")
    assert sorted(path.name for path in report.done) == ["a.jfif", "a.jpe", "a.mpo", "b.pgm", "b.pnm", "c.j2k", "c.jpx"]
    assert not report.failed


# The disk, and files that mean harm


@pytest.mark.parametrize("suffix", ["jpg", "jp2", "png", "tif", "webp"])
def test_a_full_disk_leaves_no_half_a_photograph(tmp_path, constant, capsys, suffix):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300), "uint8")).save(tmp_path / f"a.{suffix}")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5 * 1024, before[1]))
    try:
        code = run(tmp_path / f"a.{suffix}", "-o", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    assert "larger than is allowed here" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_only_regular_files_are_opened(tmp_path, constant, capsys):
    photo().save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "folder.jpg").mkdir()
    assert run(tmp_path, "-o", tmp_path / "out") == 0
    assert "3 files skipped: not a regular file" in capsys.readouterr().out
    for name in ("b.jpg", "zero.jpg"):
        assert run(tmp_path / name, "-o", tmp_path / "out") == 1
        assert "not a regular file" in capsys.readouterr().err


def test_a_file_is_not_read_beyond_the_memory_that_it_may_take(tmp_path, constant, capsys):
    with open(tmp_path / "a.jpg", "wb") as file:
        file.truncate(200_000_000)
    assert run(tmp_path / "a.jpg", "--memory", 0.1) == 1
    assert "more than 0.1 GB" in capsys.readouterr().err


def test_more_memory_may_be_named_than_there_is(tmp_path, constant, monkeypatch):
    photo().save(tmp_path / "a.png")
    assert run(tmp_path / "a.png", "--memory", 1024) == 0
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "a.png").read_bytes())))
    assert run("-", "-o", tmp_path / "out", "--memory", 1024) == 0


@pytest.mark.parametrize("size", [(1, 300_000), (300_000, 1)])
def test_extreme_shapes_are_colorized(tmp_path, constant, size):
    Image.new("L", size, 128).save(tmp_path / "a.png")
    photo().save(tmp_path / "b.png")
    assert run(tmp_path, "-o", tmp_path / "out") == 0
    assert Image.open(tmp_path / "out" / "a.png").size == size
    assert colorfulness(tmp_path / "out" / "a.png") > 8


def test_memory_that_runs_out_is_the_fault_of_one_photo(tmp_path, constant, capsys, monkeypatch):
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    photo().save(tmp_path / "b.png")
    predict = constant.predict_ab

    def short_of_memory(pixels):
        if pixels.shape[:2] == (30, 30):
            raise MemoryError
        return predict(pixels)

    monkeypatch.setattr(constant, "predict_ab", short_of_memory)
    assert run(tmp_path, "-o", tmp_path / "out") == 1
    assert "a.png: memory ran out" in capsys.readouterr().err
    assert (tmp_path / "out" / "b.png").exists()


def test_scans_beyond_52_megapixels_are_taken_up_to_a_stated_memory(tmp_path, constant, capsys):
    Image.new("1", (10_000, 6_000)).save(tmp_path / "a.png")
    assert run(tmp_path / "a.png", "--memory", 0.5) == 1
    assert "60,000,000 pixels need more than 0.5 GB" in capsys.readouterr().err
    assert images.Photo(io.BytesIO((tmp_path / "a.png").read_bytes()), max_pixels=10**9).size == (10_000, 6_000)


def test_control_characters_in_names_are_escaped(tmp_path, constant, capsys):
    name = tmp_path / "a\x1b[31m\n.png"
    name.write_bytes(b"nothing")
    assert run(name) == 1
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert "a\\x1b[31m\\n.png: no image" in printed


def test_a_file_that_ends_early_is_colorized_on_request(tmp_path, constant, capsys):
    photo(600, 400).save(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-900])
    assert run(tmp_path / "b.jpg") == 1
    assert "truncated" in capsys.readouterr().err
    assert run(tmp_path / "b.jpg", "--tolerant") == 0
    assert "the file is incomplete" in capsys.readouterr().err
    assert colorfulness(tmp_path / "b-colorized.jpg") > 8


# The command line


@pytest.mark.parametrize(
    "option",
    [
        *[("--saturation", value) for value in ("nan", "inf", "-1", "1e9", "red")],
        *[("--size", value) for value in ("-8", "0", "5000", "8.5")],
        *[("--quality", value) for value in ("0", "101")],
        *[("--memory", value) for value in ("0", "nan")],
    ],
)
def test_numbers_have_a_type_and_a_range(tmp_path, option, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("a.jpg", *option)
    assert stopped.value.code == 2
    assert "number from" in capsys.readouterr().err


def test_standard_input_goes_to_standard_output(weights):
    buffer = io.BytesIO()
    photo().save(buffer, "PNG")
    command = [sys.executable, "-m", "colorize_lib", "colorize", "-", "-m", "polychromify", "--weights", weights]
    done = subprocess.run(command, input=buffer.getvalue(), capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with Image.open(io.BytesIO(done.stdout)) as result:
        assert (result.format, result.size) == ("PNG", (60, 40))
    assert b"1 photograph colorized (1 in standard output)" in done.stderr


def test_standard_input_goes_to_the_output_folder_that_is_named(tmp_path, constant, monkeypatch):
    buffer = io.BytesIO()
    photo().save(buffer, "JPEG")
    buffer.seek(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(buffer))
    assert run("-", "-o", tmp_path) == 0
    assert Image.open(tmp_path / "standard-input.jpg").size == (60, 40)


def test_what_an_interrupted_call_has_done_is_kept_and_said(tmp_path, constant, capsys, monkeypatch):
    photo().save(tmp_path / "a.png")
    photo().save(tmp_path / "b.png")
    predict, calls = constant.predict_ab, []

    def interrupted(pixels):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return predict(pixels)

    monkeypatch.setattr(constant, "predict_ab", interrupted)
    assert run(tmp_path, "-o", tmp_path / "out") == 130
    printed = capsys.readouterr()
    assert "1 photograph colorized" in printed.out
    assert "--skip-existing colorizes the others" in printed.err
    made = (tmp_path / "out" / "a.png").stat().st_mtime_ns
    assert run(tmp_path, "-o", tmp_path / "out", "--skip-existing") == 0
    assert (tmp_path / "out" / "a.png").stat().st_mtime_ns == made
    assert (tmp_path / "out" / "b.png").exists()


def in_turn(constant, monkeypatch, threads, slowest=None, patience=60):
    """Let `threads` threads colorize, and return the numbers that worked at the same time.

    The photograph of width `slowest` comes last; without one, each waits up to `patience` seconds until all threads work.
    """
    monkeypatch.setattr(photographs.joblib, "cpu_count", lambda: threads)
    predict, working, seen, lock, others = constant.predict_ab, set(), [], threading.Lock(), threading.Event()
    together = threading.Barrier(threads)

    def slow(pixels):
        with lock:
            working.add(threading.get_ident())
            seen.append(len(working))
        if pixels.shape[1] == slowest:
            others.wait(20)
        elif slowest is None:
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(patience)
        found = predict(pixels)
        with lock:
            working.discard(threading.get_ident())
        if pixels.shape[1] != slowest:
            others.set()
        return found

    monkeypatch.setattr(constant, "predict_ab", slow)
    return seen


@pytest.mark.parametrize(("memory", "at_once"), [(4.0, 2), (0.00007, 1)])
def test_photographs_are_colorized_at_the_same_time_as_far_as_memory_goes(
    tmp_path, constant, monkeypatch, memory, at_once
):
    for name in "abcd":
        photo().save(tmp_path / f"{name}.png")  # 2,400 pixels: 48 kB
    seen = in_turn(constant, monkeypatch, 2, patience=60 if at_once == 2 else 1)
    report = photographs.colorize_files(
        [str(tmp_path)], output=str(tmp_path / "out"), settings=photographs.Settings(memory=memory)
    )
    assert len(report.done) == 4
    assert max(seen) == at_once


def test_the_order_of_a_report_is_that_of_the_photographs(tmp_path, constant, monkeypatch):
    (tmp_path / "in").mkdir()
    photo(61).save(tmp_path / "in" / "a.png")
    photo().save(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "b.png").write_bytes(b"nothing")
    photo().save(tmp_path / "in" / "c.png")
    in_turn(constant, monkeypatch, 3, slowest=61)
    report = photographs.colorize_files(
        [str(tmp_path / "in")], output=str(tmp_path / "out"), settings=photographs.Settings(kind="PNG")
    )
    assert [path.name for path in report.done] == ["a.jpg", "a.png", "c.png"]
    assert [path.name for path in report.done.values()] == ["a-jpg.png", "a.png", "c.png"]
    assert [path.name for path in report.failed] == ["b.png"]
    lines = (tmp_path / "out" / photographs.LIST).read_text().splitlines()
    assert len(lines) == 3
    monkeypatch.setattr(photographs.joblib, "cpu_count", lambda: 1)
    again = photographs.colorize_files(
        [str(tmp_path / "in")], output=str(tmp_path / "one"), settings=photographs.Settings(kind="PNG")
    )
    for path in again.done.values():
        assert path.read_bytes() == (tmp_path / "out" / path.name).read_bytes()


def test_photographs_that_are_being_written_when_a_call_is_interrupted_are_reported(tmp_path, constant, monkeypatch):
    for name in "abcdefgh":
        photo(61 if name == "a" else 60).save(tmp_path / f"{name}.png")
    in_turn(constant, monkeypatch, 2, slowest=61)
    monkeypatch.setattr(photographs._Work, "finish", interrupt_once(photographs._Work.finish))
    report = photographs.Report()
    with pytest.raises(KeyboardInterrupt):
        photographs.colorize_files([str(tmp_path)], output=str(tmp_path / "out"), report=report)
    written = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert sorted(path.name for path in report.done.values()) == written
    assert "a.png" in written
    assert not list((tmp_path / "out").glob("*tmp*"))


def interrupt_once(finish):
    calls = []

    def interrupted(self):
        calls.append(1)
        if len(calls) == 1:
            raise KeyboardInterrupt
        finish(self)

    return interrupted


def test_a_list_of_results_is_read_once_a_call(tmp_path, constant, monkeypatch):
    for name in "abc":
        photo().save(tmp_path / f"{name}.png")
    assert run(tmp_path) == 0
    opened, reads = photographs.files.open_regular, []

    def counted(path):
        reads.append(Path(path).name)
        return opened(path)

    monkeypatch.setattr(photographs.files, "open_regular", counted)
    assert run(tmp_path, "--overwrite") == 0
    assert reads.count(photographs.LIST) == 2, "once to find photographs, once to write results"


def test_side_by_side_saturation_and_size(tmp_path, weights):
    photo().save(tmp_path / "a.png")
    name = str(tmp_path / "a.png")
    assert run(name, "-m", "polychromify", "--weights", weights, "-o", tmp_path / "both", "--side-by-side") == 0
    with Image.open(tmp_path / "both" / "a.png") as both:
        assert both.size == (120, 40)
        left = np.asarray(both)[:, :60].astype(int)
        assert (left.max(-1) - left.min(-1)).max() <= 1
    assert run(name, "-m", "polychromify", "--weights", weights, "-o", tmp_path / "gray", "--saturation", 0) == 0
    assert colorfulness(tmp_path / "gray" / "a.png") < 1
    assert run(name, "-m", "polychromify", "--weights", weights, "-o", tmp_path / "large", "--size", 128) == 0
    assert colorfulness(tmp_path / "large" / "a.png") > 8


def test_nothing_to_colorize_is_one_sentence(tmp_path):
    for name in (str(tmp_path / "missing.jpg"), "", str(tmp_path)):
        with pytest.raises(InputError, match=r"no photograph at"):
            photographs.find([name])
