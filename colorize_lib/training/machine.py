"""The machine and the code that produce a run's numbers: hardware, versions, commit, and the precision of training."""

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import keras

import colorize_lib


def dtype_policy(choice):
    """The Keras dtype policy for `choice`: "auto" is bfloat16 on hardware that multiplies it natively, and float32 elsewhere.

    TensorFlow multiplies it natively on GPUs and on CPUs with AVX512-BF16 or AMX. JAX emulates it slowly on a CPU.
    """
    if choice != "auto":
        return choice
    if hardware()["accelerators"]:
        return "mixed_bfloat16"
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    native = "avx512_bf16" in flags or "amx_bf16" in flags
    return "mixed_bfloat16" if native and keras.backend.backend() == "tensorflow" else "float32"


def hardware():
    """Processor, number of usable cores, memory in GiB, accelerators, and the names of the NVIDIA GPUs among them."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    memory = None
    with contextlib.suppress(ValueError, OSError, AttributeError):
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    devices = keras.distribution.list_devices()
    accelerators = [device for device in devices if not device.lower().startswith("cpu")]
    found = {"processor": model, "cores": cores, "memory_gib": memory, "accelerators": accelerators}
    return found | ({"gpus": _gpus()} if accelerators else {})


def described():
    """The machine in a line, for people."""
    found = hardware()
    accelerators = found.get("gpus") or found["accelerators"]
    memory = f", {found['memory_gib']} GiB of memory" if found["memory_gib"] else ""
    return f"{found['processor']}, {found['cores']} cores{memory}, {', '.join(accelerators) or 'no accelerator'}"


def _gpus():
    """Names of the machine's NVIDIA GPUs, as `nvidia-smi` prints them."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def versions():
    """Versions of Python, the project, and the packages that the numbers depend on."""
    backend = keras.backend.backend()
    found = {"python": platform.python_version(), "colorize_lib": colorize_lib.__version__, "backend": backend}
    for package in ("keras", backend, "numpy", "pillow", "scikit-image"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def git_commit():
    """The library's commit, with "+" if files differ from it; None outside a checkout and a bundle."""
    root = Path(__file__).parents[2]
    if (root / "COMMIT").is_file():
        return (root / "COMMIT").read_text(encoding="utf-8").strip()

    def git(*arguments):
        return subprocess.run(
            ["git", "-C", root, *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
