"""`results/`: small files of real runs, and README's table made from them.

`results/PAPER/` holds a run's `metrics.json`, `manifest.json`, `paper_vs_here.csv`, `SYSTEM/history.csv` and `photos.png`.
The table in README stands between two comments and is never typed: `python -m colorize_lib results` writes it, a test compares.
"""

import shutil
from pathlib import Path

from colorize_lib import evaluate, files, runs
from colorize_lib.errors import InputError

ROOT = Path(__file__).parent.parent
BEGIN = "<!-- results: made by `make results` -->"
END = "<!-- end of results -->"


def collect(folder, target=ROOT / "results"):
    """Copy the small files of a finished run folder to `results/PAPER/`, replacing an earlier run's.

    Returns:
        The folder in `results/`.

    Raises:
        InputError: the folder holds no finished run.
    """
    folder = Path(folder)
    manifest = runs.read_manifest(folder / "manifest.json")
    if not manifest.get("finished") or not (folder / "metrics.json").exists():
        raise InputError(
            f"The run in {folder} is not finished: run `{manifest.get('command')}` again, it goes on where it was."
        )
    target = Path(target) / manifest["notebook"]
    shutil.rmtree(target, ignore_errors=True)
    names = ["manifest.json", "metrics.json", "paper_vs_here.csv"]
    chosen = [folder / name for name in names if (folder / name).exists()] + sorted(folder.glob("*/history.csv"))
    for path in [*chosen, folder / "figures" / "photos.png"]:
        if path.exists():
            place = target / ("photos.png" if path.suffix == ".png" else path.relative_to(folder))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
    return target


def _number(summary, metric, digits):
    found = summary.get(metric)
    if not found:
        return "–"
    return f"{found['mean']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def _paper_lines(paper):
    """README's lines of one paper: a sentence on the run and a table of its systems; empty without a run."""
    folder = ROOT / "results" / paper
    if not (folder / "metrics.json").exists():
        return []
    metrics, manifest = (runs.read_manifest(folder / name) for name in ("metrics.json", "manifest.json"))
    hardware, data = manifest["hardware"], next(iter(manifest["datasets"].values()))
    device = ", ".join(hardware["accelerators"]) or f"{hardware['processor']}, {hardware['cores']} cores"
    published = evaluate.published(paper).get("table2", {})
    lines = [
        f"**{evaluate.published(paper, 'title')}** ([{paper}](results/{paper})): {metrics['label']} run on {data['name']}, "
        f"{metrics['training_images']:,} training images, scored on {metrics['test_images']:,} test images "
        f"({metrics['gray_test_images']} of them without colour), {device}, seed {manifest['parameters']['seed']}, "
        "best epoch chosen on the validation split.",
        "",
        "| system | epochs | minutes | PSNR, paper | PSNR here, dB | SSIM, paper | SSIM here | ΔE2000 | colourfulness |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for system in [*published, *(name for name in metrics["systems"] if name not in published)]:
        row, summary = published.get(system, {}), metrics["systems"].get(system)
        parts = {"polychromify_ab": ("polychromify_a", "polychromify_b")}.get(system, (system,))
        epochs = [str(metrics["epochs"][part]) for part in parts if part in metrics["epochs"]]
        minutes = [metrics["minutes"][part] for part in parts if part in metrics["minutes"]]
        lines.append(
            f"| {system} | {' + '.join(epochs) or '–'} | {f'{sum(minutes):.0f}' if minutes else '–'} "
            f"| {row.get('psnr_rgb', '–')} | {_number(summary, 'psnr_rgb', 2) if summary else 'not run'} "
            f"| {row.get('ssim', '–')} | {_number(summary, 'ssim', 4) if summary else 'not run'} "
            f"| {_number(summary or {}, 'delta_e2000', 2)} | {_number(summary or {}, 'colorfulness', 1)} |"
        )
    return [*lines, ""]


def table():
    """The generated part of README, as text."""
    papers = ("autoencoders", "polychromify", "unet", "resnet-mrf", "vacgan")
    return "\n".join([BEGIN, "", *(line for paper in papers for line in _paper_lines(paper)), END])


def write_readme(path=ROOT / "README.md"):
    """Write the table into README. Raises InputError if README has lost the two comments."""
    text = Path(path).read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{path} has no place for the table: it needs the lines {BEGIN} and {END}.")
    files.write_text(path, before + table() + after)
