"""Sabotage notebooks, one line at a time, and see whether their checks notice: the second half of `make mutants`.

Each of `SABOTAGE` gives results that look well and are wrong. The changed notebook is run by nbval as `make test` runs it, in a
copy of the checkout, and must fail: in a compared cell, or in the numbers of its run.

    python tests/sabotage.py polychromify unet      these notebooks, or what is wrong with them; without names, all; minutes each
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def swapped(rgb):
    """Code of pictures in which a and b are exchanged, of the code of pictures."""
    return f"np.asarray(color.lab_to_rgb(np.asarray(color.rgb_to_lab({rgb}))[..., [0, 2, 1]]))"


# Notebook, what is wrong, a piece of its code that is there once, and what stands there instead.
SABOTAGE = [
    ("polychromify", "evaluation on training images", 'test = dataset["test"]', 'test = dataset["train"]'),
    ("polychromify", "baselines of the test images", "evaluate.constants(train)", "evaluate.constants(test)"),
    ("polychromify", "the ensemble joined in the wrong order", "*halves.values())", "*reversed(halves.values()))"),
    ("polychromify", "the best epoch by the test images", "Batches(validation, 250)", "Batches(test, 250)"),
    ("polychromify", "trained at another rate", "Adam(params.learning_rate)\n", "Adam(0.5 * params.learning_rate)\n"),
    (
        "vacgan",
        "a and b swapped in a picture",
        "np.asarray(trained[name].predict_color(originals)[1])",
        swapped("trained[name].predict_color(originals)[1]"),
    ),
    (
        "unet",
        "a and b swapped in a picture",
        "np.asarray(system.predict_color(picked)[1])",
        swapped("system.predict_color(picked)[1]"),
    ),
    (
        "unet",
        "a claim turned around",
        '"learning rate", rate, 1e-3)',
        '"learning rate", 1e-3, rate)',
    ),
    ("resnet_mrf", "a claim turned around", "more_chroma(claim, annealed, flat)", "more_chroma(claim, flat, annealed)"),
    ("vacgan", "errors of another split", "splits[part], columns", 'splits["test"], columns'),
    ("your_own", "evaluation on training images", "evaluate.score(model, test)", "evaluate.score(model, train)"),
    ("autoencoders", "evaluation on training images", '[params.size]["test"]', '[params.size]["train"]'),
]


def fails(notebook, checkout, old=None, new=None):
    """Whether the checks of a notebook fail when `new` stands in place of `old`, or as it is, in a copy of the project."""
    path = checkout / "notebooks" / f"{notebook}.ipynb"
    content = json.loads((ROOT / "notebooks" / path.name).read_text(encoding="utf-8"))
    places = 0
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if old and cell["cell_type"] == "code" and old in source:
            places += source.count(old)
            cell["source"] = source.replace(old, new).splitlines(keepends=True)
    if old and places != 1:
        sys.exit(f"error: {old!r} is {places} times in {path.name}: correct SABOTAGE in {Path(__file__).name}.")
    path.write_text(json.dumps(content), encoding="utf-8")
    options = [
        "--nbval",
        "--nbval-current-env",
        "--nbval-cell-timeout=1200",
        "--nbval-sanitize-with",
        "tests/nbval.cfg",
    ]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, path.relative_to(checkout)]
    environment = {name: value for name, value in os.environ.items() if name != "COLORIZE_RUNS"}
    done = subprocess.run(
        command, cwd=checkout, env=environment | {"PYTHONPATH": str(checkout)}, capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FAILED") or "is expected" in line]
    print("\n".join(f"    {line[:160]}" for line in lines[:4]), flush=True)
    return done.returncode != 0


def main():
    asked = sys.argv[1:]
    survived = 0
    with tempfile.TemporaryDirectory() as scratch:
        checkout = Path(scratch) / "checkout"
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in listed.splitlines():
            if (ROOT / name).is_file():
                (checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, checkout / name)
        chosen = [row for row in SABOTAGE if not asked or {*row[:2]} & {*asked}]
        for notebook in dict.fromkeys(row[0] for row in chosen):
            if fails(notebook, checkout):
                sys.exit(f"error: the checks of {notebook} fail without any sabotage: mend them first.")
        for notebook, what, old, new in chosen:
            print(f"{notebook}: {what}", flush=True)
            noticed = fails(notebook, checkout, old, new)
            survived += not noticed
            print("  noticed" if noticed else "  survived", flush=True)
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
