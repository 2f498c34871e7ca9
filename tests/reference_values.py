"""Every number of a quick run, held against `tests/reference/quick/NOTEBOOK.toml`.

nbval does not compare the outputs of cells that train: their digits differ between processors. So the run folder that a notebook
leaves is compared instead, number by number, each with a tolerance of its own: `notebooks/conftest.py` does it after the last cell.

    datasets/…       counts, and the fingerprints of images and labels                            equal
    trained/SYSTEM   the images that it was trained and validated on, and their order, optimizer, loss, number of parameters
                                                                                                  equal
                     the loss of its first batch, before anything is learned                      0.03 %
    systems/…, all_images/…   of the constant predictions                                         all digits that tables show
                     of trained networks, and everything else that is measured                    `TOLERANCES`
    pictures/…       the size of a picture                                                        equal
                     mean a and b of the quarters of its width                                    `TOLERANCES`

`your_own` keeps no run, only its table: that is compared.

Left out are times, and what the processor may decide: which of two nearly equal epochs or settings is the better one,
where curves cross, and which pictures are the best and the worst.

    python tests/reference_values.py unet FOLDER …

writes the file of a notebook from its run folder. Of several, from other processors or numbers of threads, the first gives the
numbers, and no tolerance is less than twice the largest deviation of the others. Of a single one, trained numbers have twice the
tolerance.
"""

import hashlib
import json
import math
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from colorize_lib import files, papers
from colorize_lib.color import rgb_to_lab
from colorize_lib.evaluation import evaluate
from colorize_lib.evaluation.scores import QUANTITIES
from colorize_lib.reproduction import notebook as headless

FOLDER = Path(__file__).parent / "reference" / "quick"
TABLE = "scores.csv"  # of `your_own`
NO_NUMBERS = re.compile(
    r"^(format|minutes|speed|best_epoch|other_epoch|curves|chosen/split)\b|seconds|faster|best_and_worst/quarters"
    r"|^validation_accuracy/.*/(here|epoch)$"
)
# The comparison trains for equal times too, and scores the best epochs: of it counts what no machine changes.
STEADY = re.compile(
    r"^(label|keep|test_images|datasets/|(systems|all_images)/(gray \(|mean |median )|trained/(?!.*(_time|/first_loss)))"
)
JUDGED = re.compile("detector_[^/]*/first|told_apart|recogni[sz]ed")  # by a network that is trained here
CONSTANTS = (evaluate.GRAY, evaluate.MEAN, evaluate.MEDIAN)
# (absolute, share of the value) by which a number of a trained network may be off, whichever is more, by the first pattern that its
# name matches. They are two to three times what one thread without AVX-512 changed in Polychromify's quick run: 0.13 dB, 0.0012 of
# SSIM, 0.4 of ΔE2000, 17 % of chroma, 4.5 % of a validation loss, 0.4 of the mean a and b of a picture, 0.01 % of a first loss.
# The quick runs train in float32 on every processor, so that bfloat16 changes nothing.
TOLERANCES = {
    r"^trained/(detector.*|colornet(_slow|_fusion|_fusion_slow|_distribution)?)/first_loss": (
        0.05,
        0.05,
    ),  # after others
    r"/first_loss": (0.0, 3e-4),
    r"/(paper|no network)$": (0.0, 1e-4),  # printed, or computed without training
    r"^pictures/": (0.8, 0.0),
    r"detector|told_apart|recogni[sz]ed": (0.1, 1.0),
    r"psnr": (0.4, 0.0),
    r"ssim": (0.015, 0.0),
    r"/(mae_ab|delta_e2000)/": (1.0, 0.0),
    r"mae_lightness": (0.02, 0.2),
    r"predicted_[ab]": (1.5, 0.2),
    r"accuracy": (0.06, 0.0),
    r"chroma|colorfulness|variation|within_regions": (0.5, 0.3),
    r"saturated_sigmoids": (0.1, 0.0),
    r"^claims/": (0.03, 0.5),  # a sign that is turned changes a difference by twice its size
    r"": (0.0, 0.15),
}
GAN_FACTOR = 3  # its two networks chase each other: what differs in the beginning grows


