from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from colorize_lib import papers
from colorize_lib.evaluation import claims
from colorize_lib.evaluation.claims import Claim
from colorize_lib.evaluation.scores import Scores

CLAIM = Claim("Dropout helps", "v6", "v4", "psnr_ab")


def run(epochs, advantage=0.3):
    """Scores of two systems on ten images, of which one is gray: v6 is better by `advantage`, on the gray one far worse."""
    base = pd.DataFrame({"psnr_ab": np.linspace(15, 25, 10), "gray": [True] + [False] * 9})
    better = base.assign(psnr_ab=base["psnr_ab"] + advantage + np.linspace(-0.01, 0.01, 10))
    better.loc[0, "psnr_ab"] = -100
    return Scores({"v6": {"last": (epochs[0], better)}, "v4": {"last": (epochs[1], base)}})


def judged(found, claim=CLAIM, **options):
    epochs = [found.epochs[claim.better], found.epochs[claim.worse]]
    return claims.judge(claim, [found.advantage(claim.better, claim.worse, claim.column)], epochs, **options)


def test_differences_are_paired_and_on_coloured_images():
    said = judged(run(("25", "25")))
    assert said.difference == pytest.approx(0.3, abs=0.01)
    assert said.low <= said.difference <= said.high
    assert said.high - said.low < 0.05  # the images differ by 10 dB


def test_a_claim_at_unequal_epochs_is_not_comparable():
    assert judged(run(("1", "2"))).verdict == "not comparable"
    assert judged(run(("2", "2"))).verdict == "one run"


def test_unequal_epochs_of_the_paper_are_comparable():
    of_paper = Claim("One network a channel scores higher", "v6", "v4", "psnr_ab", epochs=(30, 25))
    assert judged(run(("30", "25")), of_paper).verdict == "one run"
    assert judged(run(("25", "30")), of_paper).verdict == "not comparable"
    assert judged(run(("3", "2")), of_paper).verdict == "not comparable"
    assert judged(run(("3", "3")), of_paper).verdict == "one run"


def test_one_run_never_decides_about_a_training_method_three_seeds_do():
    assert judged(run(("25", "25"))).verdict == "one run"
    advantages = [np.full(9, value) for value in (0.3, 0.31, 0.29)]
    assert claims.judge(CLAIM, advantages, ("25", "25")).verdict == "for"
    assert claims.judge(CLAIM, [-values for values in advantages], ("25", "25")).verdict == "against"
    assert claims.judge(CLAIM, advantages, ("25", "24")).verdict == "not comparable"


def test_a_claim_about_one_network_is_decided_over_images():
    assert judged(run(("25", "25")), training=False).verdict == "for"
    assert judged(run(("25", "25"), -0.3), training=False).verdict == "against"


def test_lower_is_better_for_an_error():
    errors = {"a": 9.0, "b": 10.0}
    tables = {name: pd.DataFrame({"delta_e2000": [error] * 3, "gray": False}) for name, error in errors.items()}
    found = Scores({name: {"last": ("5", table)} for name, table in tables.items()})
    assert found.advantage("a", "b", "delta_e2000").tolist() == [1, 1, 1]


def test_speed_is_judged_an_epoch_however_many_there_were():
    histories = {
        "polychromify_v3": [{"epoch": 1, "seconds": 10.0}],
        "polychromify_v1": [{"epoch": 1, "seconds": 95.0}, {"epoch": 2, "seconds": 97.0}],
    }
    found = {said.sentence: said for said in claims.judge_all("polychromify", Scores({}), histories)}
    said = next(said for sentence, said in found.items() if "7.7 times" in sentence)
    assert said.difference == pytest.approx(9.6 - 7.7)
    assert said.unit == "ratio of speeds, less 7.7"
    assert said.verdict == "one run"


# Where the paper prints what a claim compares: {column of the claims: (table, its column, 1 if higher is better)}.
PRINTED = {
    "polychromify": {
        "psnr_ab": ("table1", "psnr_ab", 1),
        "psnr_rgb": ("table2", "psnr_rgb", 1),
        "ssim": ("table2", "ssim", 1),
    },
    "vacgan": {"mae_ab": ("table1", "test_mae", -1)},
}


@pytest.mark.parametrize("paper", PRINTED)
def test_the_paper_s_own_numbers_fulfil_its_claims(paper):
    published, judged = papers.published(paper), 0
    for claim in claims.of_paper(paper):
        if claim.column == "seconds":
            fast, slow = (published["table1"][name]["minutes"] for name in (claim.better, claim.worse))
            assert slow / fast > claim.times, claim.sentence
        elif claim.column in PRINTED[paper]:
            table, column, sign = PRINTED[paper][claim.column]
            better, worse = (published[table][name][column] for name in (claim.better, claim.worse))
            assert sign * (better - worse) + claim.within > 0, claim.sentence
        judged += claim.column == "seconds" or claim.column in PRINTED[paper]
    assert judged >= 3


