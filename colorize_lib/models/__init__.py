"""The papers' networks by name: ``build("polychromify", width=0.25)``.

Each module of this package has one paper's builders. A builder is a function that returns an uncompiled functional
`keras.Model`; the decorator `register` gives it its public name. `colorize_lib.color.CONVENTIONS` has the scalings of inputs and
outputs.
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
    """A registered network: `name`, `builder`, `convention` of its input and output, and key of its `paper`."""

    name: str
    builder: callable
    convention: str
    paper: str | None


def register(name, *, convention, paper):
    """Decorator that registers a builder.

    Args:
        name: public name of the network, for `build`, the command line and the notebooks.
        convention: key of `colorize_lib.color.CONVENTIONS`.
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
    """Sorted names of all networks, or of the networks of one `paper`."""
    _load()
    return sorted(name for name, entry in _REGISTRY.items() if paper in (None, entry.paper))


def entry(name):
    """The `Entry` of the network `name`. Raises `InputError` for an unknown name."""
    _load()
    if name not in _REGISTRY:
        raise InputError(
            f"There is no model {name!r}{near_match(name, _REGISTRY)}: the models are {', '.join(names())}."
        )
    return _REGISTRY[name]


def option_names(name):
    """Names of the options of the builder of `name`. Raises `InputError` for an unknown name."""
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
        dtype: Keras dtype policy of the network, "float32" or "mixed_bfloat16"; None: the global policy. Weights and outputs are
            float32 in both cases.
        options: the builder's own keyword arguments, mostly `size` (pixels) and `width` (factor on the filters).

    Returns:
        An uncompiled functional `keras.Model`. Its attribute `recipe` is the JSON text of name and options, from which it can be
        built again, or None if an option is not a plain value.

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
