"""Parameters and profiles of the notebooks: known names, types and ranges, checked before any work starts.

A notebook's parameters cell has overrides, in capitals, and ends with the profiles; the next cell resolves them. The command line
takes the same names, which papermill assigns in a cell between the two:

    EPOCHS = None
    PROFILES = parameters.profiles(quick=dict(epochs=2), paper=dict(epochs=25))

    params = parameters.read(PROFILES, globals())

Only names that are assigned in one of the first two cells are checked: all other names in the notebook are the user's own. This
module imports nothing heavy, so that a mistyped name is refused immediately.
"""

import ast
import hashlib
import json
import linecache
import math
import shlex
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from colorize_lib import files
from colorize_lib.errors import InputError, near_match


@dataclass(frozen=True)
class Known:
    """A parameter in `parameters.toml`: its `type`, `low`est and `high`est value or `choices`, and what it `means`.

    `many`: it takes several numbers, as text with commas between them; `path`: it is one of `choices`, or the path of a file or
    folder.
    """

    type: type
    means: str
    low: float | None = None
    high: float | None = None
    choices: tuple = ()
    many: bool = False
    path: bool = False


def _known(type, choices=(), **more):
    return Known({"str": str, "int": int, "float": float, "bool": bool}[type], choices=tuple(choices), **more)


KNOWN = {
    name: _known(**row) for name, row in tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8")).items()
}

# These do not change how a network is trained, and so do not change the run folder's key.
_NOT_IN_KEY = ("profile", "systems", "run", "devices", "photos", "keep")
# Parameters that name a dataset or a folder, and the datasets of `data_prep.registry`, which come before folders of their names.
_DATA = ("dataset", "scenes", "labels")
_DATASETS = ("tiny-imagenet", "cifar10", "coco", "yosemite", "places", "flickr", "photos", "folder")
# Parameters of every notebook, with the values for profiles that lack them.
_COMMON = {"run": None, "systems": None, "seed": 0, "devices": None, "keep": "best"}


class Parameters(SimpleNamespace):
    """The resolved parameters as attributes, including `profile` and `label`.

    `label` is "paper" for the whole paper profile, "quick (budgeted)" for the whole quick profile, and "budgeted" if any parameter
    that changes the training differs from the profile's.
    """

    def key(self):
        """Name of the run folder: `run`, or the profile and a hash of the parameters."""
        if self.run:
            return self.run
        text = json.dumps(self.trained(), sort_keys=True)
        return f"{self.profile}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def trained(self):
        """The parameters that decide how networks are trained and what they are scored on."""
        return {name: value for name, value in vars(self).items() if name not in (*_NOT_IN_KEY, "label")}

    def command(self, notebook):
        """The shell command that repeats a run of `notebook` with these parameters."""
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
        """The systems to run, in the order of `systems`: those that the parameter `systems` names, or `default`.

        Raises InputError for an unknown name.
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
    """Values by profile and name. `before`: the notebook's names at the end of its parameters cell; None after `read`."""

    before = None


def profiles(**values):
    """The profiles of a notebook; its parameters cell ends with this call.

    Args:
        **values: profile to {name: value}, with lower-case names, the same in each profile.

    Returns:
        `Profiles`.

    Raises:
        InputError: the cell assigns a name that is no parameter; the message has the nearest and all known ones.
    """
    caller, result = sys._getframe(1), Profiles(values)
    _refuse_unknown(_assigned(caller), values)
    result.before = set(caller.f_globals)
    return result


def read(profiles, namespace):
    """`resolve` the parameters of a notebook by its names in capitals.

    Args:
        profiles: `Profiles` of the parameters cell.
        namespace: the notebook's `globals()`.

    Raises:
        InputError: a wrong value; or a name that is no parameter and was assigned after the parameters cell, as by papermill.
    """
    if profiles.before is not None:
        _refuse_unknown([name for name in namespace if name not in profiles.before], profiles)
        profiles.before = None  # names that come later are the user's own
    known = [name.upper() for name in _names(profiles)]
    return resolve(profiles, {name: namespace[name] for name in known if name in namespace})


def _names(profiles):
    return list(dict.fromkeys(["profile", *_COMMON, *(name for values in profiles.values() for name in values)]))


def _refuse_unknown(assigned, profiles):
    """Raise InputError for names in capitals that are no parameters, and for parameters in small letters."""
    names = [name.upper() for name in _names(profiles)]
    for name in assigned:
        if name not in (*names, "PROFILES") and (name.isupper() or name.upper() in names):
            raise _unknown(name, names)


def _unknown(name, names):
    return InputError(
        f"There is no parameter {name}{near_match(name.upper(), names)}: this notebook takes {', '.join(names)}."
    )


def _assigned(frame):
    """Names that are assigned by the notebook's cell that runs in `frame`; none outside a notebook."""
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


def _here(text):
    """The path that `text` names in the current folder: the notebook runs in another one."""
    return Path(text).expanduser().absolute()


def parse(assignments):
    """["EPOCHS=3", …] from a command line → {"EPOCHS": 3}, with values of the parameters' types.

    Raises InputError for another form or a wrong type; unknown names are left to `resolve`.
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
        if name.lower() in _DATA:
            values[name] = str(_here(text)) if text not in _DATASETS and _here(text).is_dir() else text
        elif known.path and text not in known.choices:
            path = _here(text)
            in_data_home = not path.exists() and (files.data_home() / text).exists()
            values[name] = text if in_data_home else str(path)
        else:
            try:
                values[name] = {"True": True, "False": False}[text] if known.type is bool else known.type(text)
            except (ValueError, KeyError):
                _check(name.lower(), text)
    return {name: value for name, value in values.items() if value != ""}
