import csv
import shutil
import subprocess
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colorize_lib.errors import InputError
from colorize_lib.preprocess import centre_crop, geometry, resize_and_crop, resize_shorter_side, square

REFERENCE = Path(__file__).parent / "reference" / "imagemagick"
INPUTS = sorted((REFERENCE / "inputs").glob("*.png"))


def pixels(path, mode=None):
    with Image.open(path) as image:
        return np.asarray(image.convert(mode) if mode else image)


def assert_same_picture(ours, theirs):
    """Far inside the bound that the project promises (mean 0.5, maximum 3): a wrong filter has to be noticed."""
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1
    assert difference.mean() <= 0.005


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def convert():
    """The real program: a `convert` may also be ImageMagick 7 or something else altogether."""
    for program in filter(None, map(shutil.which, ("convert-im6.q16", "convert-im6", "convert"))):
        version = subprocess.run([program, "-version"], capture_output=True, text=True, check=False).stdout
        if version.startswith("Version: ImageMagick 6."):
            return lambda *arguments: (
                subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=True).stdout
            )
    pytest.skip("ImageMagick 6 is not installed here")


def papers_command(convert, source, target, size=300):
    convert(source, "-resize", f"x{2 * size}", "-resize", f"{2 * size}x<", "-resize", "50%", "-gravity", "center",
            "-crop", f"{size}x{size}+0+0", "+repage", "-strip", target)  # fmt: skip
    return pixels(target, "RGB")


def measured_geometry(convert, width, height, size=300):
    text = convert("-size", f"{width}x{height}", "xc:gray", "-filter", "point", "-format", "%wx%h,",
                   "-resize", f"x{2 * size}", "-write", "info:", "-resize", f"{2 * size}x<", "-write", "info:",
                   "-resize", "50%", "-write", "info:", "-gravity", "center", "-crop", f"{size}x{size}+0+0",
                   "-format", "%X%Y", "info:")  # fmt: skip
    return text.split(",")


def written(found):
    """A Geometry in ImageMagick's notation."""
    return [f"{width}x{height}" for width, height in found[:3]] + ["{:+d}{:+d}".format(*found.offset)]


def test_geometry_is_imagemagicks_on_500_sizes():
    with open(REFERENCE / "geometry.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert len(rows) == 500
    wrong = [row for row in rows if written(geometry(*map(int, row[0].split("x")))) != row[1:]]
    assert not wrong


def test_geometry_keeps_the_aspect_to_the_nearest_pixel():
    """The rule in exact fractions; on a tie ImageMagick's floating point may fall to either side."""
    random = np.random.default_rng(1)
    for _ in range(500):
        width = int(random.integers(1, 5001))
        height = int(np.clip(width * 25 ** random.uniform(-1, 1), max(1, width / 25), min(5000, width * 25)))
        found = geometry(width, height)

        first = Fraction(600 * width, height)
        assert found.to_height[1] == 600
        assert abs(found.to_height[0] - first) <= Fraction(1, 2)
        if found.to_height[0] >= 600:
            assert found.to_width == found.to_height
        else:
            assert found.to_width[0] == 600
            assert abs(found.to_width[1] - Fraction(360000, found.to_height[0])) <= Fraction(1, 2)
        assert found.halved == tuple((side + 1) // 2 for side in found.to_width)
        assert found.offset == tuple(side // 2 - 150 for side in found.halved)


@pytest.mark.parametrize("arguments", [(0, 10), (10, -1), (10, 10, 0), (10.5, 10), (np.nan, 10), (10, np.inf)])
def test_geometry_of_no_image_is_an_error(arguments):
    with pytest.raises(InputError, match="at least 1"):
        geometry(*arguments)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_pixels_are_imagemagicks(path):
    assert_same_picture(resize_and_crop(pixels(path)), pixels(REFERENCE / "outputs" / path.name, "RGB"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_reference_outputs_made_anew(path, convert, tmp_path):
    anew = papers_command(convert, path, tmp_path / "anew.png")
    assert_same_picture(pixels(REFERENCE / "outputs" / path.name, "RGB"), anew)
    assert_same_picture(resize_and_crop(pixels(path)), anew)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((1, 1, 3), 300),
        ((25, 1), 300),
        ((3, 2, 3), 300),
        ((600, 600, 3), 300),
        ((600, 700), 300),
        ((600, 450), 300),
        ((112, 161, 3), 300),
        ((900, 1301), 300),
        ((333, 500, 3), 257),
        ((1000, 800, 3), 64),
    ],
    ids=str,
)
def test_noise_of_any_size_is_resized_as_by_imagemagick(shape, size, convert, tmp_path):
    noise = random_image(*shape)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    assert_same_picture(resize_and_crop(noise, size), papers_command(convert, tmp_path / "noise.png",
                                                                     tmp_path / "small.png", size))  # fmt: skip


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_is_resized_as_by_imagemagick(mode, convert, tmp_path):
    photo = Image.fromarray(pixels(REFERENCE / "inputs" / "texture.png", mode))
    photo.save(tmp_path / "photo.jpg", quality=95, subsampling=0)
    ours = resize_and_crop(pixels(tmp_path / "photo.jpg"))
    difference = np.abs(ours.astype(int) - papers_command(convert, tmp_path / "photo.jpg", tmp_path / "small.png"))
    assert difference.mean() <= 0.5  # two builds of libjpeg may decode to values one level apart
    assert difference.max() <= 3


@pytest.mark.parametrize("size", [300, 224, 65])
@pytest.mark.parametrize(("width", "height"), [(161, 112), (21, 112), (1999, 1001), (333, 4999), (2, 3)])
def test_geometry_measured_anew(width, height, size, convert):
    assert written(geometry(width, height, size)) == measured_geometry(convert, width, height, size)


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 300), (1500, 640), (20, 900)])
def test_flat_colours_stay_exact(shape):
    for level in (0, 1, 127, 128, 254, 255):
        assert (resize_and_crop(np.full(shape, level, np.uint8), 64) == level).all()
    colour = np.array([3, 130, 251], np.uint8)
    assert (resize_and_crop(np.full((*shape, 3), colour), 64) == colour).all()


