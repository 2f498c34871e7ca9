"""Scores on disk, the tables made from them, and which epoch they are of."""

import csv

import numpy as np
import pandas as pd
import pytest

from colorize_lib import files
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError
from colorize_lib.evaluation import claims, evaluate, report, scores
from colorize_lib.evaluation.scores import Scores
from colorize_lib.training.colorizer import Colorizer, ensemble

IMAGES, GRAY = 20, [3, 11]


@pytest.fixture(scope="module")
def split():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (IMAGES, 2, 2, 3)).repeat(8, 1).repeat(8, 2).astype("uint8")
    images[GRAY] = images[GRAY][..., :1]
    return Split.from_arrays(images)


def table(psnr, gray=99.7):
    """Scores of `IMAGES` images: one number for the coloured ones, another for the gray."""
    rows = pd.DataFrame({"psnr_rgb": np.full(IMAGES, float(psnr)), "colorfulness": 5.0})
    rows["gray"] = np.isin(np.arange(IMAGES), GRAY)
    rows.loc[rows["gray"], "psnr_rgb"] = gray
    return rows


def write_history(folder, system, losses):
    folder = folder / system
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"epoch": epoch, "loss": loss / 2, "val_loss": loss, "val_psnr_ab": 20 - loss, "seconds": 60}
        for epoch, loss in enumerate(losses, 1)
    ]
    with open(folder / "history.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def trained(folder, system, size=16):
    """A run's folder of `system`, in which the last epoch is worse than the best: the best predicts gray, the last pure red."""
    colorizer = Colorizer.from_name("cnn", size=size, width=0.05)
    write_history(folder, system, [0.5, 0.1, 0.9])
    head = colorizer.network.get_layer("ab")
    kernel, _ = head.get_weights()
    for name, bias in (("best", (0.0, 0.0)), ("last", (3.0, 0.0))):
        head.set_weights([0 * kernel, np.array(bias, "float32")])
        colorizer.network.save_weights(folder / system / f"{name}.weights.h5")
    return colorizer


def test_gray_images_are_not_in_the_main_number(tmp_path):
    scores.write(tmp_path, "cnn", {"last": ("3", table(20))})
    found = Scores.read(tmp_path)
    assert found.images == (20, 2)
    assert found.summary()["cnn"]["psnr_rgb"]["mean"] == 20
    assert found.summary()["cnn"]["images"] == 18
    assert found.summary(coloured=False)["cnn"]["psnr_rgb"]["mean"] == pytest.approx((18 * 20 + 2 * 99.7) / 20)
    shown = found.table(["psnr_rgb", "colorfulness"])
    assert shown.loc["cnn"].tolist() == ["3", "20.00", "20.00", "27.97", "5.0"]


def test_one_number_an_image_is_kept_and_read_again(tmp_path, split):
    system = evaluate.ConstantColor((9.0, 4.0))
    direct = evaluate.score(system, split)
    scores.score_run({"mean colour": system}, split, tmp_path)
    path = tmp_path / "mean_colour" / "scores.csv.gz"
    kept = Scores.read(tmp_path).tables["mean colour"]
    for column in evaluate.METRICS:
        assert np.allclose(kept[column], direct[column], rtol=1e-4)
    assert kept["gray"].tolist() == direct["gray"].tolist()
    before = path.read_bytes()
    scores.score_run({"mean colour": system}, split, tmp_path)
    assert path.read_bytes() == before  # no time stamp
    assert [(which, epoch) for which, (epoch, _) in scores.read(tmp_path, "mean colour").items()] == [("last", "0")]


@pytest.mark.parametrize(("keep", "epoch", "other"), [("last", "3", "2"), ("best", "2", "3")])
def test_the_epoch_that_keep_says_is_scored(tmp_path, split, keep, epoch, other):
    colorizer = trained(tmp_path, "cnn")
    found = scores.score_run({"cnn": colorizer}, split, tmp_path, keep)
    assert (found.epochs["cnn"], found.other_epochs["cnn"]) == (epoch, other)
    colour = (
        {"last": found.tables, "best": found.others} if keep == "last" else {"last": found.others, "best": found.tables}
    )
    assert colour["last"]["cnn"]["chroma"].mean() > 50 > 1 > colour["best"]["cnn"]["chroma"].mean()
    # The network is left with the weights that the tables speak of.
    assert (np.abs(colorizer.predict_color(split.images[:1])[0]).max() > 50) == (keep == "last")
    assert found.metrics()["systems"]["cnn"]["epoch"] == epoch
    others = found.metrics()["other_epoch"]
    assert others["systems"]["cnn"]["epoch"] == others["all_images"]["cnn"]["epoch"] == other
    assert (others["systems"]["cnn"]["images"], others["all_images"]["cnn"]["images"]) == (18, 20)


def test_a_system_of_two_networks_is_scored_with_the_epochs_of_both(tmp_path, split):
    halves = {
        name: Colorizer.from_name(name, size=16, width=0.05).network for name in ("polychromify_a", "polychromify_b")
    }
    for name, losses in zip(halves, ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]), strict=True):
        write_history(tmp_path, name, losses)
        for which in ("last", "best"):
            halves[name].save_weights(tmp_path / name / f"{which}.weights.h5")
    joined = Colorizer(ensemble("polychromify_ab", *halves.values()), "polychromify")
    found = scores.score_run({"polychromify_ab": joined}, split, tmp_path, parts={"polychromify_ab": halves})
    assert (found.epochs["polychromify_ab"], found.other_epochs["polychromify_ab"]) == ("3", "1+3")


