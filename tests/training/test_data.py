"""colorize_lib.training.data: random crops repeat with seed, epoch and batch, and are parts of their images."""

import keras
import numpy as np
import pytest

from colorize_lib.dataset import Split
from colorize_lib.training.data import Batches, RandomResizedCrop, feed


def positions(height, width):
    """An image whose red value says how far right a pixel lies, and green how far down, in [0, 255]."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([across, down, np.full_like(across, 7)], axis=-1).round().astype(np.uint8)


def test_crops_have_the_areas_and_shapes_that_were_asked_for():
    crop = RandomResizedCrop(16)
    images = np.stack([positions(90, 120)] * 400)
    crops = crop(images, np.random.default_rng(0)).astype(float)
    assert crops.shape == (400, 16, 16, 3)
    # The values at the middle of the outer pixels, extended by half a pixel on both sides, are the part's edges.
    widths = np.abs(crops[:, 8, -1, 0] - crops[:, 8, 0, 0]) / 255 * 16 / 15
    heights = (crops[:, -1, 8, 1] - crops[:, 0, 8, 1]) / 255 * 16 / 15
    areas, aspects = widths * heights, widths * 120 / (heights * 90)
    assert heights.min() > 0
    assert areas.min() == pytest.approx(0.08, abs=0.03)
    assert areas.max() > 0.8
    # The same rule drawn here: a part that is wider or higher than the image is drawn again.
    generator = np.random.default_rng(1)
    area, aspect = generator.uniform(0.08, 1, 100_000), np.exp(generator.uniform(np.log(3 / 4), np.log(4 / 3), 100_000))
    fits = (area * aspect <= 120 / 90) & (area / aspect <= 90 / 120)
    assert np.mean(areas) == pytest.approx(area[fits].mean(), abs=0.03)
    assert aspects.min() == pytest.approx(3 / 4, abs=0.12)
    assert aspects.max() == pytest.approx(4 / 3, abs=0.2)
    mirrored = crops[:, 8, 0, 0] > crops[:, 8, -1, 0]
    assert 0.4 < mirrored.mean() < 0.6
    assert (crops[..., 2] == 7).all()
    whole = RandomResizedCrop(4, area=(1.0, 1.0), aspect=(1.0, 1.0))
    many = whole(np.stack([positions(4, 4)] * 4000), np.random.default_rng(2))
    assert (many[:, 0, 0, 0] > many[:, 0, -1, 0]).mean() == pytest.approx(0.5, abs=0.025)


def test_an_image_in_which_no_part_fits_gives_its_middle():
    strip = positions(10, 400)
    crop = RandomResizedCrop(10, area=(0.9, 1.0), flip=False)(strip[None], np.random.default_rng(0))[0]
    np.testing.assert_array_equal(crop, strip[:, 195:205])


def test_batches_repeat_their_crops():
    split = Split(np.stack([positions(40, 40)] * 10), np.zeros(10, int))
    first, again = (Batches(split, 4, seed=3, transform=RandomResizedCrop(8)) for _ in range(2))
    assert [len(first[index][0]) for index in range(len(first))] == [4, 4, 2]
    for index in (1, 0):
        np.testing.assert_array_equal(first[index][0], again[index][0])
    assert not np.array_equal(first[0][0], first[1][0])
    before = first[0][0]
    first.set_epoch(1)
    assert not np.array_equal(first[0][0], before)


def test_feed_gives_the_batches_of_each_epoch_without_autotuning():
    split = Split(np.random.default_rng(0).integers(0, 256, (7, 4, 4, 3), "uint8"), np.arange(7))
    batches = Batches(split, 3, seed=5, labels=True)
    fed = feed(batches)
    assert feed(None) is None
    if keras.backend.backend() != "tensorflow":
        assert fed is batches
        return
    assert feed(fed) is fed
    assert not fed.options().autotune.enabled
    assert int(fed.cardinality()) == len(batches) == 3
    for epoch in (0, 3):
        batches.set_epoch(epoch)
        for found, expected in zip(fed.as_numpy_iterator(), (batches[index] for index in range(3)), strict=True):
            for part, wanted in zip(found, expected, strict=True):
                np.testing.assert_array_equal(part, wanted)


def numbered(count):
    """A split whose images and labels are their row numbers."""
    rows = np.arange(count)
    return Split(np.broadcast_to(rows.astype("uint8")[:, None, None, None], (count, 2, 2, 3)), rows)


def seen(seed, epoch, count=50, batch_size=8):
    """The rows that an epoch sees, batch by batch, which images and labels agree upon."""
    batches, found = Batches(numbered(count), batch_size, seed, labels=True), []
    batches.set_epoch(epoch)
    for index in range(len(batches)):
        images, labels = batches[index]
        assert images[:, 0, 0, 0].tolist() == labels.tolist()
        found.append(labels.tolist())
    return found


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own():
    orders = {(seed, epoch): seen(seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)}
    for order in orders.values():
        assert sorted(np.concatenate(order).tolist()) == list(range(50))
        # Shuffled through the whole split: no batch is a piece of it.
        assert all(max(rows) - min(rows) > 2 * len(rows) for rows in order[:-1])
    assert len({str(order) for order in orders.values()}) == len(orders)
    assert seen(1, 2) == orders[1, 2]  # whatever came before


def test_without_a_seed_the_rows_keep_their_order():
    for epoch in (0, 3):
        assert np.concatenate(seen(None, epoch)).tolist() == list(range(50))


def test_crops_are_those_of_their_seed():
    split = Split(np.stack([positions(40, 40)] * 4), np.zeros(4, int))
    crops = [Batches(split, 4, seed=seed, transform=RandomResizedCrop(8))[0][0] for seed in (3, 3, 4)]
    np.testing.assert_array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])


def test_an_epoch_of_some_images_begins_where_the_one_before_ended():
    """Ten images in epochs of four are the passes of ten, one after another."""
    split = Split(np.arange(10, dtype="uint8").reshape(10, 1, 1, 1).repeat(3, axis=-1), np.arange(10))

    def seen(batches, epochs):
        found = []
        for epoch in range(epochs):
            batches.set_epoch(epoch)
            found.append([int(image[0, 0, 0]) for index in range(len(batches)) for image in batches[index][0]])
        return found

    parts = seen(Batches(split, 4, seed=2, epoch_images=4), 10)
    order = np.concatenate([np.random.default_rng([2, number]).permutation(10) for number in range(4)])
    assert [sorted(part) for part in parts] == [sorted(order[4 * n : 4 * n + 4].tolist()) for n in range(10)]
    assert [len(part) for part in seen(Batches(split, 4, seed=2, epoch_images=25), 2)] == [25, 25]
    assert len(Batches(split, 4, epoch_images=6)) == 2


@pytest.mark.parametrize("seed", [0, 3, None])
def test_a_transform_draws_from_seed_epoch_and_batch_alone(seed):
    """None counts as 0: without a seed the order is that of the rows, and crops still repeat."""
    drawn = []

    def transform(images, generator):
        drawn.append(generator.random())
        return images

    batches = Batches(numbered(6), 3, seed, transform=transform)
    for epoch, index in ((0, 1), (2, 0)):
        batches.set_epoch(epoch)
        batches[index]
        assert drawn[-1] == np.random.default_rng([seed or 0, epoch, index]).random()


def test_rows_repeat_only_to_fill_a_multiple():
    batches = Batches(numbered(7), 4)
    assert batches.rows(1).tolist() == [4, 5, 6]
    assert batches.rows(1, 2).tolist() == [4, 5, 6, 4]
    assert batches.rows(1, 4).tolist() == [4, 5, 6, 4]
    assert batches.rows(0, 4).tolist() == [0, 1, 2, 3]
