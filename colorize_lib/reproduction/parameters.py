"""Parameters and profiles of the notebooks: known names, types and ranges, checked before any work starts.

A notebook's parameters cell holds overrides, in capitals, and ends with the profiles; the cell after it resolves them. The command
line gives the same names, which papermill assigns in a cell between the two:

    EPOCHS = None
    PROFILES = parameters.profiles(quick=dict(epochs=2), paper=dict(epochs=25))

    params = parameters.read(PROFILES, globals())

Only names that one of the first two cells assigns are checked: any other name in the notebook is the user's own. This module
imports nothing heavy, so that a mistyped name is refused at once.
"""

import ast
import hashlib
import json
import linecache
import math
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from colorize_lib.errors import InputError, near_match


@dataclass(frozen=True)
class Known:
    """What is known of a parameter: its `type`, `low`est and `high`est value or its `choices`, and what it `means`.

    `many`: it takes several numbers, as text with commas between them; `path`: it names a file or folder, or is one of `choices`.
    """

    type: type
    means: str
    low: float | None = None
    high: float | None = None
    choices: tuple = ()
    many: bool = False
    path: bool = False


# Every parameter of every notebook; written in capitals in a parameters cell and on the command line.
KNOWN = {
    "profile": Known(str, "quick: bundled photos, minutes on a laptop; paper: the paper's data, sizes and epochs"),
    "systems": Known(str, "which networks: names with commas between them, or all"),
    "run": Known(str, "name of the run folder, instead of one made from the parameters"),
    "seed": Known(int, "random seed of initial weights, dropout, order of images, and drawn subsets", 0, 2**31 - 1),
    "dataset": Known(str, "name of a dataset of data_prep, or path of a folder of photographs"),
    "size": Known(int, "side of the network's input in pixels", 8, 4096),
    "epochs": Known(int, "epochs of every system, instead of each system's own", 1, 100_000),
    "batch_size": Known(int, "images per training step", 1, 65_536),
    "learning_rate": Known(float, "of the optimizer", 1e-9, 10.0),
    "moderate_learning_rate": Known(
        float, "of networks that were not released, and of slow versions of the others", 1e-9, 10.0
    ),
    "judge_learning_rate": Known(float, "of the networks that judge colorized images", 1e-9, 10.0),
    "train_limit": Known(int, "use only so many training images", 1),
    "test_limit": Known(int, "use only so many test images", 1),
    "width": Known(float, "factor on the number of filters of every network", 0.01, 16.0),
    "dtype": Known(str, "precision of training", choices=("auto", "float32", "mixed_bfloat16")),
    "domain": Known(str, "a: summer photographs of Yosemite; b: winter", choices=("a", "b")),
    "decoder": Known(str, "how the decoder doubles the resolution", choices=("upsample", "transpose")),
    "splits": Known(int, "per cent of the photographs to train on, the others validate", 1, 99, many=True),
    "learning_rates": Known(float, "of the optimizer", 1e-9, 10.0, many=True),
    "batch_sizes": Known(int, "images per training step", 1, 65_536, many=True),
    "widths": Known(float, "factors on the number of filters to compare", 0.01, 16.0, many=True),
    "seeds": Known(int, "how many random seeds, counted from SEED", 1, 1000),
    "gan_epochs": Known(int, "epochs of the networks with a discriminator, where they differ from EPOCHS", 1, 100_000),
    "gan_learning_rate": Known(float, "of the generator; discriminator and classifier have a tenth", 1e-9, 10.0),
    "split": Known(
        str, "naive: a random tenth validates; hue: every tenth in order of mean hue", choices=("naive", "hue")
    ),
    "drop_gray": Known(
        str,
        "training images to leave out; gray: the 562 without colour; code: 20 with hardly any, or red, as well",
        choices=("none", "gray", "code"),
    ),
    "batch_norm": Known(
        str, "frozen: never batch statistics, as the code; train: as the report", choices=("frozen", "train")
    ),
    "discriminator": Known(
        str,
        "code: two strides of 1, logits; report: strides of 2, batch normalization, a sigmoid",
        choices=("code", "report"),
    ),
    "generator_dropout": Known(float, "rate of the generator's dropout, its only noise", 0.0, 0.99),
    "generator_updates": Known(int, "how often the generator is trained on each batch", 1, 100),
    "shared_masks": Known(
        bool, "whether classifier, discriminator and the generator's first update share dropout masks; the code: False"
    ),
    "initializer": Known(str, "of the kernels", choices=("glorot_uniform", "glorot_normal")),
    "distance": Known(str, "of generated to true colours: L1 or L2", choices=("l1", "l2")),
    "distance_weight": Known(float, "of the distance to the true colours in the generator's loss", 0.0, 1e6),
    "classifier_weight": Known(float, "of the classifier's loss in the generator's", 0.0, 1e6),
    "label_smoothing": Known(float, "true images have the label 1 less this in the discriminator's loss", 0.0, 0.5),
    "keep": Known(
        str, "which epoch's weights are scored: the best by validation, or the last", choices=("best", "last")
    ),
    "miscoloured": Known(float, "mean ΔE2000 from which on an image counts as mis-coloured", 1.0, 100.0),
    "samples": Known(int, "images of each split that the table's errors are computed on", 1),
    "judge_epochs": Known(int, "epochs of the networks that judge colorized images", 1, 10_000),
    "judge_width": Known(float, "factor on the filters of the networks that judge", 0.01, 16.0),
    "labels": Known(str, "dataset whose class labels the classifier of gray images learns"),
    "label_limit": Known(int, "use only so many labelled images", 1),
    "strength": Known(float, "of the random field: what neighbours pay for different colours, in nats", 0.0, 1e4),
    "devices": Known(int, "how many devices share each batch", 1, 1024),
    "photos": Known(str, "folder of your own photographs to colorize", path=True),
    "epoch_share": Known(float, "share of each system's own epochs, at least 2 of them", 1e-4, 10.0),
    "autoencoder_images": Known(int, "training images of the plain autoencoder", 1),
    "coco_part": Known(str, "which photographs of COCO", choices=("val2017", "train2017", "both")),
    "input_scale": Known(int, "what L in [0, 1] is multiplied by for ResNet50 and VGG16", choices=(1, 255)),
    "resnet50_images": Known(int, "training images of the networks with ResNet50", 1),
    "scenes": Known(str, "name or path of a folder of natural scenes, to be mixed with the dataset in equal parts"),
    "stages": Known(str, "sizes in pixels and the epochs at each, such as 64x6,96x1"),
    "epoch_images": Known(int, "training images of an epoch", 1),
    "validation_images": Known(int, "images of each dataset that choose the epoch", 1),
    "lam": Known(
        float, "share of the uniform distribution in the weights of the colours; 1: all weigh the same", 1e-6, 1.0
    ),
    "dropout": Known(float, "rate of the second autoencoder's dropout layer", 0.01, 0.99),
    "backbone_weights": Known(
        str,
        "of ResNet50 and VGG16: imagenet, random, or a folder with Keras' files of them",
        choices=("imagenet", "random"),
        path=True,
    ),
}