def test_paper_vs_here_puts_the_papers_average_and_the_other_epoch_next_to_each_other(tmp_path):
    scores.write(tmp_path, "cnn", {"last": ("25", table(20)), "best": ("7", table(21))})
    shown = Scores.read(tmp_path).paper_vs_here(
        {"cnn": {"psnr_rgb": 21.5735}, "eccv16": {"psnr_rgb": 22.14}}, ["psnr_rgb"]
    )
    assert list(shown.columns) == [
        ("", "epoch"),
        *(("PSNR, dB ↑", name) for name in ("paper", "here", "coloured", "best epoch")),
    ]
    cnn = shown.loc["cnn"].tolist()
    assert cnn[:2] == ["25", "21.57"]
    assert cnn[2].startswith("27.97 [")
    assert cnn[3:] == ["20.00", "28.87"]
    assert shown.loc["eccv16"].tolist() == ["not run", "22.14", "–", "–", "–"]
    files.write_table(tmp_path / "table.csv", shown)
    assert (tmp_path / "table.csv").read_text().startswith("system,epoch,")


def test_seeds_are_averaged_image_by_image(tmp_path):
    for seed, psnr in enumerate((20, 22)):
        scores.write(
            tmp_path, f"cnn_seed{seed}", {"last": ("3", table(psnr)), "best": (str(1 + seed), table(psnr + 1))}
        )
    found = Scores.read(tmp_path).averaged({"cnn": ["cnn_seed0", "cnn_seed1"]})
    assert (found.epochs, found.other_epochs) == ({"cnn": "3"}, {"cnn": "1+2"})
    assert found.summary()["cnn"]["psnr_rgb"]["mean"] == 21
    assert found.summary(other=True)["cnn"]["psnr_rgb"]["mean"] == 22
    assert found.images == (20, 2)


@pytest.mark.parametrize("damage", [b"", b"no gzip at all"])
def test_damaged_scores_are_said(tmp_path, damage):
    scores.write(tmp_path, "cnn", {"last": ("3", table(20))})
    (tmp_path / "cnn" / "scores.csv.gz").write_bytes(damage)
    with pytest.raises(InputError, match=r"Cannot read the scores in .*cnn.*: score the run again"):
        Scores.read(tmp_path)


def test_keep_is_one_of_two():
    with pytest.raises(InputError, match="keep is 'first'"):
        Scores({}, "first")


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.0, 3, "0"), (-0.0004, 3, "0"), (23.456, 2, "23.46"), (None, 2, "–"), (np.inf, 2, "–")],
)
def test_numbers_in_tables(value, digits, text):
    assert scores.number(value, digits) == text


# What a run comes to


def test_metrics_are_made_from_scores_and_histories(tmp_path):
    for system, psnr in (("polychromify_v4", 20), ("polychromify_v5", 19)):
        rows = table(psnr).assign(psnr_ab=float(psnr))
        scores.write(tmp_path, system, {"last": ("3", rows)})
        write_history(tmp_path, system, [0.5, 0.1, 0.9])
    found = report.metrics("polychromify", tmp_path, Scores.read(tmp_path), label="budgeted", training_images=100)
    assert found["epochs"] == {"polychromify_v4": 3, "polychromify_v5": 3}
    assert found["minutes"]["polychromify_v4"] == 3
    assert found["validation_psnr_ab"]["polychromify_v4"] == pytest.approx(19.1)
    assert found["best_validation_psnr_ab"]["polychromify_v4"] == pytest.approx(19.9)
    assert found["best_epoch"]["polychromify_v5"] == 2
    said = found["claims"]["50 epochs overfit: 25 score higher (Table 1, v4 and v5)"]
    assert (said["verdict"], said["difference"]) == ("one run", 1)
    quick = report.metrics("polychromify", tmp_path, Scores.read(tmp_path), label="x", training_images=1, decides=False)
    assert quick["claims"].keys() == found["claims"].keys()
    assert not [claim for claim in quick["claims"].values() if "verdict" in claim]