def test_gray_fills_three_channels():
    result = resize_and_crop(random_image(40, 50))
    assert result.shape == (300, 300, 3)
    assert result.dtype == np.uint8
    assert (result == result[:, :, :1]).all()


def resized_within(image, most_bytes):
    tracemalloc.start()
    result = resize_and_crop(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most_bytes
    return result


@pytest.mark.parametrize("shape", [(20, 20000, 3), (20000, 20, 3), (5000, 3, 3), (3, 5000)], ids=str)
def test_only_what_the_crop_sees_is_computed(shape):
    """20,000 × 20 pixels are 600,000 × 600 on ImageMagick's way: a gigabyte. The crop sees less than a fifth."""
    image = np.full(shape, 255, np.uint8)
    long_axis = int(shape[1] > shape[0])
    middle = slice(shape[long_axis] * 2 // 5, shape[long_axis] * 3 // 5)
    np.moveaxis(image, long_axis, 0)[middle] = 7
    result = resized_within(image, 16e6)
    assert result.shape == (300, 300, 3)
    assert (result == 7).all()


@pytest.mark.parametrize("shape", [(3000, 4000, 3), (4000, 3000, 3), (2999, 4000, 3)], ids=str)
def test_twelve_megapixels_are_never_held_as_floats(shape):
    """As float32 the photograph would take 144 MB."""
    assert (resized_within(np.full(shape, 200, np.uint8), 72e6) == 200).all()


@pytest.mark.parametrize("function", [resize_and_crop, lambda x: resize_shorter_side(x, 8), lambda x: centre_crop(x, 2),
                                      lambda x: square(x, 8)])  # fmt: skip
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((9, 9, 3), np.float32),
        np.zeros((9, 9, 3), np.uint16),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((2, 9, 9, 3), np.uint8),
        np.zeros((0, 9, 3), np.uint8),
        np.zeros(9, np.uint8),
    ],
    ids=lambda image: f"{image.dtype}{image.shape}",
)
def test_what_is_no_image_is_an_error(function, image):
    with pytest.raises(InputError, match="uint8 of shape"):
        function(image)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((375, 500), (256, 341)), ((500, 375), (341, 256)), ((256, 300), (256, 300)), ((10, 19), (256, 486))],
)
def test_shorter_side_gets_the_size_and_the_longer_is_rounded_down(shape, expected):
    assert resize_shorter_side(random_image(*shape), 256).shape == (*expected, 3)


def test_shorter_side_averages_when_it_shrinks():
    checkerboard = np.indices((512, 512)).sum(axis=0).astype(np.uint8) % 2 * 255
    result = resize_shorter_side(checkerboard, 64)
    assert np.ptp(result) <= 1
    assert abs(result.mean() - 127.5) < 1


@pytest.mark.parametrize("shape", [(375, 500, 3), (600, 413), (256, 256, 3), (90, 70, 3)])
def test_crop_is_what_centre_crop_leaves(shape):
    image = random_image(*shape)
    whole = centre_crop(resize_shorter_side(image, 256), 224)
    assert np.abs(resize_shorter_side(image, 256, crop=224).astype(int) - whole).max() <= 1


def test_centre_crop_takes_the_middle():
    image = np.arange(7 * 10, dtype=np.uint8).reshape(7, 10)
    np.testing.assert_array_equal(centre_crop(image, 3), image[2:5, 4:7])


def test_crop_larger_than_the_image_is_an_error():
    with pytest.raises(InputError, match="does not fit"):
        centre_crop(random_image(100, 300, 3), 224)
    with pytest.raises(InputError, match="does not fit"):
        resize_shorter_side(random_image(100, 300, 3), 200, crop=224)


def test_square_is_the_middle_without_a_change_of_proportions():
    stripes = np.zeros((100, 300, 3), np.uint8)
    stripes[:, :100, 0] = stripes[:, 100:200, 1] = stripes[:, 200:, 2] = 255
    for image in (stripes, stripes.swapaxes(0, 1)):
        result = square(image, 256)
        assert result.shape == (256, 256, 3)
        assert (result == [0, 255, 0]).all()
