"""`papers.toml`: every paper once, and everything that CONTRIBUTING asks for when one is added."""

import re
import subprocess
from pathlib import Path

import pytest

from colorize_lib import color, models, papers
from colorize_lib.evaluation import claims, scores
from colorize_lib.reproduction import results
from data_prep import registry

ROOT = Path(__file__).parent.parent


def test_the_papers_with_a_notebook():
    assert papers.KEYS == ("autoencoders", "polychromify", "unet", "resnet-mrf", "vacgan")
    assert papers.published("polychromify", "table2", "polychromify_ab", "psnr_rgb") == 22.444


@pytest.mark.parametrize("key", [*papers.KEYS, "zhang"])
def test_every_network_belongs_to_the_paper_whose_module_it_is_in(key):
    names = models.names(key)
    assert names
    for name in names:
        module = papers.published(key, "networks")
        assert models.entry(name).builder.__module__ == f"colorize_lib.models.{module}"
        assert models.entry(name).convention in color.CONVENTIONS


def test_no_network_is_of_an_unknown_paper():
    assert {models.entry(name).paper for name in models.names()} == {*papers.KEYS, "zhang", None}  # natural is of none


@pytest.mark.parametrize("key", papers.KEYS)
def test_what_a_paper_needs_is_there(key):
    paper = papers.published(key)
    assert paper["title"]
    assert paper["claim"].endswith(".")
    assert (ROOT / "notebooks" / f"{paper['notebook']}.ipynb").exists()
    assert paper["dataset"] in registry.DATASETS
    assert paper["dataset"] in papers.DATASETS
    assert paper["tables"]
    for link in (paper.get("link"), paper.get("code")):
        assert link is None or re.fullmatch(r"https://[\w./-]+", link)


def test_published_numbers_are_numbers():
    def leaves(value):
        if isinstance(value, dict):
            return [leaf for item in value.values() for leaf in leaves(item)]
        return [leaf for item in value for leaf in leaves(item)] if isinstance(value, list) else [value]

    for key in papers.KEYS:
        assert all(isinstance(leaf, int | float | str) for leaf in leaves(papers.published(key)))


def test_contributing_names_at_most_six_places_that_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\d+\. .*(?:\n   .*)*", text.partition("## How to add a paper")[2].partition("\n## ")[0], re.M)
    assert 1 <= len(steps) <= 6
    for step in steps:
        path = re.search(r"`([^`]+)`", step)[1]
        assert list(ROOT.glob(path.replace("PAPER", "*"))), path


def test_make_help_lists_the_papers():
    out = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"Papers: {' '.join(papers.KEYS)}" in out


_INTERNAL = re.compile(
    r"\bpapers? 00[0-9]\b|\bpaper=\"00|^#+ *00[0-4]\b|\bissue [0-9]+\b|\b(facts|pitfalls|design|style)\.md\b"
)