def collect(folder):
    """{name: value} of a run folder; parts of a name are joined by slashes."""
    folder, found = Path(folder), {}
    if (folder / TABLE).exists():
        return _of_table(folder / TABLE)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    _flatten(json.loads((folder / "metrics.json").read_text(encoding="utf-8")), "", found)
    _flatten(manifest["datasets"], "datasets", found)
    _flatten(manifest["networks"], "trained", found)
    for path in sorted(folder.glob("*/training.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        system = f"trained/{path.parent.name}"
        for part in ("training data", "validation data"):
            kept = {name: value for name, value in record[part].items() if name != "transform"}
            if path.parent.name.startswith("detector"):  # it learns from pictures that other networks made
                del kept["fingerprint"]
            _flatten(kept, f"{system}/{part}", found)
        parts = [record[part] for part in ("optimizer", "loss", "settings", "monitor")]
        found[f"{system}/how"] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    for path in sorted(folder.glob("figures/*.jpg")):
        with Image.open(path) as image:
            quarters = np.array_split(np.asarray(rgb_to_lab(np.asarray(image))), 4, axis=1)
        colours = [dict(zip("ab", part[..., 1:].mean((0, 1)).tolist(), strict=True)) for part in quarters]
        _flatten({"size": list(image.size), "quarters": colours}, f"pictures/{path.stem}", found)
    if manifest["notebook"] == "comparison":
        found = {name: value for name, value in found.items() if STEADY.search(name) and not JUDGED.search(name)}
    return {name: value for name, value in found.items() if not NO_NUMBERS.search(name)}


def _of_table(path):
    """Numbers of a table of scores that was kept as CSV, as `collect` names them."""
    table = pd.read_csv(path, index_col="system")
    columns = {quantity.heading: column for column, quantity in QUANTITIES.items()}
    found = {}
    for heading, values in table.items():
        quantity, _, statistic = heading.rpartition(" ")
        for name, value in values.items():
            found[f"systems/{name}/{columns[quantity]}/{statistic}"] = float(value)
    return found


def _flatten(value, name, found):
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _flatten(item, f"{name}/{key}" if name else str(key), found)
    else:
        found[name] = "null" if value is None else value


def tolerance(name, value, unit=""):
    """How far a measured number may be off. `unit`: of a claim's difference, the heading of its quantity."""
    parts = name.split("/")
    if parts[0] in ("systems", "all_images") and parts[1] in CONSTANTS and not JUDGED.search(name):
        quantity = next((QUANTITIES[part] for part in parts if part in QUANTITIES), None)
        return 0.05 * 10.0**-quantity.digits if quantity else 1e-4 * abs(value)
    absolute, share = _limits(name)
    if unit:
        column = next((column for column, quantity in QUANTITIES.items() if quantity.heading == unit), None)
        absolute = _limits(f"/{column}/")[0] if column else absolute
    restless = GAN_FACTOR if re.search("gan\\b|GAN\\b", name) and not name.endswith("first_loss") else 1
    return restless * max(absolute, share * abs(value))


def _limits(name):
    return next(limits for pattern, limits in TOLERANCES.items() if re.search(pattern, name))


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
    """The folder of a notebook's quick run, or None for a notebook that trains nothing."""
    if Path(path).stem == "your_own":
        return files.run_root() / "your_own"
    keys = [key for key, notebook in papers.NOTEBOOKS.items() if notebook == Path(path).stem]
    return headless.plan(keys[0])[1] if keys else None


def write(notebook, folders):
    """Write the file of a notebook."""
    first, *others = map(collect, folders)
    lines = ["# Written by tests/reference_values.py, which says what is compared: `value`, or `[value, tolerance]`."]
    for name, value in first.items():
        if isinstance(value, float) and math.isfinite(value):
            seen = [abs(other[name] - value) for other in others if isinstance(other.get(name), float)]
            unit = first.get(name.rpartition("/")[0] + "/unit", "")
            limit = max([tolerance(name, value, unit), *(2 * off for off in seen)])
            is_trained = "first_loss" not in name and not any(constant in name for constant in CONSTANTS)
            limit *= 2 if is_trained and not others else 1
            value = [float(f"{value:.7g}"), float(f"{limit:.2g}")]
        lines.append(f"{json.dumps(name, ensure_ascii=False)} = {json.dumps(value, ensure_ascii=False)}")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{notebook}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2:])
