"""What the terminal shows when a run ends."""

import csv
import json

import pytest

from colorize_lib.reproduction import closing

LONG = "resnet50_autoencoder_frozen (random backbone)"


@pytest.fixture
def run(tmp_path):
    header = ["system", "epoch", "PSNR, dB ↑ paper", "PSNR, dB ↑ here", "PSNR, dB ↑ coloured", "PSNR, dB ↑ best epoch"]
    header += ["ΔE2000 ↓ here"]
    rows = [
        ["cnn", "not run", "21.57", "–", "–", "–", "–"],
        [LONG, "4", "–", "23.56 [23.46, 23.67]", "23.4", "1.2", "11.2"],
    ]
    with open(tmp_path / "paper_vs_here.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return tmp_path


def write(folder, systems):
    summaries = {
        name: {"delta_e2000": {"mean": mean, "low": low, "high": high}} for name, (mean, low, high) in systems.items()
    }
    (folder / "metrics.json").write_text(json.dumps({"systems": summaries}))


def test_a_table_for_each_metric_with_paper_and_here_next_to_each_other(run):
    blocks = [block.splitlines() for block in closing.table(run / "paper_vs_here.csv").split("\n\n")]
    assert [block[0].split("  ")[0] for block in blocks] == ["system", "PSNR, dB ↑", "system"]
    assert blocks[2][0].split() == ["system", "ΔE2000", "↓", "here"]
    assert blocks[1][0].split() == ["PSNR,", "dB", "↑", "paper", "here", "coloured", "best", "epoch"]
    assert blocks[1][1].split() == ["cnn", "21.57", "–", "–", "–"]
    assert [line.split()[0] for line in blocks[2][1:]] == [LONG.split()[0]]  # no row without a number


def test_it_fits_in_a_terminal(run):
    text = (run / "paper_vs_here.csv").read_text().replace("23.56 [23.46, 23.67]", "23.56 [23.46, 23.67] " + "x" * 20)
    (run / "paper_vs_here.csv").write_text(text)
    shown = closing.table(run / "paper_vs_here.csv")
    assert max(map(len, shown.splitlines())) <= 100
    assert shown.count("PSNR, dB ↑") == 2  # the columns that did not fit follow below


def test_systems_are_compared_with_the_predictions_that_need_no_network(tmp_path):
    systems = {
        "gray (ab = 0)": (11.0, 10.9, 11.1),
        "mean colour": (12.0, 11, 13),
        "a": (10, 9, 10.5),
        "b": (10.9, 9, 11.2),
    }
    write(tmp_path, systems)
    said = "1 of 2 systems clearly beats gray and one colour in ΔE2000"
    assert closing.sentence(tmp_path, "paper") == f"{said}."
    assert closing.sentence(tmp_path, "quick") == f"{said}; recorded runs are in results/README.md."
    assert len(closing.sentence(tmp_path, "quick")) <= closing.WIDTH
    write(tmp_path, {"a": (10, 9, 10.5)})
    assert closing.sentence(tmp_path, "paper") == ""
    assert closing.sentence(tmp_path, "quick") == "Recorded runs are in results/README.md."


def test_metrics_of_one_column_share_a_table_as_far_as_they_fit(tmp_path):
    names = [f"metric {number}" for number in range(9)]
    rows = [["gray (ab = 0)", *"012345678"], ["gan", *(f"{number}.00 [1.00, 9.00]" for number in range(9))]]
    with open(tmp_path / "paper_vs_here.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["system", *names], *rows])
    text = closing.table(tmp_path / "paper_vs_here.csv")
    blocks = [block.splitlines() for block in text.split("\n\n")]
    assert [len(block) for block in blocks] == [3, 3, 3]
    assert [line.split("  ")[0] for line in blocks[1]] == ["system", "gan", "gray (ab = 0)"]
    assert max(map(len, text.splitlines())) <= closing.WIDTH
