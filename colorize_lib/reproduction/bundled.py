"""`run.py` of a bundle: installs the bundle without network, and reproduces a paper.

    python3.11 run.py vacgan PROFILE=paper EPOCHS=3

Results are in `runs/`; copy the run's folder back and `make collect RUNS=FOLDER` there. This needs neither make nor git.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main():
    if len(sys.argv) < 2:
        sys.exit(f"usage: {Path(sys.executable).name} {sys.argv[0]} PAPER [NAME=VALUE …], or all for every paper")
    wanted = next((HERE / "wheelhouse").glob("numpy-*")).name.split("-")[2]  # such as cp311
    if wanted != "cp{}{}".format(*sys.version_info):
        version = f"{wanted[2]}.{wanted[3:]}"
        sys.exit(f"error: the wheels are for Python {version}, this is {sys.version.split()[0]}: use python{version}.")
    python = HERE / ".venv" / "bin" / "python"
    if not (HERE / ".venv" / ".ready").exists():
        print("installing from wheelhouse/", flush=True)
        venv.create(HERE / ".venv", with_pip=True, clear=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-index"]
        listed = next(HERE / name for name in ("requirements.txt", "requirements-jax.txt") if _complete(HERE / name))
        subprocess.run([*pip, "--find-links", HERE / "wheelhouse", "-r", listed], check=True)
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-e", HERE], check=True)
        (HERE / ".venv" / ".ready").touch()
    environment = {"COLORIZE_DATA": str(HERE / "data"), "COLORIZE_RUNS": str(HERE / "runs")} | os.environ
    sys.exit(subprocess.run([python, "-m", "colorize_lib", "reproduce", *sys.argv[1:]], env=environment).returncode)


def _complete(requirements):
    """Whether the wheelhouse has TensorFlow if the requirements need it; a bundle without it is for JAX."""
    wanted = "tensorflow==" in requirements.read_text(encoding="utf-8")
    return not wanted or bool(list((HERE / "wheelhouse").glob("tensorflow-*.whl")))


if __name__ == "__main__":
    main()
