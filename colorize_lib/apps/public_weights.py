"""Public weights of ECCV16 and SIGGRAPH17: from PyTorch's `.pth` to Keras' `.weights.h5`.

    python -m colorize_lib convert eccv16                                   # downloads the public file
    python -m colorize_lib convert colorization_release_v2-9b330a0b.pth     # or takes it from here
    python -m colorize_lib convert siggraph17 -o my.weights.h5

Without `-o` the weights go to `weights/NAME.weights.h5` in the data home, where `pretrained` finds them. Only the conversion
needs PyTorch.
"""

from pathlib import Path

import keras

from colorize_lib import files, models
from colorize_lib.errors import InputError
from colorize_lib.models.torch_files import read_state_dict

# The authors' files. The name ends with the first eight digits of the file's SHA-256.
ADDRESS = "https://colorizers.s3.us-east-2.amazonaws.com/"
FILES = {"eccv16": "colorization_release_v2-9b330a0b.pth", "siggraph17": "siggraph17-df00044c.pth"}

# Convolutions of blocks 1 to 7, which are followed by batch normalization, in both networks.
_CONVOLUTIONS = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3, 6: 3, 7: 3}


def _down():
    """Names of blocks 1 to 7. PyTorch counts the ReLUs between the layers, so that every second number is one of ours."""
    for block, count in _CONVOLUTIONS.items():
        for i in range(count):
            yield f"model{block}.{2 * i}", f"block{block}_conv{i + 1}"
        yield f"model{block}.{2 * count}", f"block{block}_bn"


# PyTorch's name of each layer → ours.
LAYERS = {
    "eccv16": {
        **dict(_down()),
        "model8.0": "block8_up",
        "model8.2": "block8_conv1",
        "model8.4": "block8_conv2",
        "model8.6": "class_logits",
        "model_out": "decoder",
    },
    "siggraph17": {
        **dict(_down()),
        "model8up.0": "block8_up",
        "model3short8.0": "block8_skip",
        "model8.1": "block8_conv1",
        "model8.3": "block8_conv2",
        "model8.5": "block8_bn",
        "model9up.0": "block9_up",
        "model2short9.0": "block9_skip",
        "model9.1": "block9_conv1",
        "model9.3": "block9_bn",
        "model10up.0": "block10_up",
        "model1short10.0": "block10_skip",
        "model10.1": "block10_conv1",
        "model_class.0": "class_logits",
        "model_out.0": "ab",
    },
}
_VARIABLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
# Kernels: (out, in, height, width) → (height, width, in, out); for transposed convolutions "in" and "out" swap on both sides.
_TO_KERAS, _TO_TORCH = (2, 3, 1, 0), (3, 2, 0, 1)


def _build(name, **options):
    """All layers of the public definition: `siggraph17` with its classification head, so that its file holds all weights."""
    return models.build(name, **({"classes": True} if name == "siggraph17" else {}), **options)


def _load_tensors(network, tensors, source):
    """Assign PyTorch's tensors to the layers of `network`: all of both, or `InputError` and nothing."""
    variables = {
        f"{torch_name}.{_VARIABLES[variable.name]}": variable
        for torch_name, layer in LAYERS[network.name].items()
        for variable in network.get_layer(layer).weights
    }
    # A counter of batch normalization, which inference does not use.
    tensors = {key: value for key, value in tensors.items() if not key.endswith(".num_batches_tracked")}
    shapes = {
        key: tuple(variable.shape[i] for i in _TO_TORCH) if len(variable.shape) == 4 else tuple(variable.shape)
        for key, variable in variables.items()
    }
    problems = [f"{key} is missing" for key in variables if key not in tensors]
    problems += [f"{key} is left over" for key in tensors if key not in variables]
    problems += [
        f"{key} has shape {tensors[key].shape} instead of {shape}"
        for key, shape in shapes.items()
        if key in tensors and tensors[key].shape != shape
    ]
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise InputError(
            f"{source} does not fit {network.name}: {'; '.join(problems[:5])}{more}; get the public file "
            f"{FILES[network.name]}, or save a network of just that definition."
        )
    for key, variable in variables.items():
        variable.assign(tensors[key].transpose(_TO_KERAS) if tensors[key].ndim == 4 else tensors[key])


