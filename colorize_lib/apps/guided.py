"""User-guided colorization: SIGGRAPH17 with the colours that a person gives to points of a photo.

Zhang et al. 2017, section 3, local hints. The network and its hints are `colorize_lib.models.zhang`, the public weights come from
`colorize_lib.apps.public_weights`.
"""

import math

import numpy as np
from keras import ops

from colorize_lib import color, files
from colorize_lib.apps import public_weights
from colorize_lib.errors import InputError
from colorize_lib.models import zhang
from colorize_lib.training.colorizer import Colorizer


def hint(x, y, rgb):
    """A point's colour as the network takes it.

    Args:
        x, y: place in the upright photo, from 0 (left, top) to 1 (right, bottom).
        rgb: colour as "#rrggbb"; its lightness is the photo's own, only ab is used.

    Returns:
        (x, y, a, b), ab in Lab units.

    Raises:
        InputError: outside the photo, or no such colour.
    """
    if not all(isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1 for value in (x, y)):
        raise InputError(f"The point ({x}, {y}) is outside the photo: both numbers go from 0 to 1.")
    try:
        levels = bytes.fromhex(rgb.removeprefix("#"))
        pixel = np.frombuffer(levels, "uint8").reshape(1, 3)
    except (AttributeError, ValueError) as error:
        raise InputError(f"{rgb!r} is not a colour: write it as #rrggbb.") from error
    a, b = np.asarray(color.rgb_to_lab(pixel))[0, 1:]
    return float(x), float(y), float(a), float(b)


def read_hints(path):
    """Hints from a text file: one a line, X Y #RRGGBB; empty lines and what follows a `;` are left out.

    Returns:
        Tuple of `hint`.

    Raises:
        InputError: it cannot be read, or a line is not a hint; the message has the line's number.
    """
    with files.disk_errors(path, "read"), files.open_regular(path) as file:
        lines = file.read(1 << 20).decode("utf-8", errors="replace").splitlines()
    hints = []
    for number, line in enumerate(lines, 1):
        words = line.partition(";")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            x, y, rgb = words
            hints.append(hint(float(x), float(y), rgb))
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}, is not a hint: write X Y #RRGGBB, X and Y from 0 to 1."
            ) from error
    return tuple(hints)


class GuidedColorizer(Colorizer):
    """A `Colorizer` that takes hints. Without any it colorizes by itself.

    Args:
        network: `siggraph17(size=None, hints=True)`; None: with the public weights from the data home.
        size: side of the photo as the network sees it, a multiple of 8; 256 is close to what it was trained with.

    Raises:
        InputError: the public weights are not in the data home, which says how to get them.
    """

    def __init__(self, network=None, size=256):
        super().__init__(network or public_weights.pretrained("siggraph17", hints=True), "zhang")
        self.size = size

    @property
    def input_size(self):
        return self.size, self.size

    def predict_color(self, rgb, hints=()):
        """As `Colorizer.predict_color`; `hints`: of `hint`, the same for all images of the batch."""
        lightness = color.lightness(rgb)
        height, width = lightness.shape[1:3]
        points = [(min(int(y * height), height - 1), min(int(x * width), width - 1), a, b) for x, y, a, b in hints]
        maps = zhang.hint_maps(points, height, width) if points else ()
        prediction = zhang.predict(self.network, self.convention.network_input(lightness), *maps)
        return self.convention.ab(prediction), self.convention.decode(lightness, prediction)

    def predict_ab(self, photo, hints=()):
        """As `Colorizer.predict_ab`, with the colours that `hints` gives to points of the photo."""
        return ops.convert_to_numpy(self.predict_color(self.resized(photo), hints)[0])[0]
