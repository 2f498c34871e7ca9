"""data_prep as a user meets it: `load`, the command line, the papers' splits and counts, own photographs."""

import io
import json
import os
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_prep
from colorize_lib import preprocess
from colorize_lib.dataset import Dataset, Split
from colorize_lib.errors import InputError
from data_prep import load, readers, registry, sources
from data_prep.__main__ import main
from data_prep.readers import Patches, Records

REPOSITORY = Path(__file__).parents[2]


def plan(name, size=None, home=Path("/nowhere"), **options):
    spec = registry.find(name)
    return spec.plan(home, size or spec.size, registry.resolve(name, options))


def assert_disjoint(splits, total):
    everything = [item for rows in splits.values() for item in rows.items]
    assert len(everything) == len(set(everything)) == total
    for rows in splits.values():
        assert len(rows.labels) == len(rows.items)


def counts(made):
    return {name: len(rows.items) for name, rows in made.splits.items()}


# The bundled photographs


def test_bundled_photographs_give_patches_split_by_photograph():
    dataset = load("photos", size=32, jobs=1, patches=160)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 160, "validation": 20, "test": 20}
    assert dataset.manifest["name"] == "photos"
    photographs = {name: {file.split("#")[0] for file in split.files} for name, split in dataset.splits.items()}
    table = {row["file"]: row["split"] for row in sources.read_photo_table()}
    assert all(table[file] == name for name, found in photographs.items() for file in found)
    train = dataset["train"]
    assert len(photographs["train"]) == list(table.values()).count("train")
    for label, file in zip(train.labels, train.files, strict=True):
        assert dataset.classes[label] == file.split("/")[0]
    assert len(set(train.files)) == 160
    np.testing.assert_array_equal(train.images[[7]][0], Patches(sources.PHOTOS, 32)(train.files[7]))


def test_patches_have_many_scales_and_lie_inside():
    made = plan("photos")
    assert counts(made) == {"train": 3072, "validation": 384, "test": 384}
    shares = []
    for item in made.splits["train"].items:
        file, box = item.split("#")
        left, top, side = map(int, box.split(","))
        with Image.open(sources.PHOTOS / file) as image:
            assert 0 <= left <= image.width - side
            assert 0 <= top <= image.height - side
            shares.append(side / min(image.size))
    assert min(shares) < 0.3
    assert max(shares) > 0.9
    assert plan("photos").hash() == made.hash() != plan("photos", seed=1).hash()


def test_whole_bundled_photographs(tmp_path):
    dataset = load("photos", size=160, limit=3, jobs=1, home=tmp_path)
    assert dataset["train"].images.shape == (3, 160, 160, 3)
    assert dataset["test"].files[0].endswith(".jpg")
    assert dataset.folder == tmp_path / "prepared" / "photos-160-limit3"


def test_a_changed_bundled_photograph_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "photos.csv").write_text("file,split,sha256\nsky/a.jpg,train,00\n")
    (tmp_path / "sky").mkdir()
    Image.new("RGB", (99, 99)).save(tmp_path / "sky" / "a.jpg")
    monkeypatch.setattr(sources, "PHOTOS", tmp_path)
    with pytest.raises(InputError, match="missing or changed"):
        plan("photos")


# Own photographs


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "My photos"
    for number in range(20):
        path = root / ("cats" if number % 2 else "dogs/young") / f"{number:02d}.{'JPG' if number % 3 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20 + number), (number * 9, 99, 0)).save(path)
    (root / "notes.txt").write_text("no photograph")
    (root / ".thumbnails").mkdir()
    Image.new("RGB", (9, 9)).save(root / ".thumbnails" / "1.jpg")
    return root


def test_own_photographs(folder):
    dataset = load(str(folder), size=16, jobs=1)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 16, "validation": 2, "test": 2}
    assert dataset.classes == ["cats", "dogs"]
    names = [file for split in dataset.splits.values() for file in split.files]
    assert len(set(names)) == 20
    assert not any("thumb" in name or "notes" in name for name in names)
    for split in dataset.splits.values():
        assert split.files == sorted(split.files)
        assert [dataset.classes[label] for label in split.labels] == [file.split("/")[0] for file in split.files]


def test_photographs_in_the_data_home_are_found_by_name(folder):
    dataset = load(folder.name, home=folder.parent, size=16, jobs=1)
    assert dataset.fingerprint == load(str(folder), home=folder.parent, size=16, jobs=1).fingerprint
    assert dataset.manifest["name"] == folder.name


