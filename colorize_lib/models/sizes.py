"""Checks of the width and the image size of networks."""

from colorize_lib.errors import InputError


def scaled(filters, width):
    """The number of filters times `width`, rounded, at least 1. Raises `InputError` unless `width` is above 0."""
    if not width > 0:
        raise InputError(
            f"The width factor must be above 0, not {width}: 1 is the paper's own network, 0.25 a narrower one."
        )
    return max(1, round(filters * width))


def require_size(name, size, step, most=None):
    """Raise `InputError` unless `size` is a multiple of `step`, up to `most` pixels, as the network `name` requires."""
    if size not in range(step, (most or size) + 1, step):
        limit = f" up to {most}" if most else ""
        raise InputError(f"{name} takes a size that is a multiple of {step}{limit}, not {size}.")
