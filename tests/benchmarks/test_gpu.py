import dataclasses
import json
import os
import subprocess
import sys

import keras
import pytest

from benchmarks import gpu, networks, report
from benchmarks.gpu import Job
from colorize_lib.acceleration import kernels
from colorize_lib.errors import InputError

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="is about JAX")
RATES = {"bfloat16": 800e12, "TF32": 400e12, "float32": 50e12}


def test_every_network_is_measured_in_both_precisions_and_polychromify_first():
    first, *rest = gpu.waves(networks.TRAINED, side_by_side=10)
    assert first[:2] == [Job("polychromify", "mixed_bfloat16", "fit"), Job("polychromify", "float32", "fit")]
    assert [job.network for job in first if job.kind == "profile"] == ["polychromify", "gan"]
    assert [job.network for job in first if job.kind == "smaller map"] == list(gpu.UPSAMPLED)
    jobs = [job for wave in [first, *rest] for job in wave]
    assert len(jobs) == len(set(jobs))
    measured = {(job.network, job.policy) for job in jobs if job.kind == "fit"}
    assert measured == {(name, policy) for name in networks.TRAINED for policy in ("mixed_bfloat16", "float32")}
    assert all(job.kind == "fit" for wave in rest for job in wave)


def test_chosen_networks_come_in_small_waves():
    waves = gpu.waves(["gan", "polychromify"], side_by_side=2)
    assert [len(wave) for wave in waves] == [2, 2, 1, 2]  # the profiles and the smaller map before other networks
    assert waves[-1] == [Job("gan", "mixed_bfloat16", "fit"), Job("gan", "float32", "fit")]
    with pytest.raises(InputError, match="polychromify"):
        gpu.waves(["polychrome"], side_by_side=2)


@pytest.mark.parametrize(
    ("limit", "begun"),
    [
        (0, []),
        (1, ["a"]),  # at the beginning nothing is known about how long a wave takes
        (59, ["a"]),
        (61, ["a", "b"]),  # 30 seconds are gone, and 30 are needed
        (69, ["a", "b"]),
        (99, ["a", "b", "c"]),
    ],
)
def test_what_would_not_end_in_time_does_not_begin(limit, begun):
    seconds, now, ran = {"a": 30, "b": 10, "c": 20}, [100.0], []

    def work(wave):
        ran.extend(wave)
        now[0] += seconds[wave[0]]

    left_out = gpu.run([["a"], ["b"], ["c"]], work, limit, clock=lambda: now[0])
    assert ran == begun
    assert left_out == [name for name in "abc" if name not in begun]


def found(**more):
    return {
        "network": "colornet",
        "policy": "mixed_bfloat16",
        "kind": "fit",
        "side": 224,
        "batch_size": 16,
        "images": 1000,
        "steps_a_call": 37,
        "products": "bfloat16",
        "seconds": [0.5, 0.1, 0.2, 0.3, 0.9],
        "first_epoch_seconds": 30.0,
        "flops_per_image": 120e9,
    } | more


def test_a_row_keeps_all_measurements_and_shows_their_median():
    ((key, row),) = gpu.rows(found(peak_memory_gb=1.5), RATES, gpu.Plan()).items()
    assert key == "utilisation in bfloat16/colornet"
    assert row["ours"] == [0.0005, 0.0001, 0.0002, 0.0003, 0.0009]
    assert row["ratio"] == pytest.approx(1000 / 0.3 * 120e9 / 800e12)  # 0.3 is the median, and 0.4 the mean
    assert row["details"]["images_per_second"] == 3333
    assert {"steps_a_call": 37, "peak_memory_gb": 1.5}.items() <= row["details"].items()


def test_float32_is_compared_with_the_products_that_it_uses():
    made = gpu.rows(found(policy="float32", products="TF32"), RATES, gpu.Plan())
    row = made["utilisation in float32/colornet"]
    assert row["ratio"] == pytest.approx(1.0)
    assert "float32 with TF32 products" in row["what"]
    plain = gpu.rows(found(policy="float32", products="float32"), RATES, gpu.Plan())["utilisation in float32/colornet"]
    assert plain["ratio"] == pytest.approx(8.0)
    assert "TF32" not in plain["what"] + plain["against"]


