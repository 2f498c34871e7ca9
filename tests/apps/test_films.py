"""colorize_lib.apps.films: every frame and the sound come out, with steady colours."""

import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from colorize_lib.apps import films, photographs, trained
from colorize_lib.errors import InputError
from colorize_lib.training.colorizer import Colorizer

FRAMES = 12
PHOTO = Path(__file__).parents[2] / "data_prep" / "photos" / "animals" / "cat.jpg"


@pytest.fixture(scope="module")
def constant():
    """A small network whose output is a constant colour, far from gray."""
    inputs = keras.Input((16, 16, 1))
    network = keras.Model(inputs, keras.layers.Conv2D(2, 1, kernel_initializer="zeros")(inputs))
    network.layers[-1].bias.assign([0.1, 0.2])
    return Colorizer(network, "polychromify")


def film(path, size=(48, 32), sound="pcm_s16le"):
    """A moving gray ramp, with a tone, which the encoder of AAC lets begin before the first picture."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
        tone = container.add_stream(sound, rate=8000, layout="mono") if sound else None
        container.metadata["title"] = "A ferry"
        for number in range(FRAMES):
            gray = np.add.outer(np.arange(size[1]), np.arange(size[0]) + 4 * number).astype("uint8") + 80
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(np.stack([gray] * 3, -1), format="rgb24")))
            if sound:
                wave = (8000 * np.sin(np.arange(800) / 3)).astype("int16")[None]
                frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                frame.sample_rate = 8000
                container.mux(tone.encode(frame))
        container.mux(pictures.encode(None))
        if sound:
            container.mux(tone.encode(None))


def decibels(path, expected):
    """PSNR of a film that shows `expected` all the time."""
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return 10 * np.log10(255**2 / np.mean(np.square(frames.astype(float) - expected)))


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mpg", ".webm"])
def test_every_format_has_its_times_and_a_good_picture(tmp_path, constant, suffix):
    """A larger, detailed film, which the encoders' own bit rates would blur."""
    av = pytest.importorskip("av")
    with Image.open(PHOTO) as opened:
        gray = np.repeat(np.asarray(opened.convert("L").resize((640, 480)))[..., None], 3, axis=2)
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    encoder, options = films._ENCODERS.get(suffix, films._H264)
    with av.open(str(source), "w") as container:
        pictures = container.add_stream(encoder, rate=25, options=options)
        pictures.width, pictures.height, pictures.pix_fmt = 640, 480, "yuv420p"
        for _ in range(6):
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(gray, format="rgb24")))
        container.mux(pictures.encode(None))
    assert films.colorize_film(constant, source, target, photographs.Steady(), saturation=0) == []
    with av.open(str(source)) as before, av.open(str(target)) as after:
        times = [[frame.time for frame in container.decode(video=0)] for container in (before, after)]
    np.testing.assert_allclose(np.diff(times[1]), np.diff(times[0]), atol=0.002)
    assert decibels(target, gray) > 37


@pytest.mark.parametrize(
    ("suffix", "sound"), [(".mkv", "pcm_s16le"), (".avi", "pcm_s16le"), (".mp4", "aac"), (".mov", "aac")]
)
def test_every_frame_and_the_sound_come_out(tmp_path, constant, suffix, sound):
    av = pytest.importorskip("av")
    source, target = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    film(source, sound=sound)
    assert films.colorize_film(constant, source, target, photographs.Steady()) == []
    with av.open(str(source)) as before, av.open(str(target)) as after:
        frames = [list(container.decode(video=0)) for container in (before, after)]
        assert [len(each) for each in frames] == [FRAMES, FRAMES]
        np.testing.assert_allclose(*([frame.time for frame in each] for each in frames), atol=0.02)
        rgb = frames[1][5].to_ndarray(format="rgb24").astype(int)
        assert rgb.shape == (32, 48, 3)
        assert (rgb[..., 0] - rgb[..., 2]).mean() > 20
    with av.open(str(source)) as before, av.open(str(target)) as after:
        waves = [np.concatenate([f.to_ndarray() for f in each.decode(audio=0)], 1) for each in (before, after)]
        np.testing.assert_array_equal(*waves)


def test_the_command_takes_a_film(tmp_path, constant, monkeypatch):
    pytest.importorskip("av")
    film(tmp_path / "a.mkv", sound=False)
    monkeypatch.setattr(trained, "load", lambda *arguments, **options: constant)
    os.utime(tmp_path / "a.mkv", (1_000_000_000, 1_000_000_000))
    settings = photographs.Settings(side_by_side=True, quality=90, keep_dates=True)
    report = photographs.colorize_files([str(tmp_path / "a.mkv")], settings=settings)
    assert report.done == {tmp_path / "a.mkv": tmp_path / "a-colorized.mkv"}
    assert (tmp_path / "a-colorized.mkv").stat().st_mtime == 1_000_000_000
    notes = [note for _, note in report.notes]
    assert notes == ["--side-by-side has no effect on a film", "--quality has no effect on a film"]
    report = photographs.colorize_files([str(tmp_path / "a.mkv")])
    assert list(report.left) == [tmp_path / "a.mkv"]


def test_what_is_no_film_is_one_sentence(tmp_path, constant):
    pytest.importorskip("av")
    (tmp_path / "a.mp4").write_bytes(bytes(1000))
    with pytest.raises(InputError, match="cannot be read or written as a film"):
        films.colorize_film(constant, tmp_path / "a.mp4", tmp_path / "b.mp4", photographs.Steady())
    with pytest.raises(InputError, match=r"Cannot read .*missing\.mp4: it does not exist"):
        films.colorize_film(constant, tmp_path / "missing.mp4", tmp_path / "b.mp4", photographs.Steady())


def test_without_its_library_the_command_that_installs_it_is_named(tmp_path, constant, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="pip install av"):
        films.colorize_film(constant, tmp_path / "a.mp4", tmp_path / "b.mp4", photographs.Steady())
