"""Colour spaces, quantized colours, and metrics.

`lab`: sRGB ↔ Lab, and the papers' scalings. `bins`: the grid of ab. `mrf`: the random field. `metrics`: image quality.
"""

from colorize_lib.color.lab import (
    CONVENTIONS,
    GRAY_BT601,
    GRAY_BT709,
    LabConvention,
    RgbConvention,
    gray,
    lab_to_rgb,
    lightness,
    rgb_to_lab,
    sure_rgb,
    to_uint8,
    unit_rgb,
    with_ab,
)
