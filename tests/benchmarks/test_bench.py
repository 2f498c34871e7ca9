import dataclasses
import json
import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import __main__, applying, contenders, networks, report, rows, worker
from benchmarks.contenders import NETWORKS
from colorize_lib import models
from colorize_lib.acceleration import accelerate, kernels
from colorize_lib.apps import photographs
from colorize_lib.errors import InputError

PHOTOS = Path(__file__).parents[2] / "data_prep" / "photos"
TINY = dataclasses.replace(rows.TINY, networks={"kth_unet": rows.TINY.networks["kth_unet"]})


class InThisProcess:
    """A `worker.Worker` without a process: starting TensorFlow thirty times would take minutes."""

    def __init__(self, contender, environment=None, **options):
        self._prepare = getattr(contenders, contender)(**options)

    def wait(self):
        pass

    def measure(self, amount):
        run = self._prepare(amount)
        begun = time.perf_counter()
        found = run()
        return {"seconds": time.perf_counter() - begun, "peak_memory": 1e9, "own_memory": 1e9} | (found or {})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def check(found):
    content = {"format": 1, "machines": {"abacus": {"hardware": {}, "versions": {}, "rows": found}}}
    assert not list(report._wrong(json.loads(json.dumps(content, allow_nan=False))))
    assert all(row["ours"] for row in found.values())
    return found


LONG = ("adversarial", "quality", "applying", "scale")  # for `make soak`


@pytest.mark.parametrize(
    "group",
    [
        pytest.param(group, marks=[pytest.mark.soak] * (group in LONG))
        for group in rows.GROUPS
        if "/" not in group and group != "preparation"
    ],
)
def test_rows_are_measured(group, monkeypatch):
    monkeypatch.setattr(rows, "Worker", InThisProcess)
    check(rows.measured(group, TINY))


@pytest.mark.soak
def test_training_is_measured(monkeypatch):
    monkeypatch.setattr(rows, "Worker", InThisProcess)
    found = check(rows.training("kth_unet", TINY))
    assert {"training/kth_unet", "training in float32/kth_unet", "fit/kth_unet", "utilisation/kth_unet"} <= set(found)
    assert found["utilisation/kth_unet"]["ratio"] > 0
    assert any(rows._is_product(kind) for kind in found["profile/kth_unet"]["details"]["share"])


def test_preparation_is_measured():
    try:
        found = rows.preparation(TINY)
    except InputError as error:
        if "ImageMagick 6" not in str(error):
            raise
        pytest.skip(str(error))
    check(found)


def test_the_loop_colorizes_as_the_command_does(tmp_path):
    (tmp_path / "photos").mkdir()
    name = sorted(PHOTOS.rglob("*.jp*g"))[0]
    shutil.copy(name, tmp_path / "photos" / "a.jpg")
    applying.loop(tmp_path / "photos", tmp_path / "theirs0")
    photographs.colorize_files([str(tmp_path / "photos")], output=str(tmp_path / "ours0"))
    assert applying._difference(tmp_path / "photos" / "a.jpg", tmp_path) < 4
    photo = np.asarray(Image.open(name)).astype(int)
    assert np.abs(photo - np.asarray(Image.open(tmp_path / "ours0" / "a.jpg"))).mean() > 4, "both are the photo itself"


class _Steps:
    """A contender, and the time, which only its measurements take."""

    def __init__(self, seconds):
        self.seconds, self.now = seconds, 0.0

    def perf_counter(self):
        return self.now

    def measure(self, amount):
        self.now += self.seconds
        return {"seconds": self.seconds, "peak_memory": 0}


def test_a_group_ends_in_its_time_and_says_what_it_left_out(monkeypatch):
    steps = _Steps(50)
    monkeypatch.setattr(worker, "time", steps)

    def group(plan):
        found = worker.by_turns({"a": steps}, 1, 5, plan.clock)["a"]
        fitting = plan.clock.fitting(10, 3, "images")
        return {"row": report.row("we", None, unit="s", ours=[len(found), fitting], note="A note.")}

    monkeypatch.setitem(rows.GROUPS, "group", (group, 2))
    made = rows.measured("group", TINY)["row"]
    assert made["ours"] == [2, 6]  # a third run would end after 150 s, and 20 of 120 s are left
    assert made["note"] == "A note. To end after 2 minutes, it left out 3 of 5 runs, 4 of 10 images."
    monkeypatch.setitem(rows.GROUPS, "group", (group, 20))
    made = rows.measured("group", TINY)["row"]
    assert (made["ours"], made["note"]) == ([5, 10], "A note.")


@pytest.mark.parametrize(("last", "ratio"), [(13, 1.0), (21, 0.5)])
def test_growth_does_not_count_the_start(last, ratio):
    found = [{"seconds": seconds, "peak_memory": 1e9} for seconds in (4, 5, last)]  # 3 s, and 1 s for ten images
    found[1]["peak_memory"] = 8e8
    made = rows._scale_rows("name", "{} images", (10, 20, 100), found, "peak_memory", "peak memory")
    assert made["scale/name"]["ratio"] == ratio
    assert made["scale/name/memory"]["ratio"] == 0.8
    assert made["scale/name"]["what"] == "10, 20, 100 images"


def test_a_contender_is_a_process_of_its_own():
    with worker.Worker("lab_scikit_image") as contender:
        measured = contender.measure(1)
    assert measured["seconds"] > 0
    assert measured["peak_memory"] > 1e7
    with pytest.raises(InputError, match="no_such_contender"), worker.Worker("no_such_contender") as contender:
        contender.measure(1)


