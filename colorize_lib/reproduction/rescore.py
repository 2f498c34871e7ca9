"""Score the networks of a run folder, or of a folder of `results/`, again: `python -m colorize_lib rescore results/polychromify`.

Networks are scored if their folders have weights and `network.json`; for the others, existing scores are used. Numbers, table and
pictures are the same as the paper's notebook makes from these weights.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import h5py

from colorize_lib import files
from colorize_lib.errors import InputError
from colorize_lib.evaluation import evaluate, plots, report
from colorize_lib.evaluation.claims import judge_all, table
from colorize_lib.evaluation.scores import FILE, Scores, histories, score_run
from colorize_lib.papers import published
from colorize_lib.training import machine, runs
from colorize_lib.training.colorizer import Colorizer, ensemble

# The papers' tables of test images in `papers.toml`.
_PUBLISHED = {"polychromify": "table2"}
LARGEST = 5_000_000  # bytes of a network's weights in results/
_COLUMNS = ("psnr_rgb", "ssim")
# Systems that join several networks.
PARTS = {"polychromify_ab": ("polychromify_a", "polychromify_b")}


def options(folder):
    """The dataset of the run in `folder`, its options for `data_prep.load`, and the run's manifest.

    Raises InputError if there is no run.
    """
    manifest = runs.read_manifest(Path(folder) / "manifest.json")
    parameters = manifest["parameters"]
    names = [name for name in manifest["datasets"] if name == parameters.get("dataset")] or list(manifest["datasets"])
    return names[0], {"size": parameters.get("size")}, manifest


def rescore(folder, dataset, build, photos=None, public=None, keep="last"):
    """Score the networks of a run again, and write its `metrics.json`, `paper_vs_here.csv`, scores, pictures and manifest.

    Args:
        folder: run folder, or folder of `results/`.
        dataset: the `Dataset` that the networks were trained on.
        build: function from a system's folder to its `Colorizer`, without weights.
        photos: `Split` of photographs to colorize, or None.
        public: {name: `Colorizer`} of public networks, scored in the same way as in the paper.
        keep: "last" or "best", the epoch that tables show.

    Returns:
        `Scores`, and the table of the paper's numbers next to ours.

    Raises:
        InputError: there is no run or nothing to score, or the dataset is another one.
    """
    folder = Path(folder)
    _, _, manifest = options(folder)
    _check_data(manifest, dataset)
    paper, parameters = manifest["notebook"], manifest["parameters"]
    systems, parts = _systems(folder, paper, build)
    train = dataset["train"].limit(parameters.get("train_limit"), parameters["seed"])
    test = dataset["test"].limit(parameters.get("test_limit"), parameters["seed"])
    if systems:
        score_run(evaluate.constants(train) | systems, test, folder, keep, parts)
        score_run(public or {}, evaluate.truncated(test) if public else test, folder, keep)
    elif not list(folder.glob(f"*/{FILE}")):
        raise InputError(f"{folder} has neither weights nor scores: run `{manifest['command']}` again.")
    scores = Scores.read(folder, keep)
    for name, figure in _figures(folder, paper, systems, scores, test, photos).items():
        runs.save_figure(figure, folder, name)
    return scores, _write(folder, paper, manifest, scores, len(train))


def _figures(folder, paper, systems, scores, test, photos):
    """{name: figure}: the figures of the paper's notebook that these systems and data allow."""
    if not systems:
        return {}
    found, printed = {}, published(paper)
    first = next(iter(systems))
    found["best_and_worst"] = plots.best_and_worst(scores, first, systems[first], test)[0]
    chroma = {"truth": evaluate.score_truth(test)["chroma"]}
    chroma |= {name: scores.values(name, "chroma", coloured=False) for name in systems}
    found["chroma"] = plots.distributions(chroma, "mean chroma of an image, Lab units")
    rows = printed.get("fig5_rows", ())
    if rows and max(rows) < len(test):
        found["fig5_side_by_side"] = report.side_by_side(systems, test, rows)
    curves = {name: rows for name, rows in histories(folder).items() if name in printed.get("fig4", ())}
    if curves:
        found["fig4_code"] = plots.learning_curves(curves, "psnr_ab", "PSNR of ab / 128, dB", best=True)
    if photos is not None:
        found["photos"] = report.photographs(systems, photos)[0]
    return found