def test_changed_photographs_are_prepared_again(folder):
    first = load("folder", path=folder, size=16, jobs=1)
    assert load("folder", path=folder, size=16, jobs=1).fingerprint == first.fingerprint
    Image.new("RGB", (30, 30), (0, 0, 255)).save(folder / "cats" / "new.jpg")
    second = load("folder", path=folder, size=16, jobs=1)
    assert sum(map(len, second.splits.values())) == 21
    assert second.folder == first.folder


def test_a_name_that_is_no_text_is_skipped_with_its_reason(folder):
    shutil.copy(folder / "cats" / "01.JPG", os.fsencode(folder) + b"/cats/caf\xe9.jpg")
    dataset = load("folder", path=folder, size=16, jobs=1, allow_skipped=True)
    assert sum(map(len, dataset.splits.values())) == 20
    assert [entry["reason"] for entry in dataset.manifest["skipped"]] == ["its name is not UTF-8; rename it"]


def test_the_seed_chooses_the_split(folder):
    first, again, other = (plan("folder", path=str(folder), seed=seed) for seed in (1, 1, 2))
    assert first.hash() == again.hash() != other.hash()
    assert_disjoint(other.splits, 20)


def test_folders_without_use(tmp_path):
    with pytest.raises(InputError, match="There is no folder"):
        plan("folder", path=str(tmp_path / "absent"))
    with pytest.raises(InputError, match="holds no photographs"):
        plan("folder", path=str(tmp_path))
    Image.new("RGB", (9, 9)).save(tmp_path / "only.jpg")
    with pytest.raises(InputError, match="too few to split"):
        plan("folder", path=str(tmp_path))
    with pytest.raises(InputError, match=r"needs a login.*by hand"):
        plan("flickr", home=tmp_path)


# The papers' datasets


def test_tiny_imagenet_reads_the_given_splits_and_checks_the_counts(tmp_path, monkeypatch):
    root = tmp_path / "tiny-imagenet-200"
    wnids = [f"n{number:08d}" for number in range(200)]
    train = [f"train/{wnid}/images/{wnid}_{number}.JPEG" for wnid in wnids for number in range(500)]
    held = [f"{part}/images/{part}_{number}.JPEG" for part in ("val", "test") for number in range(10_000)]
    found = sorted(train + held)
    monkeypatch.setattr(sources, "images_below", lambda root: found)
    (root / "val").mkdir(parents=True)
    lines = [f"val_{number}.JPEG\t{wnids[number % 200]}\t0\t0\t63\t63\n" for number in range(10_000)]
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    made = plan("tiny-imagenet", home=tmp_path)
    assert counts(made) == {"train": 100_000, "validation": 10_000, "test": 10_000}
    assert made.classes == wnids
    train_rows, validation = made.splits["train"], made.splits["validation"]
    assert train_rows.items == sorted(train)
    assert np.bincount(train_rows.labels).tolist() == [500] * 200
    number = validation.items.index("val/images/val_1234.JPEG")
    assert validation.labels[number] == 1234 % 200
    assert set(made.splits["test"].labels) == {-1}

    (root / "val" / "val_annotations.txt").write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match="does not name a class for every image"):
        plan("tiny-imagenet", home=tmp_path)
    found.remove(train[77])
    with pytest.raises(InputError, match=r"99,999 training images instead of 100,000.*run the same command again"):
        plan("tiny-imagenet", home=tmp_path)


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A CIFAR-10 of 60 images a batch, every tenth gray, with first bytes as in the real one's format."""
    monkeypatch.setattr(sources, "CIFAR10_BATCH", 60)
    monkeypatch.setattr(sources, "DROPPED_BY_CODE", 40)
    root = tmp_path / "cifar-10-batches-bin"
    root.mkdir()
    generator = np.random.default_rng(0)
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]:
        records = generator.integers(0, 256, (60, 3073), np.uint8)
        records[:, 0] %= 10
        records[::10, 1025:2049] = records[::10, 2049:] = records[::10, 1:1025]
        records.tofile(root / f"{name}.bin")
    return tmp_path