# These choose what is shown or scored, or where, not how a network is trained: changing them keeps the run folder's key.
_NOT_IN_KEY = ("profile", "systems", "run", "devices", "photos", "keep")
# What every notebook takes, with its value where the profile has none.
_COMMON = {"run": None, "systems": None, "seed": 0, "devices": None, "keep": "best"}


class Parameters(SimpleNamespace):
    """The resolved parameters as attributes, `profile` and `label` among them.

    `label` is "paper" for the whole paper profile, "quick (budgeted)" for the whole quick one, and "budgeted" as soon as a
    parameter that changes the training differs from the profile's.
    """

    def key(self):
        """Name of the run folder: given by `run`, or the label and a hash of the parameters."""
        if self.run:
            return self.run
        text = json.dumps(self.trained(), sort_keys=True)
        return f"{self.profile}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def trained(self):
        """The parameters that decide how networks are trained, and on what they are scored."""
        return {name: value for name, value in vars(self).items() if name not in (*_NOT_IN_KEY, "label")}

    def command(self, notebook):
        """The line for a shell that repeats a run of `notebook` with these parameters, in a run folder named by them."""
        named = {
            name: value for name, value in vars(self).items() if name not in ("label", "run") and value is not None
        }
        return shlex.join(
            ["make", f"reproduce-{notebook}", *(f"{name.upper()}={value}" for name, value in named.items())]
        )

    def numbers(self, name):
        """The values of a parameter that takes several: "70,80,90" → [70, 80, 90], each once."""
        return _numbers(name, getattr(self, name))

    def chosen(self, systems, default):
        """The systems to run, in the order of `systems`: those named by `systems=`, or `default` if it is None.

        Raises InputError for a name that is not among them.
        """
        if self.systems is None:
            return list(default)
        if self.systems == "all":
            return list(systems)
        asked = [name.strip() for name in self.systems.split(",") if name.strip()]
        for name in asked:
            if name not in systems:
                raise InputError(
                    f"There is no system {name!r}{near_match(name, systems)}: SYSTEMS takes {', '.join(systems)}, or all."
                )
        return [name for name in systems if name in asked]


class Profiles(dict):
    """Values by profile and name. `before`: the names of the notebook when its parameters cell ended, until `read` used them."""

    before = None


def profiles(**values):
    """The profiles of a notebook; its parameters cell ends with this call.

    Args:
        **values: profile to {name: value}, with lower-case names, the same in each profile.

    Returns:
        `Profiles`.

    Raises:
        InputError: the cell assigns a name that is no parameter, with the nearest and all known ones.
    """
    caller, result = sys._getframe(1), Profiles(values)
    _refuse_unknown(_assigned(caller), values)
    result.before = set(caller.f_globals)
    return result