def _check_hash(path, name):
    """`InputError` unless the hash of the file `path` starts as the public file's name `name` says."""
    if not files.sha256(path).startswith(Path(name).stem.rpartition("-")[2]):
        raise InputError(
            f"{name} is not the authors' file, or it is damaged: its SHA-256 does not start as its name says; get it again "
            f"from {ADDRESS}{name}."
        )


def weights_path(name):
    """Where the converted weights of "eccv16" or "siggraph17" are kept in the data home, whether they are there or not."""
    return files.data_home() / "weights" / f"{name}.weights.h5"


def download(name):
    """Download the public `.pth` of "eccv16" or "siggraph17" into the data home, unless it is there; returns its path.

    Raises:
        InputError: no connection, or the file is not the authors'.
    """
    import pooch
    import requests

    path = weights_path(name).with_name(FILES[name])
    if not path.exists():
        with files.atomic(path) as temporary:
            try:
                pooch.HTTPDownloader(progressbar=True)(ADDRESS + path.name, str(temporary), None)
            except requests.RequestException as error:
                raise InputError(
                    f"Cannot download {ADDRESS}{path.name} ({type(error).__name__}): check the connection, or get the file in "
                    f"another way and run `python -m colorize_lib convert {path.name}`."
                ) from error
            _check_hash(temporary, path.name)
    return path


def convert(path, output=None):
    """Convert a PyTorch checkpoint of ECCV16 or SIGGRAPH17; its tensors tell which of the two it is.

    Args:
        path: `.pth` file. One that has a public file's name must have its hash.
        output: `.weights.h5` file to write; None: `weights_path`.

    Returns:
        Path of the file written.

    Raises:
        InputError: PyTorch is missing; the file is missing, damaged or not one of the two; tensors are missing, left over or
            misshapen; `output` cannot be written.
    """
    path = Path(path)
    if output is not None and not str(output).endswith(".weights.h5"):
        raise InputError(f"Keras writes weights to files that end in .weights.h5: {output} does not.")
    if path.name in FILES.values() and path.is_file():
        _check_hash(path, path.name)
    tensors = read_state_dict(path)
    layers = {key.rpartition(".")[0] for key in tensors}
    name = max(LAYERS, key=lambda candidate: len(layers.intersection(LAYERS[candidate])))
    if not layers.intersection(LAYERS[name]):
        raise InputError(
            f"{path} is neither eccv16 nor siggraph17: it has none of their tensors; get {' or '.join(FILES.values())}."
        )
    network = _build(name)
    _load_tensors(network, tensors, path)
    output = weights_path(name) if output is None else Path(output)
    with files.atomic(output) as temporary:
        network.save_weights(temporary)
    return output


def pretrained(name, size=None, **options):
    """The network "eccv16" or "siggraph17" with the public weights, from the data home.

    Args:
        name: "eccv16" or "siggraph17".
        size: pixels, a multiple of 8; None: any such size at each call.
        options: of `colorize_lib.models.build`, e.g. `hints=True`.

    Raises:
        InputError: the weights are not there, which says how to get them, or are damaged; unknown option.
    """
    path = weights_path(name)
    if name not in FILES:
        raise InputError(f"There are no public weights of {name!r}: there are those of {' and '.join(FILES)}.")
    if not path.exists():
        raise InputError(
            f"The public weights of {name} are not in {path}: run `python -m colorize_lib convert {name}`, which downloads "
            f"them, or `python -m colorize_lib convert FILE` if you have {FILES[name]}."
        )
    classes = options.pop("classes", False) if name == "siggraph17" else True
    network = _build(name, size=size, **options)
    try:
        network.load_weights(path)
    except Exception as error:  # HDF5 and Keras raise many kinds for a damaged file
        raise InputError(
            f"Cannot read the weights {path} ({type(error).__name__}): delete the file and run "
            f"`python -m colorize_lib convert {name}` again."
        ) from error
    return network if classes else keras.Model(network.input, network.output["ab"], name=name)