def _check_data(manifest, dataset):
    fingerprints = {found["fingerprint"] for found in manifest["datasets"].values()}
    if dataset.fingerprint not in fingerprints:
        raise InputError(
            f"The run was trained on other data than the {dataset.manifest['name']} prepared here (fingerprint "
            f"{dataset.fingerprint[:12]}): prepare it with the same options."
        )


def _systems(folder, paper, build):
    """{name: `Colorizer`} of all networks with weights in the folder, and the parts of joined systems."""
    described = [path.parent for path in sorted(folder.glob("*/network.json"))]
    found = {place.name: build(place) for place in described if list(place.glob("*.weights.h5"))}
    parts = {}
    for joined, halves in PARTS.items():
        if set(halves) <= set(found):
            parts[joined] = {name: found[name].network for name in halves}
            found[joined] = Colorizer(ensemble(joined, *parts[joined].values()), paper)
    joined_ones = {name for halves in PARTS.values() for name in halves}
    return {name: system for name, system in found.items() if name not in joined_ones}, parts


def _write(folder, paper, manifest, scores, training_images):
    quick = manifest["parameters"]["profile"] == "quick"
    found = report.metrics(
        paper, folder, scores, label=manifest["label"], training_images=training_images, decides=not quick
    )
    rows = published(paper, _PUBLISHED[paper]) if paper in _PUBLISHED else {}
    compared = scores.paper_vs_here({**rows, **{name: {} for name in scores.tables if name not in rows}}, _COLUMNS)
    files.write_table(folder / "paper_vs_here.csv", compared)
    files.write_json(folder / "metrics.json", {"format": runs.FORMAT, **found})
    now = datetime.now(UTC).isoformat(timespec="seconds")
    epochs = {name: epoch for name, epoch in scores.epochs.items() if name in found["epochs"]}
    scored = {
        name: {"keep": scores.keep, "epoch": int(epoch), "epochs": found["epochs"][name]}
        for name, epoch in epochs.items()
    }
    rescored = {"at": now, "git_commit": machine.git_commit(), "versions": machine.versions()}
    changed = {"finished": manifest["finished"] or now, "scored": scored, "rescored": rescored}
    files.write_json(folder / "manifest.json", manifest | changed)
    return compared


def halve_weights(source, target):
    """Write a `.weights.h5` with kernels in float16, about half the size. Keras reads it like any other."""

    def copy(name, item):
        if isinstance(item, h5py.Group):
            place = new.require_group(name)
        else:
            place = new.create_dataset(name, data=item[()].astype("float16") if item.ndim > 1 else item[()])
        place.attrs.update(item.attrs)

    with files.atomic(target) as path, h5py.File(source, "r") as old, h5py.File(path, "w") as new:
        new.attrs.update(old.attrs)
        old.visititems(copy)


def bundle_weights(folder, place, keep):
    """Copy the networks of a run to `results/` if they are small, so that they can be scored again.

    Weights of the shown epoch are written with kernels in float16. If they take more than `LARGEST` bytes, the manifest in `place`
    only gets their SHA-256 under `weights`.

    Args:
        folder: run folder, or a folder that was collected before.
        place: folder of `results/`, with a copy of the manifest.
        keep: "last" or "best".
    """
    manifest = files.read_json(place / "manifest.json", "manifest")
    elsewhere = manifest.get("weights", {})
    for path in sorted(folder.glob(f"*/{keep}.weights.h5")):
        system = path.parent.name
        target = place / system / path.name
        halve_weights(path, target)
        described = path.with_name("network.json")
        if target.stat().st_size <= LARGEST and described.exists():
            shutil.copyfile(described, target.with_name("network.json"))
        else:
            target.unlink()
            elsewhere[system] = {"file": f"{system}/{path.name}", "sha256": files.sha256(path)}
    if elsewhere:
        files.write_json(place / "manifest.json", manifest | {"weights": elsewhere})


def claims_table(folder, keep="last"):
    """The claims of a scored run's paper, with verdicts, as a table of text."""
    _, _, manifest = options(folder)
    return table(judge_all(manifest["notebook"], Scores.read(folder, keep), histories(folder)))