def test_cifar10_is_read_plane_by_plane(cifar):
    dataset = load("cifar10", home=cifar, jobs=1)
    record = np.fromfile(cifar / "cifar-10-batches-bin" / "test_batch.bin", np.uint8)[3073 * 4 : 3073 * 5]
    np.testing.assert_array_equal(dataset["test"].images[[4]][0, 3, 5], record[1:].reshape(3, 32, 32)[:, 3, 5])
    assert dataset["test"].labels[4] == record[0]
    assert dataset["test"].files[4] == "test_batch.bin:4"
    for name in ("train", "validation"):
        for file, label in zip(dataset[name].files, dataset[name].labels, strict=True):
            batch, number = file.split(":")
            assert label == (cifar / "cifar-10-batches-bin" / batch).read_bytes()[3073 * int(number)]
    assert dataset["test"].gray.tolist() == [0, 10, 20, 30, 40, 50]
    assert dataset.classes[3] == "cat"


def test_the_naive_split_is_that_of_the_papers_code(cifar):
    made = plan("cifar10", home=cifar)
    assert counts(made) == {"train": 270, "validation": 30, "test": 60}
    assert_disjoint(made.splits, 360)
    np.random.seed(26)  # noqa: NPY002 - as the paper's code draws it
    first_tenth = np.random.permutation(300)[:30]  # noqa: NPY002
    names = [f"data_batch_{batch}.bin:{number}" for batch in range(1, 6) for number in range(60)]
    assert made.splits["validation"].items == [names[row] for row in np.sort(first_tenth)]


def test_samples_are_the_first_images_of_each_split_as_the_papers_code_shuffles_them(cifar):
    dataset = load("cifar10", home=cifar, jobs=1)
    np.random.seed(26)  # noqa: NPY002 - as the paper's code draws it
    shuffled = np.random.permutation(300)  # noqa: NPY002
    names = [f"data_batch_{batch}.bin:{number}" for batch in range(1, 6) for number in range(60)]
    found = sources.samples(dataset, 25)
    assert found["validation"].files == [names[row] for row in shuffled[:25]]
    assert found["train"].files == [names[row] for row in shuffled[30:55]]
    assert found["test"].files == [f"test_batch.bin:{number}" for number in range(25)]
    record = np.fromfile(cifar / "cifar-10-batches-bin" / "data_batch_1.bin", np.uint8).reshape(-1, 3073)
    first = next(row for row in shuffled[30:55] if row < 60)
    image = found["train"].images[found["train"].files.index(names[first])]
    np.testing.assert_array_equal(image, record[first, 1:].reshape(3, 32, 32).transpose(1, 2, 0))
    hue = load("cifar10", home=cifar, jobs=1, split="hue")
    assert sources.samples(hue, 5)["train"].files == hue["train"].files[:5]


def test_the_six_images_of_figure_5_are_rows_of_the_sorted_test_folder():
    from colorize_lib.papers import published

    in_order = sorted(f"test_{number}.JPEG" for number in range(10_000))
    named = [f"{name}.JPEG" for name in published("polychromify", "fig5_files")]
    assert [in_order[row] for row in published("polychromify", "fig5_rows")] == named


def test_the_hue_split_is_even_over_hue_and_drops_the_lowest(cifar):
    made = plan("cifar10", home=cifar, split="hue", drop_gray="code")
    assert counts(made) == {"train": 234, "validation": 26, "test": 60}
    assert_disjoint(made.splits, 320)
    from matplotlib.colors import rgb_to_hsv

    reader = Records(cifar / "cifar-10-batches-bin")
    hue = {item: rgb_to_hsv(reader(item) / 255)[..., 0].mean() for rows in made.splits.values() for item in rows.items}
    kept = sorted(made.splits["train"].items + made.splits["validation"].items, key=hue.get)
    assert set(kept[::10]) == set(made.splits["validation"].items)
    dropped = [rgb_to_hsv(reader(item) / 255)[..., 0].mean() for item in made.notes["dropped"]]
    assert len(dropped) == 40
    assert max(dropped) < min(hue[item] for item in kept)


def test_only_the_gray_images_are_dropped(cifar):
    made = plan("cifar10", home=cifar, drop_gray="gray")
    assert made.notes["dropped"] == [
        f"data_batch_{batch}.bin:{number}" for batch in range(1, 6) for number in range(0, 60, 10)
    ]
    assert counts(made) == {"train": 243, "validation": 27, "test": 60}


def test_a_short_batch_is_no_whole_copy(cifar):
    with open(cifar / "cifar-10-batches-bin" / "data_batch_3.bin", "r+b") as batch:
        batch.truncate(1000)
    with pytest.raises(InputError, match=r"data_batch_3\.bin has 1,000 bytes instead of"):
        plan("cifar10", home=cifar)