def test_polychromify_has_a_row_for_25_epochs_of_all_images_only():
    whole = found(network="polychromify", images=100_000, seconds=[4.0, 2.0, 1.0, 3.0, 1.5])
    row = gpu.rows(whole, RATES, gpu.Plan())["25 epochs in bfloat16"]
    assert row["ours"] == [100.0, 50.0, 25.0, 75.0, 37.5]
    assert (row["ratio"], row["met"]) == (1.2, True)
    assert "25 epochs in bfloat16" not in gpu.rows(whole | {"images": 4}, RATES, gpu.Plan())


def test_the_smaller_map_is_compared_with_the_enlarged_one():
    measured = found(kind="smaller map", seconds_enlarged=[1.0, 0.6, 0.6, 0.6, 9.0], loss_difference=0.0002)
    ((key, row),) = gpu.rows(measured, RATES, gpu.Plan()).items()
    assert key == "smaller map/colornet"
    assert (row["ratio"], len(row["ours"]), len(row["theirs"])) == (2.0, 5, 5)
    assert "2.0e-04" in row["note"]


def trace():
    """What JAX's profiler writes of two streams: kernels of 10, 20, and 30 µs with gaps, a copy that overlaps, and repetitions."""
    names = {1: "Stream #13(Compute)", 2: "Stream #14(MemcpyD2D)", 3: "XLA Modules", 4: "Framework Ops"}
    events = [{"ph": "M", "pid": 7, "name": "process_name", "args": {"name": "/device:GPU:0"}}]
    events += [{"ph": "M", "pid": 8, "name": "process_name", "args": {"name": "/host:CPU"}}]
    events += [
        {"ph": "M", "pid": 7, "tid": tid, "name": "thread_name", "args": {"name": n}} for tid, n in names.items()
    ]
    events += [{"ph": "M", "pid": 8, "tid": 1, "name": "thread_name", "args": {"name": "Stream of the host"}}]
    ran = [(7, 1, "loop_fusion_3", 0, 10), (7, 1, "conv_fprop.17", 20, 20), (7, 1, "conv_fprop.4", 50, 30)]
    ran += [(7, 2, "MemcpyD2D", 30, 20), (7, 1, "loop_fusion", 90, 10)]
    ran += [(7, 3, "jit_learn", 0, 100), (7, 4, "conv", 20, 60), (8, 1, "conv_fprop", 0, 500)]
    events += [{"ph": "X", "pid": p, "tid": t, "name": n, "ts": 1000 + ts, "dur": dur} for p, t, n, ts, dur in ran]
    return {"traceEvents": events}


def test_kernels_are_sorted_by_their_time():
    profile = gpu.kernels(trace())
    assert profile["span_seconds"] == pytest.approx(100e-6)
    assert profile["busy_share"] == 0.8  # 10, 60 from 20 to 80, and 10 microseconds of 100
    assert profile["kernels"] == [
        {"kernel": "conv_fprop", "share": 0.5556, "calls": 2, "microseconds": 25.0},
        {"kernel": "loop_fusion", "share": 0.2222, "calls": 2, "microseconds": 10.0},
        {"kernel": "MemcpyD2D", "share": 0.2222, "calls": 1, "microseconds": 20.0},
    ]
    assert [each["kernel"] for each in gpu.kernels(trace()["traceEvents"], count=1)["kernels"]] == ["conv_fprop"]
    ((key, row),) = gpu.rows(found(kind="profile", profile=profile), RATES, gpu.Plan()).items()
    assert key == "profile/colornet"
    assert row["note"].startswith(
        "kernels run 80% of the time, 37 steps a call; most of the busy time is conv_fprop 56% (25 µs"
    )
    assert row["details"]["kernels"] == profile["kernels"]


