"""A record of what decides a training, as plain JSON values that a run keeps next to the training's state.

A training is restored only for the code that made it: `taken` describes networks, optimizers, loss, data, and the code of the
notebook, and `difference` names the first difference between two records. The names of layers and modules and the precision are
left out, because they do not change what is learned and differ between sessions and machines.
"""

import ast
import functools
import hashlib
import json
import linecache
import math
import sys

import keras
import numpy as np

FORMAT = 1
_LEFT_OUT = ("module", "registered_name", "build_config", "dtype", "shared_object_id")


def taken(model, train, validation, monitor, code):
    """The record of a training.

    Args:
        model: compiled `ResidentModel`.
        train, validation: `data.Batches`.
        monitor: column of the history that chooses the best epoch.
        code: as returned by `code_on_screen`.
    """
    networks = {name: getattr(model, name, None) for name in ("network", "discriminator", "classifier")}
    optimizers = getattr(model, "optimizers", None) or [model.optimizer]
    found = {
        "format": FORMAT,
        **{name: _network(network) for name, network in networks.items() if network is not None},
        "optimizer": [_plain(optimizer) for optimizer in optimizers],
        "loss": _plain(keras.losses.get(model.loss) if isinstance(model.loss, str) else model.loss),
        "metrics": model.metric_names(),
        "settings": _plain(model.settings()),
        "training data": _data(train),
        "validation data": _data(validation),
        "monitor": monitor,
        "code": code,
    }
    return json.loads(json.dumps(found))


def difference(before, now):
    """The first difference between two records as the beginning of a sentence, or None."""
    for part in now:
        if part == "code" and None in (before.get(part), now[part]):
            continue  # one of the two trainings did not run in a notebook
        found = _first(before.get(part), now[part], [part])
        if found:
            path, was, becomes = found
            if part == "code":
                same = zip(was or "", becomes or "", strict=False)
                start = max(0, next((i for i, (a, b) in enumerate(same) if a != b), 0) - 30)
                was, becomes = (f"`{_shown(line, start)}`" if line else "nothing" for line in (was, becomes))
                return f"the code was {was} and is now {becomes}"
            words = [f"{path[i]} {path[i + 1]}" if isinstance(path[i + 1], int) else path[i] for i in _named(path)]
            return f"{' of '.join(reversed(words))} was {_shown(repr(was))} and is now {_shown(repr(becomes))}"
    return None


def _named(path):
    """The places of the meaningful names in `path`; a number belongs to the name before it."""
    path.append("")
    return [i for i in range(len(path) - 1) if isinstance(path[i], str) and path[i] not in ("config", "class")]


def _first(before, now, path):
    """(path, value before, value now) of the first difference in nested dictionaries and lists, or None."""
    if isinstance(before, dict) and isinstance(now, dict):
        pairs = [(key, before.get(key), now.get(key)) for key in dict.fromkeys([*before, *now])]
    elif isinstance(before, list) and isinstance(now, list):
        length = max(len(before), len(now))
        pairs = zip(range(length), before + [None] * length, now + [None] * length, strict=False)
    else:
        return None if before == now else (path, before, now)
    return next(filter(None, (_first(was, becomes, [*path, key]) for key, was, becomes in pairs)), None)


def _shown(text, start=0):
    text = str(text)[start:]
    text = " ".join(("…" * (start > 0) + text).split())
    return text if len(text) <= 80 else text[:79] + "…"


def _data(batches):
    """Images, their order, and their transform. A seed of None is the split's own order."""
    return {
        "images": len(batches.split),
        "images of an epoch": batches.epoch_images,
        "fingerprint": batches.split.fingerprint()[:16],
        "batch_size": batches.batch_size,
        "seed of the order": batches.seed,
        "labels": batches.labels,
        "transform": _plain(batches.transform),
    }


