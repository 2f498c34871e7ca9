import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.color import rgb2lab

from colorize_lib import __main__, models
from colorize_lib.apps import photographs
from colorize_lib.errors import InputError


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


def colorfulness(path):
    rgb = np.asarray(Image.open(path).convert("RGB"))
    return np.abs(rgb2lab(rgb)[..., 1:]).mean()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_format_resolution_dpi_and_exif_are_kept(tmp_path, weights, suffix):
    source = tmp_path / f"photo.{suffix}"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    options = {} if suffix == "webp" else {"dpi": (150, 150)}
    photo().convert("L").save(source, exif=exif, **options)
    before = source.read_bytes()
    assert __main__.main(["colorize", str(source), "--weights", weights]) == 0
    with Image.open(source) as original, Image.open(tmp_path / f"photo-colorized.{suffix}") as result:
        assert result.format == original.format
        assert result.size == (40, 60)  # turned upright by the orientation
        assert result.getexif()[0x0112] == 1
        assert result.getexif()[0x010F] == "Maker"
        if suffix != "webp":
            assert [round(float(value)) for value in result.info["dpi"]] == [150, 150]
    assert source.read_bytes() == before
    assert colorfulness(tmp_path / f"photo-colorized.{suffix}") > 8


def test_the_color_profile_is_kept_and_right(tmp_path, weights):
    """A photo in another RGB profile looks the same, after its colours are brought to sRGB, as one in sRGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().replace(b"sRGB", b"mine")
    photo().save(tmp_path / "own.png", icc_profile=profile)
    photo().save(tmp_path / "plain.png")
    assert not photographs.colorize_files([str(tmp_path / "*.png")], output=tmp_path / "out", weights=weights)
    with Image.open(tmp_path / "out" / "own.png") as own, Image.open(tmp_path / "out" / "plain.png") as plain:
        assert own.info["icc_profile"] == profile
        assert np.abs(np.asarray(own).astype(int) - np.asarray(plain)).mean() < 2


def test_a_bad_file_is_reported_and_the_rest_go_on(tmp_path, weights, capsys):
    (tmp_path / "in" / "sub").mkdir(parents=True)
    photo().save(tmp_path / "in" / "a.jpg")
    photo(seed=1).save(tmp_path / "in" / "sub" / "a.jpg")
    (tmp_path / "in" / "b.jpg").write_bytes((tmp_path / "in" / "a.jpg").read_bytes()[:300])
    (tmp_path / "in" / "notes.txt").write_text("no photo")
    arguments = ["colorize", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--weights", weights]
    assert __main__.main(arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert "b.jpg: it cannot be decoded" in lines[0]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.jpg", "a.jpg"]


def test_inputs_are_never_overwritten(tmp_path, weights):
    photo().save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    photographs.colorize_files([str(tmp_path / "a.png")], output=tmp_path, weights=weights)
    assert (tmp_path / "a.png").read_bytes() == before
    assert (tmp_path / "a-2.png").exists()


def test_standard_input_goes_to_standard_output(weights):
    buffer = io.BytesIO()
    photo().save(buffer, "PNG")
    command = [sys.executable, "-m", "colorize_lib", "colorize", "-", "--weights", weights]
    done = subprocess.run(command, input=buffer.getvalue(), capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    with Image.open(io.BytesIO(done.stdout)) as result:
        assert (result.format, result.size) == ("PNG", (60, 40))


def test_side_by_side_saturation_and_size(tmp_path, weights):
    photo().save(tmp_path / "a.png")
    name = str(tmp_path / "a.png")
    photographs.colorize_files([name], output=tmp_path / "both", weights=weights, side_by_side=True)
    with Image.open(tmp_path / "both" / "a.png") as both:
        assert both.size == (120, 40)
        left = np.asarray(both)[:, :60].astype(int)
        assert (left.max(-1) == left.min(-1)).all()
    photographs.colorize_files([name], output=tmp_path / "gray", weights=weights, saturation=0.0)
    assert colorfulness(tmp_path / "gray" / "a.png") < 1
    photographs.colorize_files([name], output=tmp_path / "large", weights=weights, size=128)
    assert colorfulness(tmp_path / "large" / "a.png") > 8


def test_nothing_to_colorize_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"no photograph at .*missing"):
        photographs.find([str(tmp_path / "missing.jpg")])