def test_no_internal_number_of_a_document_is_shown():
    """Papers are called by their keys or authors, everywhere."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    found = []
    for name in listed:
        path = ROOT / name
        if path.suffix in (".py", ".ipynb", ".md", ".toml", ".json", ".js", ".html", ".cfg") and path.is_file():
            text = path.read_text(encoding="utf-8")
            found += [f"{name}: {match[0]}" for match in _INTERNAL.finditer(text) if name != "tests/test_papers.py"]
    assert not found


# The papers' numbers a second time, typed from the papers: whoever changes one in `papers.toml` by mistake is told.
NUMBERS = {
    "autoencoders": {
        "year": 2020,
        "epochs": {
            "autoencoder": 150,
            "resnet50_autoencoder": 50,
            "resnet50_autoencoder_frozen": 50,
            "vgg16_decoder": 1000,
        },
        "train_share": 0.85,
        "autoencoder_images": 2500,
        "all_images": 63000,
        "resnet50_images": 500,
        "accuracy": {"autoencoder": 0.6, "vgg16_decoder": 0.5},
        "epochs_until": {"autoencoder_flattens": 120, "vgg16_train_meets_test": 100},
    },
    "polychromify": {
        "year": 2021,
        "fig5_rows": [9300, 9293, 9863, 3017, 7747, 1228],
        "fig5_files": ["test_9369", "test_9362", "test_9876", "test_3713", "test_7971", "test_2102"],
        "epochs": {
            "cnn": 25,
            "polychromify": 25,
            "polychromify_a": 30,
            "polychromify_b": 30,
            "polychromify_overfit": 50,
            **{f"polychromify_v{number}": 25 for number in (1, 2, 3, 4, 6)},
            "polychromify_v5": 50,
        },
        "fig4": {
            "polychromify_overfit": {"psnr_ab": 19.6, "best": 20.76},
            "polychromify": {"psnr_ab": 20.8},
            "polychromify_v5": {"psnr_ab": 19.6, "best": 20.76},
            "polychromify_v6": {"psnr_ab": 20.8},
        },
        "table1": {
            f"polychromify_v{number}": {"psnr_ab": psnr, "minutes": minutes}
            for number, psnr, minutes in (
                (1, 20.56, 350),
                (2, 20.18, 375),
                (3, 20.55, 45),
                (4, 20.62, 42),
                (5, 19.54, 85),
                (6, 20.66, 42),
            )
        },
        "table2": {
            name: {"parameters": parameters, "psnr_rgb": psnr, "ssim": ssim}
            for name, parameters, psnr, ssim in (
                ("cnn", 1e5, 21.5735, 0.9061),
                ("polychromify", 1e6, 21.9590, 0.9056),
                ("polychromify_ab", 1e6, 22.4440, 0.9231),
                ("eccv16", 32e6, 22.1403, 0.9230),
                ("siggraph17", 35e6, 23.9000, 0.9334),
            )
        },
    },
    "unet": {
        "training_photos": 1231,
        "validation_photos": 309,
        "best": {"batch_size": 64, "learning_rate": 0.0001},
        "epochs": dict.fromkeys(["rgb, 8 filters", "rgb, 16 filters", "rgb, 32 filters", "ab, 16 filters"], 100),
        "figures": {
            "Figs. 4 and 5": {"split": 80, "learning_rate": 0.001, "batch_size": 64},
            "Fig. 6": {"split": 70, "learning_rate": 0.0001, "batch_size": 64},
            "Fig. 7": {"split": 90, "learning_rate": 0.0001, "batch_size": 64},
        },
    },
    "resnet-mrf": {
        "year": 2022,
        "epochs": dict.fromkeys(
            [
                *("colornet", "colornet_scratch", "colornet_fusion", "colornet_slow"),
                *("colornet_scratch_slow", "colornet_fusion_slow", "colornet_distribution"),
            ],
            100,
        ),
    },
    "vacgan": {
        "year": 2019,
        "epochs": dict.fromkeys(["unet_mae", "unet_mse", "gan", "vac_gan"], 200),
        "samples": 4992,
        "table1": {
            "unet_mae": {"train_mae": 0.0239, "validation_mae": 0.0691, "test_mae": 0.0677, "turing": 0.6030},
            "gan": {"train_mae": 0.0288, "validation_mae": 0.0672, "test_mae": 0.0675, "turing": 0.4743},
            "vac_gan": {"train_mae": 0.0371, "validation_mae": 0.0666, "test_mae": 0.0668, "turing": 0.4026},
        },
    },
}
# (paper, better, worse, quantity, epochs of the two where they differ, factor)
CLAIMS = [
    ("autoencoders", "autoencoder", "pix2pix_unet", "delta_e2000", (), 1),
    ("autoencoders", "autoencoder", "resnet50_autoencoder", "delta_e2000", (150, 50), 1),
    ("autoencoders", "autoencoder", "vgg16_decoder", "delta_e2000", (150, 1000), 1),
    ("autoencoders", "autoencoder", "dropout_autoencoder", "delta_e2000", (150, 500), 1),
    ("autoencoders", "dropout_autoencoder", "dropout_autoencoder_rate0", "delta_e2000", (), 1),
    ("autoencoders", "resnet50_autoencoder_frozen", "resnet50_autoencoder", "seconds", (), 1),
    ("polychromify", "polychromify_v3", "polychromify_v1", "psnr_ab", (), 1),
    ("polychromify", "polychromify_v3", "polychromify_v1", "seconds", (), 7.7),
    ("polychromify", "polychromify_v1", "polychromify_v2", "psnr_ab", (), 1),
    ("polychromify", "polychromify_v4", "polychromify_v3", "psnr_ab", (), 1),
    ("polychromify", "polychromify_v6", "polychromify_v4", "psnr_ab", (), 1),
    ("polychromify", "polychromify_v4", "polychromify_v5", "psnr_ab", (25, 50), 1),
    ("polychromify", "polychromify", "cnn", "psnr_rgb", (), 1),
    ("polychromify", "polychromify_ab", "polychromify", "psnr_rgb", (30, 25), 1),
    ("polychromify", "polychromify_ab", "eccv16", "psnr_rgb", (), 1),
    ("polychromify", "polychromify_ab", "polychromify", "ssim", (30, 25), 1),
    ("polychromify", "eccv16", "polychromify", "psnr_rgb", (), 1),
    ("polychromify", "siggraph17", "polychromify", "psnr_rgb", (), 1),
    ("resnet-mrf", "colornet_slow", "colornet_scratch_slow", "mse_ab", (), 1),
    ("resnet-mrf", "colornet_fusion_slow", "colornet_slow", "mse_ab", (), 1),
    ("resnet-mrf", "colornet_slow", "colornet", "mse_ab", (), 1),
    ("vacgan", "unet_mae", "unet_mse", "chroma_gradient", (), 1),
    ("vacgan", "unet_mae", "unet_mse", "chroma_detail", (), 1),
    ("vacgan", "gan", "unet_mae", "mae_ab", (), 1),
    ("vacgan", "vac_gan", "unet_mae", "mae_ab", (), 1),
    ("vacgan", "vac_gan", "gan", "mae_ab", (), 1),
]


@pytest.mark.parametrize("key", papers.KEYS)
def test_the_published_numbers_are_those_of_the_paper(key):
    """Nothing numeric in a paper's part is without its second copy."""
    told = {"claims", "hypothesis", "picture"}  # checked below, and the layout of our results
    found = {name: value for name, value in papers.published(key).items() if name not in told and _has_numbers(value)}
    assert found == NUMBERS[key]