def _network(network):
    """The configuration of a network, with layers numbered by position: Keras' default names differ between sessions."""
    try:
        config = network.get_config()
    except NotImplementedError:  # a model written as a class
        return {"variables": [[variable.path, list(variable.shape)] for variable in network.variables]}
    names = {}

    def collect(value):
        if isinstance(value, dict):
            if "class_name" in value and isinstance(value.get("config"), dict) and "name" in value["config"]:
                names.setdefault(value["config"]["name"], len(names))
            for item in value.values():
                collect(item)
        elif isinstance(value, list | tuple):
            for item in value:
                collect(item)

    def renamed(value):
        if isinstance(value, dict):
            return {key: renamed(item) for key, item in value.items() if key not in (*_LEFT_OUT, "name")}
        if isinstance(value, list | tuple):
            reference = len(value) == 3 and isinstance(value[0], str) and value[0] in names
            return [names[value[0]], *value[1:]] if reference else [renamed(item) for item in value]
        return _plain(value)

    collect(config)
    return renamed(config)


def _plain(value, depth=0):
    """Any value as JSON: arrays as hashes, functions as name and source, objects as class and attributes."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else str(value)  # float32 has seven digits
    if isinstance(value, str | int | bool | None):
        return value
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "sha256": hashlib.sha256(np.ascontiguousarray(value)).hexdigest()[:16]}
    if depth > 6:
        return type(value).__name__
    if isinstance(value, dict):
        return {str(key): _plain(item, depth + 1) for key, item in value.items() if key not in _LEFT_OUT}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, functools.partial):
        return [_plain(part, depth + 1) for part in (value.func, value.args, value.keywords)]
    if hasattr(value, "__code__"):
        return {"function": value.__qualname__, "source": _source(value), "defaults": _plain(value.__defaults__)}
    held = {name: item for name, item in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    if isinstance(value, keras.optimizers.Optimizer):
        held = value.get_config()
    elif isinstance(value, keras.losses.Loss):
        held |= value.get_config()
    held.pop("name", None)
    return {"class": getattr(value, "__name__", type(value).__name__)} | _plain(held, depth + 1)


def code_on_screen(make):
    """The lines of code that train in a notebook, without comments, blank lines, docstrings, and calls of `print`.

    These are the cell up to the statement that is running, the notebook's functions on the call stack, and `make`, if it is defined
    in the notebook. None outside a notebook.
    """
    frames, frame = [], sys._getframe(1)
    while frame is not None:
        if _in_notebook(frame.f_globals):
            frames.append(frame)
        frame = frame.f_back
    if not frames:
        return None
    *functions, cell = frames
    while isinstance(make, functools.partial):
        make = make.func
    parts = [_without_words(node) for node in _tree(cell.f_code) if node.lineno <= cell.f_lineno]
    parts += [_statement(function.f_code) for function in functions] + [_source(make)]
    return "\n".join(part for part in dict.fromkeys(parts) if part).splitlines()


def _in_notebook(namespace):
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell is not None and namespace is shell.user_global_ns


def _tree(code):
    """Top-level statements of the cell that contains `code`."""
    return ast.parse("".join(linecache.getlines(code.co_filename))).body


def _source(function):
    """Source of a function if it is defined in the notebook, else None."""
    return _statement(function.__code__) if _in_notebook(getattr(function, "__globals__", None)) else None


def _statement(code):
    """Source of the top-level statement that contains `code`."""
    for node in _tree(code):
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])
        if first <= code.co_firstlineno <= node.end_lineno:
            return _without_words(node)
    return None


class _Words(ast.NodeTransformer):
    """Removes docstrings, calls of `print` and `display`, and arguments of `Run.fit` that do not change what is learned."""

    def visit_Call(self, node):
        node.keywords = [word for word in node.keywords if word.arg not in ("epochs", "keep", "fresh")]
        return self.generic_visit(node)

    def visit_Expr(self, node):
        call = getattr(node.value, "func", None)
        shows = isinstance(call, ast.Name) and call.id in ("print", "display")
        return None if shows or isinstance(node.value, ast.Constant) else node


def _without_words(node):
    changed = _Words().visit(node)
    return ast.unparse(changed) if changed else ""