@pytest.mark.skipif(
    "COLORIZE_TEST_DATA" not in os.environ, reason="COLORIZE_TEST_DATA names no data home with real CIFAR-10"
)
def test_the_real_cifar10_has_562_gray_images():
    home = Path(os.environ["COLORIZE_TEST_DATA"])
    assert len(plan("cifar10", home=home, drop_gray="gray").notes["dropped"]) == 562
    hue = plan("cifar10", home=home, split="hue", drop_gray="code")
    assert counts(hue) == {"train": 44_476, "validation": 4_942, "test": 10_000}


def test_coco_splits_85_to_15(monkeypatch):
    monkeypatch.setattr(
        sources,
        "images_below",
        lambda root: [f"{n:012d}.jpg" for n in range(5_000 if root.name == "val2017" else 118_287)],
    )
    made = plan("coco")
    assert counts(made) == {"train": 3_825, "validation": 425, "test": 750}
    assert_disjoint(made.splits, 5_000)
    assert made.splits["test"].items == sorted(made.splits["test"].items)
    assert sum(counts(plan("coco", part="both")).values()) == 123_287
    assert registry.find("coco").archives({"part": "both"}) == [registry.COCO["val2017"], registry.COCO["train2017"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"test": 0}, (1231, 309)),
        ({"test": 0, "split": 70}, (1078, 462)),
        ({"test": 0, "split": "90"}, (1386, 154)),
        ({"test": 0, "domain": "b"}, (962, 238)),
        ({}, (1231, 155, 154)),
        ({"split": "80"}, (1232, 154, 154)),
    ],
)
def test_yosemite_splits(monkeypatch, options, expected):
    sizes = {"trainA": 1231, "testA": 309, "trainB": 962, "testB": 238}
    monkeypatch.setattr(sources, "images_below", lambda root: [f"{n:04d}.jpg" for n in range(sizes[root.name])])
    made = plan("yosemite", **options)
    assert tuple(counts(made).values()) == expected
    assert list(made.splits) == ["train", "validation", "test"][: len(expected)]
    assert_disjoint(made.splits, sum(expected))


def test_places_stores_training_images_to_be_cropped(monkeypatch, tmp_path):
    found = [f"{number:05d}.jpg" for number in range(41_000)]
    monkeypatch.setattr(sources, "images_below", lambda root: found)
    made = plan("places", home=tmp_path)
    assert counts(made) == {"train": 40_000, "validation": 500, "test": 500}
    assert_disjoint(made.splits, 41_000)
    (tmp_path / "testSetPlaces205_resize").mkdir()
    for number in (0, 1):
        Image.new("RGB", (256 + 40 * number, 256)).save(tmp_path / "testSetPlaces205_resize" / found[number])
    assert made.splits["train"].reader(found[0]).shape == (256, 256, 3)
    assert made.splits["validation"].reader(found[1]).shape == (224, 224, 3)
    found.pop()
    with pytest.raises(InputError, match="40,999 images instead of 41,000"):
        plan("places")


# Names, options, the command line


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"name": "tiny-imagnet"}, r"There is no dataset 'tiny-imagnet' \(did you mean 'tiny-imagenet'\?\): known are"),
        ({"name": "cifar10", "splt": "hue"}, r"cifar10 has no option 'splt' \(did you mean 'split'\?\)"),
        ({"name": "cifar10", "split": "random"}, "split of cifar10 is 'random': it must be one of naive, hue"),
        ({"name": "coco", "validation": 1.5}, "validation of coco is 1.5: it must be a number from 0 to 0.9"),
        ({"name": "photos", "size": 5}, "size is 5: for photos it must be a whole number from 8 to 4096"),
        ({"name": "photos", "seed": 1.5}, "seed of photos is 1.5: it must be a number from 0"),
        ({"name": "cifar10", "size": 64}, "size is 64: for cifar10 it must be 32"),
        ({"name": "photos", "limit": 0}, "limit is 0"),
    ],
)
def test_mistyped_names_and_values(call, message):
    with pytest.raises(InputError, match=message):
        load(**call)


def test_what_is_prepared_opens_without_its_source(cifar):
    first = load("cifar10", home=cifar, jobs=1)
    for path in (cifar / "cifar-10-batches-bin").iterdir():
        path.unlink()
    assert load("cifar10", home=cifar).fingerprint == first.fingerprint