def _has_numbers(value):
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return any(map(_has_numbers, items))
    is_name = isinstance(value, str) and re.fullmatch(r"test_\d+", value)
    return bool(is_name) or (isinstance(value, int | float) and not isinstance(value, bool))


def test_the_claims_favour_whom_the_papers_favour():
    found = [
        (key, claim.better, claim.worse, claim.column, claim.epochs, claim.times)
        for key in papers.KEYS
        for claim in claims.of_paper(key)
    ]
    assert found == CLAIMS
    hypothesis = papers.published("polychromify", "hypothesis")
    numbers = [hypothesis[name] for name in ("system", "epoch", "column", "number")]
    assert numbers == [
        "polychromify_overfit",
        "50",
        "psnr_rgb",
        NUMBERS["polychromify"]["table2"]["polychromify"]["psnr_rgb"],
    ]


def test_every_quantity_has_the_direction_that_is_better():
    signs = {"psnr_rgb": 1, "ssim": 1, "psnr_ab": 1, "mae_ab": -1, "mse_ab": -1, "delta_e2000": -1, "mae_lightness": -1}
    for name, quantity in scores.QUANTITIES.items():
        assert quantity.sign == signs.get(name, 0), name
        assert ("↑" in quantity.heading, "↓" in quantity.heading) == (quantity.sign > 0, quantity.sign < 0)
    more = {
        "minutes": 0,
        "learning_rate": 0,
        "larger_channel": 1,
        "hue_distance": -1,
        "recognised": 1,
        "told_apart": -1,
    }
    more |= dict.fromkeys(["train_mae", "validation_mae", "test_mae"], -1)
    assert {name: metric.sign for name, metric in results.METRICS.items() if name not in scores.QUANTITIES} == more
