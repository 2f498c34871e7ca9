"""What is said of the machine and of the code, on machines that are made up."""

import os
from pathlib import Path

import keras
import pytest

from colorize_lib.training import machine


@pytest.fixture
def cpuinfo(tmp_path, monkeypatch):
    """The file that is read in place of /proc/cpuinfo, which is not there yet."""
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(machine, "Path", lambda name: path if name == "/proc/cpuinfo" else Path(name))
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0"])
    return path


@pytest.mark.parametrize(
    ("flags", "backend", "policy"),
    [
        ("fpu avx512_bf16", "tensorflow", "mixed_bfloat16"),
        ("fpu amx_bf16 amx_tile", "tensorflow", "mixed_bfloat16"),
        ("fpu avx512f", "tensorflow", "float32"),
        ("fpu avx512_bf16", "jax", "float32"),
        (None, "tensorflow", "float32"),
    ],
)
def test_bfloat16_is_for_what_multiplies_it(cpuinfo, monkeypatch, flags, backend, policy):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    if flags:
        cpuinfo.write_text(f"flags : {flags}\n")
    assert machine.dtype_policy("auto") == policy
    assert machine.dtype_policy("float32") == "float32"
    assert machine.dtype_policy("mixed_bfloat16") == "mixed_bfloat16"


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_bfloat16_is_for_accelerators(cpuinfo, monkeypatch, backend):
    monkeypatch.setattr(keras.backend, "backend", lambda: backend)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["cpu:0", "GPU:0"])
    assert machine.dtype_policy("auto") == "mixed_bfloat16"
    assert machine.dtype_policy("float32") == "float32"


def test_processor_cores_and_memory(cpuinfo, monkeypatch):
    cpuinfo.write_text("processor : 0\nmodel name\t: Abacus 9000: the wooden one \nmodel name : another\n")
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": round(15.64 * 2**30 / 4096)}
    monkeypatch.setattr(os, "sysconf", sizes.get)
    monkeypatch.setattr(os, "sched_getaffinity", {0: {1, 5, 7}}.get, raising=False)
    found = machine.hardware()
    assert found == {"processor": "Abacus 9000: the wooden one", "cores": 3, "memory_gib": 15.6, "accelerators": []}
    assert machine.described() == "Abacus 9000: the wooden one, 3 cores, 15.6 GiB of memory, no accelerator"


@pytest.mark.parametrize(("processor", "said"), [("an arm", "an arm"), ("", "aarch64")])
def test_where_linux_does_not_say_python_does(cpuinfo, monkeypatch, processor, said):
    monkeypatch.setattr(machine.platform, "processor", lambda: processor)
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    assert machine.hardware()["processor"] == said
    cpuinfo.write_text("vendor : another kind of Linux\n")
    assert machine.hardware()["processor"] == said


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that the library lies in, with a `git` whose answers are (status, text) by its command."""
    answers = {"rev-parse": (0, "0123abcd"), "status": (0, "")}

    def answer(**given):
        answers.update({name.replace("_", "-"): value for name, value in given.items()})
        lines = [f"*{name}*) echo '{text}'; exit {status};;" for name, (status, text) in answers.items()]
        program = tmp_path / "bin" / "git"
        program.parent.mkdir(exist_ok=True)
        program.write_text('#!/bin/sh\ncase "$*" in\n' + "\n".join(lines) + "\nesac\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    library = tmp_path / "checkout" / "colorize_lib" / "training" / "machine.py"
    library.parent.mkdir(parents=True)
    monkeypatch.setattr(machine, "__file__", str(library))
    return answer


def test_the_commit_is_that_of_the_checkout_and_marked_where_files_differ(checkout):
    checkout()
    assert machine.git_commit() == "0123abcd"
    checkout(status=(0, " M README.md"))
    assert machine.git_commit() == "0123abcd+"
    checkout(rev_parse=(128, ""))  # no checkout
    assert machine.git_commit() is None


def test_a_bundle_has_its_commit_in_a_file_and_without_git_there_is_none(checkout, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert machine.git_commit() is None
    (tmp_path / "checkout" / "COMMIT").write_text("4567cdef\n", encoding="utf-8")
    assert machine.git_commit() == "4567cdef"