def read(profiles, namespace):
    """The parameters of a notebook, from its names: `resolve` with those in capitals that the profiles know.

    Args:
        profiles: what `profiles` returned in the parameters cell.
        namespace: the notebook's `globals()`.

    Raises:
        InputError: a wrong value; a name that was assigned since the parameters cell, which papermill does, and is no parameter.
    """
    if profiles.before is not None:
        _refuse_unknown([name for name in namespace if name not in profiles.before], profiles)
        profiles.before = None  # names that come later are the user's own
    known = [name.upper() for name in _names(profiles)]
    return resolve(profiles, {name: namespace[name] for name in known if name in namespace})


def _names(profiles):
    return list(dict.fromkeys(["profile", *_COMMON, *(name for values in profiles.values() for name in values)]))


def _refuse_unknown(assigned, profiles):
    """Raise InputError for names in capitals that are no parameters, and for parameters that are not in capitals."""
    names = [name.upper() for name in _names(profiles)]
    for name in assigned:
        if name not in (*names, "PROFILES") and (name.isupper() or name.upper() in names):
            raise _unknown(name, names)


def _unknown(name, names):
    return InputError(
        f"There is no parameter {name}{near_match(name.upper(), names)}: this notebook takes {', '.join(names)}."
    )


def _assigned(frame):
    """Names that the notebook's cell which is executed in `frame` assigns; none outside a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None or frame.f_globals is not shell.user_global_ns:
        return []
    tree = ast.parse("".join(linecache.getlines(frame.f_code.co_filename)))
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def resolve(profiles, overrides):
    """Resolve parameters: the profile's values, then the overrides, each checked.

    Args:
        profiles: {"quick": {name: value}, "paper": {…}}, lower-case names, the same in each profile.
        overrides: upper-case names to values; None keeps the profile's value.

    Raises:
        InputError: an unknown name (with the nearest and all known ones), a value of a wrong type or out of range.
    """
    profile = overrides.get("PROFILE", "quick")
    if profile not in profiles:
        raise InputError(f"PROFILE is {profile!r}: it must be one of {', '.join(profiles)}.")
    values = {"profile": profile, **_COMMON, **profiles[profile]}
    for name in overrides:
        if name not in (names := [known.upper() for known in values]):
            raise _unknown(name, names)
    values |= {name.lower(): value for name, value in overrides.items() if value is not None}
    for name, value in values.items():
        if value is not None:
            values[name] = _check(name, value)
    free = (*_NOT_IN_KEY, "seed")
    own = {name: value if value is None else _check(name, value) for name, value in profiles[profile].items()}
    same = all(values[name] == value for name, value in own.items() if name not in free)
    label = {"paper": "paper", "quick": "quick (budgeted)"}[profile] if same else "budgeted"
    return Parameters(label=label, **values)


def _check(name, value):
    known = KNOWN[name]
    if known.many:
        return ",".join(map(str, _numbers(name, value)))
    return _check_one(name, value, known)


def _numbers(name, value):
    known = KNOWN[name]
    try:
        numbers = [known.type(part) for part in str(value).split(",")]
    except ValueError:
        raise InputError(
            f"{name.upper()} is {value!r}: it must be numbers with commas between them, each {_expected(known)} "
            f"({known.means})."
        ) from None
    return list(dict.fromkeys(_check_one(name, number, known) for number in numbers))


def _check_one(name, value, known):
    wrong = InputError(f"{name.upper()} is {value!r}: it must be {_expected(known)} ({known.means}).")
    if known.type is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, known.type) or (known.type is not bool and isinstance(value, bool)):
        raise wrong
    if known.choices and value not in known.choices and not known.path:
        raise wrong
    if isinstance(value, float) and not math.isfinite(value):
        raise wrong
    if (known.low is not None and value < known.low) or (known.high is not None and value > known.high):
        raise wrong
    if name == "run" and not (value and value[0].isalnum() and all(c.isalnum() or c in "._-" for c in value)):
        raise InputError(
            f"RUN is {value!r}: it must be a folder name of letters, digits, dots, dashes and underscores."
        )
    return value


def _expected(known):
    if known.choices:
        return "one of " + ", ".join(map(str, known.choices)) + (", or a path" if known.path else "")
    kind = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}[known.type]
    if known.low is not None and known.high is not None:
        return f"{kind} from {known.low:g} to {known.high:g}"
    return f"{kind} of at least {known.low:g}" if known.low is not None else kind


def parse(assignments):
    """["EPOCHS=3", …], as a command line gives them, to {"EPOCHS": 3}, each of its parameter's type.

    Raises InputError for what is not NAME=VALUE or not of the type; unknown names are left to `resolve`.
    """
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"{assignment!r} is not of the form NAME=VALUE, such as EPOCHS=3.")
        known = KNOWN.get(name.lower())
        values[name] = text
        if text == "" or known is None or known.many:
            continue
        if known.path and text not in known.choices:
            values[name] = str(Path(text).expanduser().absolute())  # the notebook runs in another folder
        else:
            try:
                values[name] = {"True": True, "False": False}[text] if known.type is bool else known.type(text)
            except (ValueError, KeyError):
                _check(name.lower(), text)
    return {name: value for name, value in values.items() if value != ""}
