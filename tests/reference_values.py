"""Every number of a quick run, held against `tests/reference/quick/NOTEBOOK.toml`.

nbval does not compare the outputs of cells that train: their digits differ between processors. So the run folder that a notebook
leaves is compared instead, number by number, each with a tolerance of its own: `notebooks/conftest.py` does it after the last cell.

    datasets/…       counts, and the fingerprints of images and labels                            equal
    trained/SYSTEM   the images that it was trained and validated on, and their order, optimizer, loss, number of parameters
                                                                                                  equal
                     the loss of its first batch, before anything is learned                      four digits
    systems/…, all_images/…   of the constant predictions                                         all digits that tables show
                     of trained networks, and everything else that is measured                    `TOLERANCES`
    pictures/…       the size of a picture                                                        equal
                     mean a and b of the quarters of its width                                    `TOLERANCES`

Left out are times, and what the processor may decide: which of two nearly equal epochs is the better one (`best_epoch`,
`other_epoch`), and which pictures are the best and the worst.

    python tests/reference_values.py unet FOLDER …

writes the file of a notebook from its run folder. Of several, from other processors or numbers of threads, the first gives the
numbers, and no tolerance is less than twice the largest deviation of the others.
"""

import hashlib
import json
import math
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from colorize_lib import papers
from colorize_lib.color import rgb_to_lab
from colorize_lib.evaluation import evaluate
from colorize_lib.evaluation.scores import QUANTITIES
from colorize_lib.reproduction import notebook as headless

FOLDER = Path(__file__).parent / "reference" / "quick"
NO_NUMBERS = re.compile(r"^(format|minutes|speed|best_epoch|other_epoch)\b|seconds|faster|best_and_worst/quarters")
CONSTANTS = (evaluate.GRAY, evaluate.MEAN, evaluate.MEDIAN)
# Absolute tolerances of what was trained, in the unit of the quantity, by the first pattern that its name matches; of what matches
# none, `SHARE` of the value.
TOLERANCES = {
    # These trainings begin with another one's network or pictures.
    r"^trained/(detector.*|colornet(_slow|_fusion|_fusion_slow|_distribution)?)/first_loss": 0.05,
}
SHARE = 0.05


def collect(folder):
    """{name: value} of a run folder; parts of a name are joined by slashes."""
    folder, found = Path(folder), {}
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    _flatten(json.loads((folder / "metrics.json").read_text(encoding="utf-8")), "", found)
    _flatten(manifest["datasets"], "datasets", found)
    _flatten(manifest["networks"], "trained", found)
    for path in sorted(folder.glob("*/training.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        system = f"trained/{path.parent.name}"
        for part in ("training data", "validation data"):
            kept = {name: value for name, value in record[part].items() if name != "transform"}
            _flatten(kept, f"{system}/{part}", found)
        parts = [record[part] for part in ("optimizer", "loss", "settings", "monitor")]
        found[f"{system}/how"] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    for path in sorted(folder.glob("figures/*.jpg")):
        with Image.open(path) as image:
            quarters = np.array_split(np.asarray(rgb_to_lab(np.asarray(image))), 4, axis=1)
        colours = [dict(zip("ab", part[..., 1:].mean((0, 1)).tolist(), strict=True)) for part in quarters]
        _flatten({"size": list(image.size), "quarters": colours}, f"pictures/{path.stem}", found)
    return {name: value for name, value in found.items() if not NO_NUMBERS.search(name)}


def _flatten(value, name, found):
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _flatten(item, f"{name}/{key}" if name else str(key), found)
    else:
        found[name] = "null" if value is None else value


def tolerance(name, value):
    """How far a measured number may be off."""
    parts = name.split("/")
    if any(constant in parts for constant in CONSTANTS):
        quantity = next((QUANTITIES[part] for part in parts if part in QUANTITIES), None)
        return 0.05 * 10.0**-quantity.digits if quantity else 1e-4 * abs(value)
    found = next((limit for pattern, limit in TOLERANCES.items() if re.search(pattern, name)), None)
    if found is not None:
        return found
    return (1e-4 if name.endswith("first_loss") else SHARE) * abs(value)


def differences(notebook, folder):
    """Lines that say what differs between a run and the file of its notebook; none if all is well."""
    expected = tomllib.loads((FOLDER / f"{notebook}.toml").read_text(encoding="utf-8"))
    found, lines = collect(folder), []
    for name in dict.fromkeys([*expected, *found]):
        if name not in expected or name not in found:
            lines.append(f"{name}: {'not expected' if name in found else 'missing'}")
            continue
        wanted, value = expected[name], found[name]
        if isinstance(wanted, list):
            if not isinstance(value, float) or not abs(value - wanted[0]) <= wanted[1]:
                lines.append(f"{name}: {value}, and {wanted[0]} ± {wanted[1]} is expected")
        elif value != wanted:
            lines.append(f"{name}: {value!r}, and {wanted!r} is expected")
    return lines


def of_notebook(path):
    """The folder of a notebook's quick run, or None for a notebook that has no run."""
    keys = [key for key in papers.KEYS if papers.published(key, "notebook") == Path(path).stem]
    return headless.plan(keys[0])[1] if keys else None


def write(notebook, folders):
    """Write the file of a notebook."""
    first, *others = map(collect, folders)
    lines = ["# Written by tests/reference_values.py, which says what is compared: `value`, or `[value, tolerance]`."]
    for name, value in first.items():
        if isinstance(value, float) and math.isfinite(value):
            seen = [abs(other[name] - value) for other in others if isinstance(other.get(name), float)]
            value = [float(f"{value:.7g}"), float(f"{max([tolerance(name, value), *(2 * off for off in seen)]):.2g}")]
        lines.append(f"{json.dumps(name, ensure_ascii=False)} = {json.dumps(value, ensure_ascii=False)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{notebook}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2:])