def test_limit_takes_the_same_images_each_time(cifar):
    dataset = load("cifar10", home=cifar, jobs=1, limit=20)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 20, "validation": 20, "test": 20}
    assert dataset.folder.name == "cifar10-32-limit20"
    positions = [int(file.split(":")[1]) for file in dataset["test"].files]
    assert positions == sorted(positions)
    assert load("cifar10", home=cifar, jobs=1, limit=20, drop_gray="gray").folder.name == "cifar10-32-dropgray-limit20"


def test_prepared_folders_have_readable_names():
    def key(name, **options):
        return registry.key(name, registry.find(name).size, None, registry.resolve(name, options))

    assert key("tiny-imagenet") == "tiny-imagenet-64"
    assert key("yosemite", split=80) == "yosemite-a-test0.5-256-split80"
    assert key("cifar10", split="hue", drop_gray="code", seed=24) == "cifar10-32-hue-dropcode-seed24"
    assert key("folder", path="/x/My photos") != key("folder", path="/y/My photos")


def test_the_command_line_downloads_prepares_and_lists(tmp_path, monkeypatch, capsys):
    """Yosemite from end to end: the archive in the data home, unpacked, counted, prepared."""
    image = tmp_path / "one.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)).save(image)
    home = tmp_path / "home"
    home.mkdir()
    with zipfile.ZipFile(home / "summer2winter_yosemite.zip", "w") as archive:
        for part, count in (("trainA", 1231), ("testA", 309), ("trainB", 1), ("testB", 1)):
            for number in range(count):
                archive.write(image, f"summer2winter_yosemite/{part}/{number}.jpg")
    arguments = ["yosemite", "--home", str(home), "--size", "8", "--jobs", "1", "--split", "70"]
    assert main(arguments) == 0
    assert "yosemite: 1,078 train, 231 validation, 231 test, fingerprint" in capsys.readouterr().out
    assert main(["list", "--home", str(home)]) == 0
    listing = capsys.readouterr().out
    assert "here: summer2winter_yosemite, prepared/yosemite-a-test0.5-8-split70" in listing
    assert all(name in listing for name in registry.DATASETS)
    assert main([*arguments, "--domain", "b"]) == 2
    assert "trainB has 1 images instead of 962" in capsys.readouterr().err


def test_options_of_the_command_line_reach_the_preparation(monkeypatch):
    asked = {}

    def load(name, **options):
        asked.update(options, name=name)
        raise InputError("It is enough.")

    monkeypatch.setattr("data_prep.__main__.load", load)
    assert main(["cifar10", "--dask", "tcp://10.0.0.1:8786", "--url", "https://mirror.example/"]) == 2
    assert (asked["name"], asked["dask"], asked["url"]) == ("cifar10", "tcp://10.0.0.1:8786", "https://mirror.example/")


