"""The estimate before a series: what would be trained, from the notebook itself, and the seconds an image takes here."""

import contextlib
import time

import pytest

from colorize_lib import files, papers
from colorize_lib.reproduction import notebook, rehearsal


def test_a_notebook_is_rehearsed():
    given = ["SYSTEMS=cnn,polychromify,polychromify_overfit", "EPOCHS=7", "TRAIN_LIMIT=64", "WIDTH=0.1"]
    found = rehearsal.rehearse("polychromify", given, seconds=3000)
    assert found["note"] == ""
    assert [fit["name"] for fit in found["fits"]] == ["cnn", "polychromify", "polychromify_overfit"]
    assert {fit["epochs"] for fit in found["fits"]} == {7}
    assert {fit["images"] for fit in found["fits"]} == {64}
    assert all(fit["seconds"] > 0 for fit in found["fits"])
    assert [fit["measured"] for fit in found["fits"]] == [True, True, False]  # the third costs what the second costs
    assert not list(files.run_root().rglob("*.h5"))


TRAINED = {"autoencoders": 7, "polychromify": 5, "unet": 1, "resnet-mrf": 6, "vacgan": 4}  # at least


@pytest.mark.parametrize("paper", papers.KEYS)
def test_every_notebook_is_rehearsed_to_its_trainings(paper):
    fits = rehearsal.rehearse(paper, ["WIDTH=0.05"], seconds=3000, measure=False)["fits"]
    assert len(fits) >= TRAINED[paper]
    limit = notebook.declared(notebook.notebook_path(paper))["PROFILES"]["quick"]["train_limit"]
    assert all(fit["epochs"] >= 1 and 1 <= fit["images"] <= limit for fit in fits)


def test_data_that_are_not_there_are_counted_by_their_registry_entry():
    options = ["PROFILE=paper", "SYSTEMS=polychromify_v5"]
    found = rehearsal.rehearse("polychromify", options, seconds=3000, measure=False)
    assert [(fit["images"], fit["epochs"]) for fit in found["fits"]] == [(100_000, 50)]


def test_the_table_says_what_it_does_not_know(monkeypatch):
    fit = {"name": "a", "epochs": 5, "images": 10, "seconds": 4000.0, "measured": True}
    known = {"fits": [fit, {**fit, "seconds": 20_000.0, "measured": False}], "note": ""}
    cut = {"fits": [fit], "note": "not all was seen in 60 s"}
    broken = {"fits": [], "note": "InputError: no such folder"}
    results = {"polychromify": known, "unet": cut, "vacgan": broken}
    monkeypatch.setattr(rehearsal, "_in_a_process", lambda papers, assignments: results)
    lines = rehearsal.table(["polychromify", "unet", "vacgan", "autoencoders"], []).splitlines()
    assert "a few steps of 2 networks" in lines[0]
    assert lines[2].split() == ["polychromify", "2", "10", "about", "6.7", "hours"]
    assert lines[3].endswith("at least 66.7 minutes (not all was seen in 60 s)")
    assert "unknown (InputError: no such folder)" in lines[4]
    assert "unknown (the rehearsal did not get there)" in lines[5]
    assert lines[6].endswith("at least 7.8 hours")
    assert lines[7].startswith("Left out:")


def test_the_clock_stands_still_while_data_are_loaded_and_waits_for_a_first_network():
    def after(seconds, enough, work):
        begun = time.monotonic()
        with contextlib.suppress(rehearsal._OutOfTime), rehearsal._at_most(seconds, lambda: enough):
            work()
            time.sleep(60)
        return time.monotonic() - begun

    def load():
        with rehearsal._paused():
            time.sleep(1)

    assert 0.3 <= after(0.3, True, lambda: None) < 0.9
    assert 0.9 <= after(0.3, False, lambda: None) < 30
    assert 1.3 <= after(0.3, True, load) < 30
