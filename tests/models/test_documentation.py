"""What the docstrings of the networks state: shapes, ranges, places in the papers, and numbers of parameters."""

import inspect
import re

import keras
import pytest

from colorize_lib import models

RESNET50 = 23_587_712  # without its classifier
# Name, options, and the number of parameters at width 1 and the paper's size.
COUNTS = [
    ("autoencoder", {}, 6_219_410),
    ("resnet50_autoencoder", {"weights": None}, RESNET50 + 292_026),
    ("vgg16_features", {"weights": None}, 14_714_688),
    ("vgg16_decoder", {}, 1_572_114),
    ("pix2pix_unet", {}, 10_467_779),
    ("dropout_autoencoder", {}, 3_431_811),
    ("cnn", {}, 93_826),
    ("polychromify", {}, 1_084_802),
    ("polychromify_overfit", {}, 1_084_802),
    ("polychromify_a", {}, 1_084_737),
    ("polychromify_b", {}, 1_084_737),
    ("polychromify_v1", {}, 365_666),
    ("polychromify_v2", {}, 1_124_034),
    ("polychromify_v3", {}, 365_666),
    ("polychromify_v4", {}, 366_690),
    ("polychromify_v5", {}, 366_690),
    ("polychromify_v6", {}, 366_690),
    ("yosemite_unet", {}, 16_448_835),
    ("yosemite_unet", {"target": "ab"}, 16_447_682),
    ("resnet18_gray", {}, 11_367_085),
    ("colornet", {}, 956_834),
    ("colornet", {"fusion": True}, 11_540_514),
    ("colornet_distribution", {}, 958_137),
    ("colornet_distribution", {"fusion": True}, 11_541_817),
    ("kth_unet", {}, 16_659_586),
    ("kth_generator", {}, 16_659_586),
    ("patch_discriminator", {}, 2_764_737),
    ("patch_discriminator", {"reading": "report"}, 2_768_577),
    ("vac_classifier", {}, 1_748_682),
    ("eccv16", {}, 32_241_003),
    ("siggraph17", {}, 34_056_834),
    ("siggraph17", {"classes": True}, 34_192_787),
    ("natural", {}, 6_343_797),
]

# The papers' own sizes, in pixels each way; all the others are Polychromify's, whose images have 64.
SIZES = {
    "autoencoder": 256,
    "resnet50_autoencoder": 300,
    "vgg16_features": 224,
    "vgg16_decoder": 224,
    "pix2pix_unet": 256,
}
SIZES |= {"dropout_autoencoder": 32, "yosemite_unet": 256, "eccv16": 256, "siggraph17": 256}
SIZES |= dict.fromkeys(["resnet18_gray", "colornet", "colornet_distribution"], 224)
SIZES |= dict.fromkeys(["kth_unet", "kth_generator", "patch_discriminator", "vac_classifier"], 32)


def documentation(name):
    return models.entry(name).builder.__doc__


@pytest.mark.long
@pytest.mark.parametrize(("name", "options", "count"), COUNTS)
def test_number_of_parameters(name, options, count):
    network = models.build(name, **options)
    assert network.count_params() == count
    assert f"{count:,}" in documentation(name)
    keras.backend.clear_session()


@pytest.mark.parametrize("name", models.names())
def test_a_network_sees_the_papers_images_unless_told_otherwise(name):
    assert inspect.signature(models.entry(name).builder).parameters["size"].default == SIZES.get(name, 64)


@pytest.mark.parametrize("name", models.names())
def test_no_other_number_is_stated(name):
    stated = re.findall(r"\d{1,3}(?:,\d{3})+", documentation(name))
    assert stated
    assert {int(number.replace(",", "")) for number in stated} <= {RESNET50, *(c for n, _, c in COUNTS if n == name)}


@pytest.mark.parametrize("name", models.names())
def test_shapes_arguments_errors_and_the_place_in_the_paper(name):
    text = documentation(name)
    like = re.search(r"(are those of|: `)\s*`?(\w+)`", text)
    whole = text + documentation(like[2]) if like else text
    assert re.search(r"\(size[^→]*→", whole), "no shapes"
    assert "Raises:\n        InputError: impossible" in whole
    for option in models.option_names(name):
        assert re.search(rf"\b{option}\b.*:", whole), f"no word on {option}"
    if name != "natural":
        assert re.search(r'section \d|Table \d|Fig\. \d|report, "|"CNN\+MRF Model"', text.partition("\n")[0]), (
            "no place in the paper"
        )
