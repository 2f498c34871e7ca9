"""The papers' networks by name: ``build("polychromify", width=0.25)``.

Each module of this package holds one paper's builders. A builder is a function that returns an uncompiled functional
`keras.Model`; it registers itself under its public name with `register`. Nothing here knows how the networks are
trained or what their numbers mean: ranges of inputs and outputs are `colorize_lib.color.CONVENTIONS`.
"""

import importlib
import inspect
import json
from dataclasses import dataclass

from colorize_lib import papers
from colorize_lib.errors import InputError, near_match

_OF_NO_PAPER = ("natural",)
_REGISTRY = {}


@dataclass(frozen=True)
class Entry:
    """One registered network: `name`, its `builder`, the `convention` of its input and output, and the `paper`'s key."""

    name: str
    builder: callable
    convention: str
    paper: str | None


def register(name, *, convention, paper):
    """Decorator: make a builder known as `name`.

    Args:
        name: public name, as the command line and the notebooks spell it.
        convention: key of `colorize_lib.color.CONVENTIONS` that the network was trained with.
        paper: key of the paper in `papers.toml`; None for a network of no paper.
    """

    def decorate(builder):
        _REGISTRY[name] = Entry(name, builder, convention, paper)
        return builder

    return decorate


def _load():
    for module in (*papers.MODULES, *_OF_NO_PAPER):
        importlib.import_module(f"{__name__}.{module}")


def names(paper=None):
    """Sorted names of all networks, or of those of one `paper`."""
    _load()
    return sorted(name for name, entry in _REGISTRY.items() if paper in (None, entry.paper))


def entry(name):
    """The registry's `Entry` of `name`. Raises `InputError` with the nearest names if there is none."""
    _load()
    if name not in _REGISTRY:
        raise InputError(f"There is no model {name!r}{near_match(name, _REGISTRY)}: known are {', '.join(names())}.")
    return _REGISTRY[name]


def option_names(name):
    """Names of the options that the builder of `name` takes. Raises `InputError` for an unknown name."""
    return list(inspect.signature(entry(name).builder).parameters)


def _recipe(name, options):
    try:
        return json.dumps({"model": name, "options": options})
    except TypeError:
        return None


def build(name, *, dtype=None, **options):
    """Build a network by name.

    Args:
        name: one of `names()`.
        dtype: Keras dtype policy of the network, "float32" or "mixed_bfloat16"; None takes the global policy. The
            weights, and every output, are float32 in both.
        options: the builder's own keyword arguments, for most `size` (pixels) and `width` (factor on the filters).

    Returns:
        An uncompiled functional `keras.Model`. Its attribute `recipe` is the JSON text of name and options, by which it can be
        built again; None where an option is no plain value.

    Raises:
        InputError: unknown name or option.
    """
    import keras

    builder, known = entry(name).builder, option_names(name)
    unknown = [option for option in options if option not in known]
    if unknown:
        raise InputError(f"Model {name!r} has no option {unknown[0]!r}: it takes {', '.join(known)}.")
    previous = keras.config.dtype_policy()
    if dtype is not None:
        keras.config.set_dtype_policy(dtype)
    try:
        network = builder(**options)
        network.recipe = _recipe(name, options)
        return network
    finally:
        keras.config.set_dtype_policy(previous)
