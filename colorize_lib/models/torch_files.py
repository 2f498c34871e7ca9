"""PyTorch checkpoints as numpy arrays. PyTorch is optional: it is imported when a file is read."""

import re
from pathlib import Path

from colorize_lib.errors import InputError

# Before 2.6, torch.load(weights_only=True) could be made to run code (CVE-2025-32434).
SAFE_TORCH = (2, 6)


def read_state_dict(path):
    """Read the tensors of a PyTorch checkpoint, without executing code in the file.

    Args:
        path: file with a state dict, bare or under "state_dict", with or without the prefix "module." of `DataParallel`.

    Returns:
        {name: float32 array}, in PyTorch's layout.

    Raises:
        InputError: PyTorch is missing or too old, there is no such file, or it is not a checkpoint of tensors.
    """
    if not Path(path).is_file():
        raise InputError(f"There is no file {path}: give the path of a PyTorch checkpoint.")
    try:
        import torch
    except ImportError as error:
        raise InputError(f"Reading {path} needs PyTorch: install it with `pip install torch`.") from error
    if tuple(int(number) for number in re.findall(r"\d+", torch.__version__)[:2]) < SAFE_TORCH:
        raise InputError(
            f"PyTorch {torch.__version__} cannot read {path} safely: update it with `pip install --upgrade torch`."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        return {name.removeprefix("module."): tensor.detach().float().numpy() for name, tensor in state.items()}
    except Exception as error:  # bytes from outside can fail in any part of the reader, with any kind of error
        raise InputError(
            f"Cannot read {path} as a PyTorch state dict ({type(error).__name__}): it is damaged or something else; get it "
            f"again, or save the network's state_dict()."
        ) from error