def test_a_claim_of_equality_has_a_margin():
    values = {"polychromify_v3": 20.55, "polychromify_v1": 20.56}
    tables = {name: pd.DataFrame({"psnr_ab": [value] * 3, "gray": False}) for name, value in values.items()}
    found = Scores({name: {"last": ("25", table)} for name, table in tables.items()})
    said = claims.judge_all("polychromify", found)[0]
    assert said.difference == pytest.approx(0.09)


def test_claims_about_systems_that_were_not_run_say_so():
    found = claims.judge_all("polychromify", Scores({}))
    assert {said.verdict for said in found} == {"not run"}
    assert (claims.table(found)["verdict"] == "not run").all()


def test_a_quick_run_shows_differences_and_no_verdicts():
    said = [judged(run(("2", "2")))]
    assert "verdict" not in claims.table(said, decides=False)
    assert claims.table(said).loc["Dropout helps"].tolist()[-1] == "one run"


def test_claims_are_shown_as_sentences_with_numbers_that_are_not_broken():
    head, rule, line = repr(claims.shown([judged(run(("2", "2")))])).splitlines()
    assert head == "| claim | epochs | difference, above 0 if it holds | in | verdict |"
    assert set(rule) == set("|:- ")
    numbers = ["2 and 2", "0.30", "PSNR of ab, dB", "one run"]
    cells = ["Dropout helps", *(text.replace(" ", "\N{NO-BREAK SPACE}") for text in numbers)]
    assert line == f"| {' | '.join(cells)} |"


def test_claims_that_wait_for_a_system_are_a_sentence_below_the_others():
    waiting = claims.judge_all("polychromify", Scores({}))
    text = repr(claims.shown([judged(run(("2", "2"))), *waiting]))
    table, sentence = text.split("\n\n")
    assert table == repr(claims.shown([judged(run(("2", "2")))]))
    assert sentence.startswith(f"{len(waiting)} other claims wait for a run that has what this one lacks: ")
    for system in ("polychromify_v6", "siggraph17", "polychromify_overfit after 50 epochs"):
        assert sentence.count(system) == 1
    assert repr(claims.shown(waiting)).startswith(f"None is judged: {len(waiting)} claims wait ")
    setting = claims.compare_settings(GRID, "", "loss", "batch", 20, 100)
    assert repr(claims.shown([setting])).endswith("claim waits for a run that has what this one lacks: batch 100.")


def test_the_unit_of_a_compared_setting_is_the_one_that_is_named():
    grid = pd.DataFrame({"seed": 0, "epoch": 4, "rate": [1e-3, 1e-4], "loss": [0.5, 0.2]})
    said = claims.compare_settings(grid, "slower", "loss", "rate", 1e-4, 1e-3, lower=True, unit="squared error")
    assert (said.difference, said.unit) == (pytest.approx(0.3), "squared error")


def test_seeds_of_several_runs_are_judged_together():
    merged = {
        "helps": {"verdict": "one run", "difference": {"per_seed": [0.3, 0.31, 0.29]}},
        "hurts": {"verdict": "not comparable", "difference": {"per_seed": [0.3, 0.31, 0.29]}},
    }
    found = claims.over_seeds(merged)
    assert found["helps"]["verdict"] == "for"
    assert found["hurts"]["verdict"] == "not comparable"


@pytest.mark.parametrize(
    ("epoch", "mean", "said"), [("50", 21.96, "for"), ("50", 23.0, "against"), ("49", 21.96, "not run")]
)
def test_the_hypothesis_about_a_printed_number_is_tested_at_its_epoch(epoch, mean, said):
    values = mean + np.random.default_rng(0).normal(0, 1, 400)
    table = pd.DataFrame({"psnr_rgb": values - values.mean() + mean, "gray": False})
    found = claims.judge_all("polychromify", Scores({"polychromify_overfit": {"last": (epoch, table)}}))[-1]
    assert found.sentence.startswith("Our hypothesis")
    assert found.verdict == said


GRID = pd.DataFrame(
    [
        {
            "batch": batch,
            "rate": rate,
            "seed": seed,
            "epoch": 10,
            "loss": 0.1 * (batch == 64) + rate + 0.001 * seed * (batch == 64),
        }
        for batch in (20, 64)
        for rate in (0.1, 0.2)
        for seed in range(3)
    ]
)