def test_a_trace_without_kernels_says_what_is_in_it():
    events = [event for event in trace()["traceEvents"] if event["name"] in ("process_name", "thread_name")]
    profile = gpu.kernels(events)
    assert "Framework Ops" in profile["threads"]
    ((_, row),) = gpu.rows(found(kind="profile", profile=profile), RATES, gpu.Plan()).items()
    assert row["note"] == "the profiler saw no kernels of a card."


def test_a_measurement_that_fails_costs_no_other(tmp_path, monkeypatch, capsys):
    def child(command, **_):
        *job, _, output = command[-5:]
        if job[1] == "float32":
            return subprocess.CompletedProcess(command, 1, "", "no memory")
        output.write_text(json.dumps(found(network=job[0], policy=job[1], kind=job[2])))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(gpu.subprocess, "run", child)
    wave = [Job("cnn", "float32", "fit"), Job("cnn", "mixed_bfloat16", "fit")]
    path = tmp_path / "bench.json"
    of_machine = {"processor": "Abacus", "cores": 2, "gpus": ["Card"]}, {}, "c1"
    assert gpu._work(wave, gpu.Plan(), RATES, of_machine, path) == [wave[0]]
    assert list(report.read(path)["machines"]["Card"]["rows"]) == ["utilisation in bfloat16/cnn"]
    assert "cnn float32 fit failed: no memory" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--tiny"], []])
def test_what_is_no_measurement_of_a_card_is_refused(arguments, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu", *arguments])
    for name in ("JAX_PLATFORMS", "XLA_FLAGS", "XLA_PYTHON_CLIENT_PREALLOCATE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # `main` sets them
    before = report.PATH.read_bytes()
    with pytest.raises(SystemExit) as exit_:
        gpu.main()
    assert exit_.value.code == 2
    assert ("--file" if arguments else "no GPU") in capsys.readouterr().err
    assert report.PATH.read_bytes() == before


@pytest.fixture
def turn(tmp_path):
    (tmp_path / "lock").touch()
    return gpu.Turn(tmp_path / "lock")


@on_jax
def test_precision_is_read_from_a_product():
    assert gpu.products("mixed_bfloat16") == "bfloat16"
    assert gpu.products("float32") == "float32"  # a CPU has no TF32


@on_jax
def test_both_maps_are_measured_by_turns(turn):
    measured = gpu.measure(Job("polychromify", "float32", "smaller map"), gpu.TINY, turn)
    assert len(measured["seconds"]) == len(measured["seconds_enlarged"]) == 5
    assert measured["loss_difference"] < 1e-5
    assert "smaller map/polychromify" in gpu.rows(measured, RATES, gpu.TINY)


@on_jax
def test_another_result_of_the_smaller_map_is_noticed(turn, monkeypatch):
    right = kernels.upsampled_convolution
    monkeypatch.setattr(kernels, "upsampled_convolution", lambda *given: right(*given) * 1.1)
    with pytest.raises(InputError, match="other losses"):
        gpu.measure(Job("polychromify", "float32", "smaller map"), dataclasses.replace(gpu.TINY, width=0.2), turn)


@pytest.mark.soak
def test_the_rehearsal_writes_all_rows_of_a_network(tmp_path):
    pytest.importorskip("jax")
    path = tmp_path / "bench.json"
    command = [sys.executable, "-m", "benchmarks.gpu", "--tiny", "--minutes", "60", "--file", path, "polychromify"]
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (machine,) = report.read(path)["machines"].values()
    kinds = ("profile", "smaller map", "utilisation in bfloat16", "utilisation in float32")
    assert list(machine["rows"]) == [f"{kind}/polychromify" for kind in kinds]
    assert all(len(row["ours"]) == 5 and row["measured"]["when"] for row in machine["rows"].values())
    assert json.loads(path.read_text())["format"] == report.FORMAT
    done = subprocess.run([*command, "--minutes", "0"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert done.stdout.count("left out") == 4