def test_flops_are_counted_by_hand():
    import keras
    from keras import layers

    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, 2, "same")(inputs)  # 4 × 4 positions, no gradient of the input
    x = layers.Conv2DTranspose(2, 4, 2, "same")(x)  # 4 × 4 positions seen
    expected = 2 * 2 * 16 * 9 * 4 + 3 * 2 * 16 * 16 * 4 * 2
    assert networks.trained_flops(keras.Model(inputs, x)) == expected
    x = layers.Conv2D(3, 3, padding="same")(
        layers.UpSampling2D(2)(x)
    )  # 8 × 8 positions see 4 × 4 weights, or 16 × 16 see 3 × 3
    expected += 3 * 2 * 2 * 3 * (8 * 8 * 16 if kernels.tensorflow_cpu() else 16 * 16 * 9)
    x = layers.Conv2D(5, 1, padding="same")(layers.UpSampling2D(2)(x))  # 16 × 16 positions, copied afterwards
    expected += 3 * 2 * 3 * 5 * 16 * 16
    assert networks.trained_flops(keras.Model(inputs, x)) == expected


def test_only_what_comes_after_weights_has_a_gradient():
    import keras
    from keras import layers, ops

    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 2, name="first")(layers.ZeroPadding2D()(inputs))
    x = layers.UpSampling2D()(ops.abs(x))
    x = layers.Conv2D(2, 3, padding="same", name="second")(x)
    network = accelerate(keras.Model(inputs, x))
    found = {layer.name: (source.shape[1:], learns) for layer, source, learns in networks.computed(network)}
    assert found["first"] == ((10, 10, 1), False)
    assert found["second"] == ((9, 9, 4), True), "the convolution takes over the upsampling"
    first, second = (networks._flops(network.get_layer(name)) for name in ("first", "second"))
    assert networks.trained_flops(network) == 2 * first + 3 * second


@pytest.mark.parametrize("name", NETWORKS)
def test_pytorch_has_the_same_network(name):
    torch = pytest.importorskip("torch")
    from benchmarks.torch_networks import Network

    network = models.build(name, size=64)
    found = Network(network)
    ours = sum(math.prod(weight.shape) for weight in network.trainable_weights)
    assert sum(parameter.numel() for parameter in found.parameters()) == ours
    with torch.no_grad():
        assert found(torch.zeros(2, 1, 64, 64)).shape == (2, network.output_shape[-1], 64, 64)


def test_goals_and_ratios():
    met = report.row("we", "they", unit="s", ours=[1, 2, 9], theirs=[4, 4, 5], goal=2)
    assert (met["ratio"], met["met"]) == (2.0, True)
    missed = report.row("we", "they", unit="s", ours=[3], theirs=[4], goal=2)
    assert (missed["ratio"], missed["met"]) == (1.333, False)
    assert report.row("we", None, unit="s", ours=[3])["met"] is None


def row(ratio):
    return report.row("we", "they", unit="s", ours=[1], theirs=[ratio], goal=1)


def test_what_was_not_measured_stays(tmp_path):
    path = tmp_path / "bench.json"
    abacus, card = {"processor": "Abacus", "cores": 2}, {"processor": "Abacus", "cores": 2, "gpus": ["Card"]}
    report.write({"lab": row(1), "fit/a": row(2)}, abacus, {}, "c1", path)
    report.write({"lab": row(30)}, card, {}, "c1", path)
    report.write({"lab": row(3)}, abacus, {}, "c2", path)
    machines = report.read(path)["machines"]
    found = {name: {key: row["ratio"] for key, row in machine["rows"].items()} for name, machine in machines.items()}
    assert found == {"Abacus, 2 cores": {"fit/a": 2, "lab": 3}, "Card": {"lab": 30}}
    assert machines["Abacus, 2 cores"]["rows"]["lab"]["measured"]["commit"] == "c2"
    assert "| `fit`, against the bare compiled step on one batch in memory | 2.00 (1) |" in report.markdown(
        report.read(path)
    )


def test_a_fallen_ratio_is_named(tmp_path, capsys, monkeypatch):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    abacus = {"processor": "Abacus", "cores": 2}
    report.write({"lab": row(20), "fit/a": row(1), "gone": row(1)}, abacus, {}, "c1", old)
    report.write({"lab": row(10), "fit/a": row(0.9), "more": row(1)}, abacus, {}, "c2", new)

    def status(*arguments):
        monkeypatch.setattr("sys.argv", ["benchmarks", "compare", str(old), str(new), *arguments])
        with pytest.raises(SystemExit) as exit_:
            __main__.main()
        return exit_.value.code

    assert status() == 1
    assert capsys.readouterr().out == "Abacus, 2 cores, lab: 20.00 before, 10.00 now\n"
    assert status("--share", "0.6") == 0
    new.write_text("{}")
    assert status() == 2


def test_unknown_rows_are_refused():
    assert rows.chosen(["lab", "training", "lab"]) == ["lab", *(f"training/{name}" for name in NETWORKS)]
    with pytest.raises(InputError, match="scoring"):
        rows.chosen(["speed"])


def test_the_committed_file_and_readme_agree():
    content = report.read()
    readme = (report.PATH.parent.parent / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert report.markdown(content) in readme, (
        "the tables of benchmarks/README.md are out of date: run `python -m benchmarks table`"
    )
    for machine in content["machines"].values():
        assert all(row["measured"].get("commit") for row in machine["rows"].values())