def test_validation_table_has_the_last_epoch_and_the_best(tmp_path):
    write_history(tmp_path, "polychromify_v5", [0.5, 0.1, 0.9])
    published = {
        "polychromify_v5": {"psnr_ab": 19.54, "minutes": 85},
        "polychromify_v6": {"psnr_ab": 20.66, "minutes": 42},
    }
    shown = report.validation_table(published, scores.histories(tmp_path), "psnr_ab")
    assert shown.loc["polychromify_v5"].tolist() == [
        "19.54",
        "19.10",
        "3",
        "19.90",
        "2",
        "85",
        "3.0",
    ]  # no column of the paper's best: none is printed
    last, best = "PSNR of ab, dB ↑: last epoch", "PSNR of ab, dB ↑: best epoch"
    names = [(last, "paper"), (last, "here"), (last, "epoch"), (best, "here"), (best, "epoch")]
    assert shown.columns.tolist() == [*names, ("minutes", "paper"), ("minutes", "here")]
    assert shown.loc["polychromify_v6"].tolist() == ["20.66", *"––––", "42", "–"]
    assert report.validation_table(published, {}, "psnr_ab").columns.tolist() == [(last, "paper"), ("minutes", "paper")]
    fig4 = report.validation_table(
        {"polychromify_v5": {"psnr_ab": 19.6, "best": 20.76}}, scores.histories(tmp_path), "psnr_ab"
    )
    assert fig4.loc["polychromify_v5"].tolist() == ["19.60", "19.10", "3", "20.76", "19.90", "2"]


def test_every_claim_names_systems_and_columns_that_exist():
    from colorize_lib import models

    known = {*models.names(), "polychromify_ab"}
    for claim in claims.of_paper("polychromify"):
        assert {claim.better, claim.worse} <= known
        assert claim.column in {*scores.QUANTITIES, "seconds"}


def curve(values, validation):
    return [{"accuracy": a, "val_accuracy": b} for a, b in zip(values, validation, strict=True)]


def test_a_curve_flattens_where_it_changes_no_more():
    rising = np.minimum(np.arange(1, 301) / 120, 1.0) * 0.6
    history = curve(rising, rising)
    assert report.flattens(history, "accuracy", tolerance=0.001) == 120
    assert report.flattens(history[:100], "accuracy", tolerance=0.001) > 90  # it still rises at its end
    assert report.flattens(curve([0.6] * 5, [0.6] * 5), "accuracy") == 1
    steps = [0.5892, 0.5893, 0.5907, 0.6, 0.6]  # settled is what stays within one point of per cent
    assert report.flattens(curve(steps, steps), "accuracy") == 3


def test_curves_cross_where_training_stays_above_validation():
    training = np.linspace(0.2, 0.8, 200)
    assert report.crosses(curve(training, [0.5] * 200), "accuracy") == 101
    assert report.crosses(curve(training, [0.9] * 200), "accuracy") is None
    assert report.crosses(curve(training, [0.1] * 200), "accuracy") == 1


@pytest.mark.parametrize("keep", ["best", "last"])
def test_where_one_epoch_is_scored_it_is_shown_and_no_other(tmp_path, keep):
    scores.write(tmp_path, "net", {keep: ("3", table(20.0))})
    found = scores.Scores.read(tmp_path, keep)
    assert found.epochs == found.other_epochs == {"net": "3"}
    assert found.metrics()["other_epoch"] == {"systems": {}, "all_images": {}}


def test_a_run_of_one_epoch_has_its_validation_numbers(tmp_path):
    scores.write(tmp_path, "cnn", {"last": ("1", table(20.0))})
    write_history(tmp_path, "cnn", [0.5])
    found = report.metrics("unet", tmp_path, Scores.read(tmp_path), label="x", training_images=1)
    assert found["validation_psnr_ab"] == found["best_validation_psnr_ab"] == {"cnn": 19.5}
    assert (found["epochs"], found["best_epoch"]) == ({"cnn": 1}, {"cnn": 1})