def test_a_setting_is_compared_seed_by_seed_over_the_others():
    said = claims.compare_settings(GRID, "batch 20 is better", "loss", "batch", 20, 64, lower=True)
    assert said.per_seed == pytest.approx([0.1, 0.101, 0.102])
    assert (said.verdict, said.epochs) == ("for", ["10", "10"])
    unequal = GRID.assign(epoch=np.where(GRID["batch"] == 20, 10, 9))
    assert claims.compare_settings(unequal, "", "loss", "batch", 20, 64).verdict == "not comparable"
    one = claims.compare_settings(GRID[GRID["seed"] == 0], "", "loss", "batch", 20, 64, lower=True)
    assert (one.verdict, one.difference) == ("one run", pytest.approx(0.1))
    assert claims.compare_settings(GRID, "", "loss", "batch", 20, 100).verdict == "not run"
    higher = claims.compare_settings(GRID, "batch 64 is higher", "loss", "batch", 64, 20)
    assert (higher.verdict, higher.per_seed) == ("for", pytest.approx([0.1, 0.101, 0.102]))


def test_numbers_that_are_not_in_the_scores_are_judged_by_the_same_rules():
    table = pd.DataFrame({"psnr_rgb": np.zeros(6), "gray": [False] * 5 + [True]})
    found = Scores(
        {name: {"last": (epoch, table)} for name, epoch in (("a", "2"), ("b", "2"), ("c", "3"), ("gray", "0"))}
    )
    rising = np.arange(6.0)
    values = {"a": rising, "b": np.add(rising, [1, 2, 1, 2, 1, -99]), "c": rising, "gray": rising + 2, "truth": rising}
    judged = claims.judge_values(found, "a is lower", "a", "b", values, unit="share", digits=2)
    assert judged.difference == pytest.approx(1.4)  # without the gray image's -99
    assert (judged.verdict, judged.epochs, judged.unit, judged.digits) == ("one run", ["2", "2"], "share", 2)
    higher = claims.judge_values(found, "a is higher", "a", "b", values, sign=1, training=False)
    assert higher.verdict == "against"
    assert claims.judge_values(found, "", "a", "c", values).verdict == "not comparable"
    assert claims.judge_values(found, "", "a", "gray", values).epochs == ["2", "2"]
    assert claims.judge_values(found, "", "truth", "b", values).epochs == ["2", "2"]
    assert claims.judge_values(found, "", "a", "d", values).verdict == "not run"
    alone = {name: values[name] for name in ("a", "b")}
    assert claims.judge_values(found, "", "a", "b", alone).verdict == "one run"
    part = claims.judge_values(
        found, "", "a", "b", {name: row[:2] for name, row in values.items()}, coloured=np.array([False, True])
    )
    assert part.difference == 2


def test_metrics_hold_differences_epochs_and_verdicts_where_there_are_any():
    said = judged(run(("25", "25")))
    assert said.plain() == {
        "verdict": "one run",
        "epochs": ["25", "25"],
        "unit": "PSNR of ab, dB ↑",
        "difference": said.difference,
        "low": said.low,
        "high": said.high,
    }
    assert said.plain(decides=False) == {name: value for name, value in said.plain().items() if name != "verdict"}
    seeds = claims.judge(CLAIM, [[0.3], [0.31], [0.29]], ("25", "25"))
    assert seeds.plain()["per_seed"] == [0.3, 0.31, 0.29]
    not_run = claims.judge_all("polychromify", Scores({}))[0]
    assert not_run.plain() == {"verdict": "not run", "epochs": [], "unit": ""}
    assert claims.plain([said, not_run]).keys() == {CLAIM.sentence, not_run.sentence}


def test_merged_quick_runs_get_no_verdict():
    merged = {"helps": {"difference": {"per_seed": [0.3, 0.31, 0.29]}}}
    assert claims.over_seeds(merged) == merged


@pytest.mark.parametrize(("off", "said"), [(0.0, "for"), (0.5, "against")])
def test_the_hypothesis_holds_where_the_interval_has_the_number(off, said):
    """Also where every image has the very number: an interval of no width."""
    table = pd.DataFrame({"psnr_rgb": np.full(5, 21.959 + off), "gray": False})
    found = claims.judge_all("polychromify", Scores({"polychromify_overfit": {"last": ("50", table)}}))[-1]
    assert found.verdict == said


def test_a_table_leaves_out_what_has_no_difference_where_nothing_is_decided():
    found = [judged(run(("2", "2"))), claims.judge_all("polychromify", Scores({}))[0]]
    assert len(claims.table(found, decides=False)) == 1
    shown = claims.table(found)
    assert len(shown) == 2
    assert (
        shown.loc[CLAIM.sentence, claims.DIFFERENCE] == "0.30"
    )  # as many digits as PSNR has; its interval has no width
    wide = claims.table([replace(found[0], low=0.1, high=0.5)])
    assert wide.loc[CLAIM.sentence, claims.DIFFERENCE] == "0.30 [0.10, 0.50]"
    assert shown.loc[found[1].sentence, claims.DIFFERENCE] == "–"
    assert shown.loc[CLAIM.sentence, "in"] == "PSNR of ab, dB"
