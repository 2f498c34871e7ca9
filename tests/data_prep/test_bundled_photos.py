"""The photographs in data_prep/photos against their table: complete, unchanged, colourful, distinct and free to pass on."""

import csv
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

PHOTOS = Path(__file__).parents[2] / "data_prep" / "photos"
FREE_LICENCES = {
    "CC0-1.0",
    "CC-BY-2.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-2.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
    "LicenseRef-public-domain",
}


@pytest.fixture(scope="module")
def table():
    with open(PHOTOS / "photos.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def images(table):
    """File name to decoded image."""
    decoded = {}
    for row in table:
        with Image.open(PHOTOS / row["file"]) as image:
            image.load()
            decoded[row["file"]] = image
    return decoded


def subject(row):
    return row["file"].split("/")[0]


def test_table_and_folder_list_the_same_files(table):
    on_disk = {path.relative_to(PHOTOS).as_posix() for path in PHOTOS.rglob("*") if path.is_file()}
    listed = [row["file"] for row in table]
    assert len(set(listed)) == len(listed) >= 64
    assert on_disk == {*listed, "photos.csv", "LICENSES.md"}
    assert sum((PHOTOS / name).stat().st_size for name in on_disk) <= 10_000_000


def test_files_are_unchanged(table):
    changed = [r["file"] for r in table if hashlib.sha256((PHOTOS / r["file"]).read_bytes()).hexdigest() != r["sha256"]]
    assert not changed


def test_every_subject_is_in_every_split(table):
    by_subject = Counter(map(subject, table))
    assert 5 <= len(by_subject) <= 8
    assert min(by_subject.values()) >= 8
    for name in ("train", "validation", "test"):
        assert {subject(row) for row in table if row["split"] == name} == set(by_subject)
    by_split = Counter(row["split"] for row in table)
    assert set(by_split) == {"train", "validation", "test"}
    assert by_split["test"] >= 16
    assert 0.6 <= by_split["train"] / len(table) <= 0.8


def test_licences_allow_passing_on_and_are_honoured(table):
    assert {row["licence"] for row in table} <= FREE_LICENCES
    page = (PHOTOS / "LICENSES.md").read_text(encoding="utf-8")
    for row in table:
        assert row["title"]
        assert row["author"]
        assert row["package"]
        assert row["version"]
        assert f"`{row['licence']}`" in page
        if row["licence"].startswith("CC-BY"):
            assert f"*{row['title']}* (`{row['file']}`)" in page
            assert f"- {row['author']}: " in page


def test_images_are_plain_rgb_photographs_of_one_size(images):
    for name, image in images.items():
        assert (image.format, image.mode) == ("JPEG", "RGB"), name
        assert 560 <= min(image.size) <= 700, name
        assert max(image.size) <= 2 * min(image.size), name
        assert not {"exif", "icc_profile", "xmp", "comment"} & set(image.info), name


def test_no_image_is_gray(images):
    for name, image in images.items():
        ab = rgb2lab(np.asarray(image.resize((96, 96))))[..., 1:]
        assert np.linalg.norm(ab, axis=-1).mean() > 5, name


def test_no_photograph_is_there_twice(images):
    """Copies, other sizes and mirror images correlate above 0.99 as 16×16 luminance; different photographs stay below 0.92."""
    names = list(images)
    thumbnails = np.stack([np.asarray(images[name].convert("L").resize((16, 16)), "float32") for name in names])
    thumbnails -= thumbnails.mean((1, 2), keepdims=True)
    thumbnails /= np.sqrt((thumbnails**2).sum((1, 2), keepdims=True))
    for other in (thumbnails, thumbnails[:, :, ::-1]):
        correlation = np.einsum("ahw,bhw->ab", thumbnails, other)
        np.fill_diagonal(correlation, 0)
        first, second = np.unravel_index(correlation.argmax(), correlation.shape)
        assert correlation.max() < 0.95, (names[first], names[second])