def test_bad_input_ends_in_one_sentence_and_status_2(tmp_path):
    command = [sys.executable, "-m", "data_prep", "folder", str(tmp_path / "absent")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    folder = tmp_path / "absent"
    assert done.stderr == f"error: There is no folder {folder}: give the path of a folder of photographs.\n"


def test_pictures_of_a_dataset_without_a_test_split(monkeypatch):
    dataset = Dataset(
        {"train": Split.from_arrays(np.arange(48, dtype="uint8").reshape(1, 4, 4, 3))}, [], {"name": "own"}
    )
    monkeypatch.setattr(data_prep, "load", lambda name: dataset)
    with pytest.raises(InputError, match="the split 'test' of the dataset 'own'"):
        data_prep.drawn_photographs("own", 5)


def test_only_regular_files_are_read(tmp_path):
    """A pipe would never end, a device neither, and a link that leads nowhere is an image that cannot be opened."""
    for number in range(6):
        Image.fromarray(np.full((9, 9, 3), 20 * number, "uint8")).save(tmp_path / f"{number}.png")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(InputError, match="images cannot be read"):
        load("folder", path=tmp_path, size=8, jobs=1, test=0, validation=0, home=tmp_path / "home")
    dataset = load(
        "folder", path=tmp_path, size=8, jobs=1, test=0, validation=0, allow_skipped=True, home=tmp_path / "home"
    )
    reasons = {entry["file"]: entry["reason"] for entry in dataset.manifest["skipped"]}
    assert sorted(reasons) == ["gone.jpg", "pipe.jpg", "zero.jpg"]
    assert "not a regular file" in reasons["pipe.jpg"]


@pytest.mark.parametrize(
    "option", [("--size", "7"), ("--size", "4097"), ("--limit", "0"), ("--jobs", "-1"), ("--jobs", "two")]
)
def test_numbers_have_a_range(option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["photos", *option])
    assert stopped.value.code == 2
    assert "whole number from" in capsys.readouterr().err


def test_a_command_needs_a_name_and_its_help_says_what_is_default(capsys):
    with pytest.raises(SystemExit) as stopped:
        main([])
    assert stopped.value.code == 2
    assert "required: NAME" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["cifar10", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "(naive, hue) (default: naive)" in text
    assert "hue split (none, gray, code) (default: none)" in text
    with pytest.raises(SystemExit):
        main(["photos", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "whole photographs --geometry" in text  # no default of what depends on the size
    assert "(default: 64)" in text


def test_the_first_ten_images_that_are_left_out_are_printed(folder, capsys):
    for number in range(12):
        (folder / f"bad{number:02d}.png").write_text("no image")
    arguments = ["folder", str(folder), "--size", "8", "--jobs", "1", "--allow-skipped", "--validation", "0"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("    skipped bad") == 10
    assert "    and 2 more, listed in the manifest" in printed


def test_whole_numbers_may_be_written_with_a_point():
    assert registry.resolve("photos", {"seed": 5.0, "patches": "7"}).items() >= {"seed": 5, "patches": 7}.items()


def test_the_driver_hears_of_images_once_a_second_and_of_the_last(tmp_path, monkeypatch):
    monkeypatch.setenv("COLORIZE_PROGRESS", str(tmp_path / "progress"))
    now = [100.0]
    monkeypatch.setattr(data_prep, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    report = data_prep._report_to_driver("mine")
    for done, seconds in ((0, 0.0), (10, 0.5), (20, 0.6), (30, 0.2), (40, 0.1)):
        now[0] += seconds
        report(done, 40)
    lines = [json.loads(line)[0] for line in (tmp_path / "progress").read_text().splitlines()]
    assert lines == [f"preparing mine: {done} of 40 images" for done in (0, 20, 40)]
    monkeypatch.delenv("COLORIZE_PROGRESS")
    assert data_prep._report_to_driver("mine") is None


def test_stored_values_are_kept_where_the_papers_keep_them(tmp_path, monkeypatch):
    """And photographs of one's own, and the bundled ones, get the colours that their profile says."""

    def decode(path, managed):
        raise InputError(f"managed: {managed}")

    monkeypatch.setattr(readers, "decode", decode)
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).touch()
    mine = {"path": str(tmp_path / "mine")}
    for made, managed in (
        (plan("folder", **mine), True),
        (plan("folder", geometry="imagemagick", **mine), False),
        (plan("flickr", **mine), False),
        (plan("photos", size=160), True),
        (plan("photos", size=64), True),
    ):
        rows = made.splits["train"]
        with pytest.raises(InputError, match=f"managed: {managed}"):
            rows.reader(rows.items[0])


@pytest.mark.parametrize("gray", [False, True])
def test_images_that_have_their_size_are_taken_as_they_are(gray):
    image = np.random.default_rng(0).integers(0, 256, (6, 6) if gray else (6, 6, 3), "uint8")
    found = readers.GEOMETRIES["as-is"][0](image, 6)
    np.testing.assert_array_equal(found, np.stack([image] * 3, axis=-1) if gray else image)
    with pytest.raises(InputError, match="it has 6 × 6 pixels instead of 7 × 7"):
        readers.GEOMETRIES["as-is"][0](image, 7)


def test_the_centre_is_what_is_left_of_256_pixels_when_224_are_cut_out():
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), "uint8")
    for size, shorter in ((224, 256), (112, 128), (64, 73)):
        expected = preprocess.resize_shorter_side(image, shorter, crop=size)
        np.testing.assert_array_equal(readers.GEOMETRIES["centre"][0](image, size), expected)


def test_pictures_that_are_drawn_are_of_the_test_split(folder):
    drawn, test = data_prep.drawn_photographs(str(folder), 5), load(str(folder))["test"]
    assert len(drawn) == len(test) == 2
    for photograph, pixels in zip(drawn, test.images[:], strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(photograph.content))), pixels)
