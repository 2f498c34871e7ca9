"""The papers' geometry and resampling, from a decoded photograph to the array that a network is trained on.

Conventions
-----------
An image is a uint8 array, (H, W) gray or (H, W, 3) RGB, encoded sRGB in [0, 255]; every resize works on the encoded
values, as the papers' tools do, not in linear light. Sizes and offsets are (width, height) and (x, y), in pixels.
Everything that is resized comes back with three channels.

`resize_and_crop` repeats the ImageMagick 6.9 command of Matos, Tezare, Zere 2020 (section 1), which
for size 300 is

    convert F -resize x600 -resize '600x<' -resize 50% -gravity center -crop 300x300+0+0 +repage F

- `geometry` has the three resizes: to height 600; to width 600 if narrower than that; to half. A size is the product of a
  double-precision scale factor and the old size, rounded half up. An image that already has the size is not resized.
- A resize that enlarges uses the Mitchell filter; one that shrinks uses Lanczos with three lobes. A gray file is
  colour-mapped when it is read, so its first resize uses Mitchell in both cases.
- The two axes are filtered one after the other, first the one with the larger factor (the vertical one if they are
  equal). After each, the values are rounded to the 16-bit quantum and clamped to its range.
- The last step, from 16 bits to 8, truncates, as ImageMagick does for lossless formats (PNG, PPM). Its JPEG writer rounds
  instead, so its values are half a level higher on average, before the error of the compression.

Only the part of the photograph that the crop depends on is filtered: it is found by following the crop backwards through the
filters. So neither a panorama nor an image of one column is ever held in memory at its intermediate size.

`resize_shorter_side` and `square` are the geometries of George 2022 and of Acharya, Pokhrel, with Pillow's antialiased filters.

References
----------
- ImageMagick 6.9.11-60: https://legacy.imagemagick.org/Usage/resize/ and https://legacy.imagemagick.org/Usage/filter/
- D. P. Mitchell, A. N. Netravali, "Reconstruction filters in computer graphics", SIGGRAPH 1988, equation 8.
- C. E. Duchon, "Lanczos filtering in one and two dimensions", Journal of Applied Meteorology 18, 1979.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from PIL import Image

from colorize_lib.errors import InputError

LEVELS = 255
QUANTUM = 65535  # ImageMagick Q16: one level of 8 bits is 257 quanta
EPSILON = 1e-12  # ImageMagick's guard against ties between two source pixels

_OUTPUTS_PER_BLOCK = 16  # the fastest of 8, 16, 24, 32, 64
# OpenBLAS computes a product of up to this many multiplications on one core. More cores do not speed up a piece of one
# photograph, and waiting for them is slow when they are busy, as they are when photographs are prepared in parallel.
_MULTIPLICATIONS = 2**18


class Geometry(NamedTuple):
    """The sizes (width, height) of an image after each resize, and the offset (x, y) of the crop in the last one."""

    to_height: tuple[int, int]
    to_width: tuple[int, int]
    halved: tuple[int, int]
    offset: tuple[int, int]


def geometry(width, height, size=300):
    """Sizes and crop offset of `resize_and_crop` for an image of `width` × `height` pixels.

    Raises `InputError` if a side or `size` is not a positive whole number.
    """
    for name, value in (("width", width), ("height", height), ("size", size)):
        if not (value >= 1 and value % 1 == 0):
            raise InputError(f"{name} is {value}; give a whole number of pixels, at least 1")
    double = 2 * size
    to_height = to_width = (_round_size(double / height * width), double)
    if to_height[0] < double:
        to_width = (double, _round_size(double / to_height[0] * double))
    halved = tuple(_round_size(side / 2) for side in to_width)
    offset = tuple(side // 2 - size // 2 for side in halved)
    return Geometry(to_height, to_width, halved, offset)


def _round_size(value):
    return max(1, math.floor(value + 0.5))


def resize_and_crop(image, size=300):
    """The preprocessing command of Matos, Tezare, Zere 2020 on one image.

    Args:
        image: uint8 (H, W) or (H, W, 3), of any size from 1 × 1.
        size: side of the result in pixels.

    Returns:
        uint8 (size, size, 3), equal to what ImageMagick 6.9 writes to a PNG, except for single levels where its 64-bit sums
        and the 32-bit ones here are rounded to different sides (fewer than one value in a thousand).

    Raises:
        InputError: the image is not uint8 or has another shape.
    """
    planes = _checked(image)
    gray = planes.ndim == 2
    planes = planes[None] if gray else np.moveaxis(planes, -1, 0)
    _, height, width = planes.shape
    *sizes, (left, top) = geometry(width, height, size)
    resizes = [(old, new) for old, new in pairwise([(width, height), *sizes]) if old != new]

    passes = []
    columns, rows = (left, left + size), (top, top + size)
    for index, (old, new) in reversed(list(enumerate(resizes))):
        x_factor, y_factor = new[0] / old[0], new[1] / old[1]
        colour_mapped = gray and index == 0
        kernel = _MITCHELL if x_factor * y_factor > 1 or colour_mapped else _LANCZOS
        horizontal = _taps(old[0], new[0], kernel, *columns)
        vertical = _taps(old[1], new[1], kernel, *rows)
        columns, rows = horizontal.span, vertical.span
        both = [(_filter_rows, horizontal), (_filter_columns, vertical)]
        passes = (both if x_factor > y_factor else both[::-1]) + passes

    planes = planes[:, slice(*rows), slice(*columns)]
    for apply, taps in passes:
        planes = apply(planes, taps)
    levels = (planes.astype(np.uint16) // (QUANTUM // LEVELS)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(np.moveaxis(levels, 0, -1), (size, size, 3)))


class _Kernel(NamedTuple):
    weight: Callable
    support: float


class _Taps(NamedTuple):
    """One axis of a resize.

    `span` is the range of inputs that it needs. `blocks` are (outputs, inputs, weights): two slices, counted from the start of the
    span, and float32 (outputs, inputs). `strip` is the number of pixels of the other axis that are filtered at a time.
    """

    span: tuple[int, int]
    blocks: tuple
    strip: int


def _mitchell(x):
    x = np.abs(x)
    near = (16 + x**2 * (21 * x - 36)) / 18
    far = (32 + x * (-60 + x * (36 - 7 * x))) / 18
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _lanczos(x):
    return np.sinc(x) * np.sinc(x / 3)


_MITCHELL = _Kernel(_mitchell, 2.0)
_LANCZOS = _Kernel(_lanczos, 3.0)


# The photographs of a dataset have few sizes, so the weights are mostly computed once.
@lru_cache(maxsize=64)
def _taps(old, new, kernel, first, stop):
    """Weights for outputs `first` … `stop` of one axis that is resized from `old` to `new` pixels."""
    factor = new / old
    scale = max(1 / factor + EPSILON, 1.0)  # a filter that shrinks is stretched over the pixels that it averages
    support = scale * kernel.support
    centre = (np.arange(first, stop) + 0.5) / factor + EPSILON
    begin = np.maximum(centre - support + 0.5, 0).astype(int)
    end = np.minimum(centre + support + 0.5, old).astype(int)
    inputs = begin[:, None] + np.arange((end - begin).max())
    weights = kernel.weight((inputs - centre[:, None] + 0.5) / scale)
    weights[inputs >= end[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True)

    # The matrix of an axis is zero except in a narrow band, which is covered by small dense blocks for BLAS.
    output = np.arange(stop - first)
    block, row = np.divmod(output, _OUTPUTS_PER_BLOCK)
    column = inputs - begin[block * _OUTPUTS_PER_BLOCK, None]
    dense = np.zeros((block[-1] + 1, _OUTPUTS_PER_BLOCK, column.max() + 1), np.float32)
    dense[block[:, None], row[:, None], column] = weights
    blocks = []
    for index, matrix in enumerate(dense):
        outputs = output[index * _OUTPUTS_PER_BLOCK : (index + 1) * _OUTPUTS_PER_BLOCK]
        needed = slice(begin[outputs[0]] - begin[0], end[outputs[-1]] - begin[0])
        matrix = matrix[: len(outputs), : needed.stop - needed.start]
        blocks.append((slice(outputs[0], outputs[-1] + 1), needed, matrix))
    return _Taps((int(begin[0]), int(end[-1])), tuple(blocks), max(1, _MULTIPLICATIONS // dense[0].size))


def _filter_columns(planes, taps):
    """(C, H, W) → (C, new H, W), float32 quanta."""
    channels, _, width = planes.shape
    filtered = np.empty((channels, taps.blocks[-1][0].stop, width), np.float32)
    for strip in _strips(width, taps.strip):
        for outputs, inputs, weights in taps.blocks:
            np.matmul(weights, _quanta(planes[:, inputs, strip]), out=filtered[:, outputs, strip])
    return _to_quantum(filtered)


def _filter_rows(planes, taps):
    """(C, H, W) → (C, H, new W), float32 quanta."""
    channels, height, _ = planes.shape
    filtered = np.empty((channels, height, taps.blocks[-1][0].stop), np.float32)
    for strip in _strips(height, taps.strip):
        quanta = _quanta(planes[:, strip])
        for outputs, inputs, weights in taps.blocks:
            np.matmul(quanta[:, :, inputs], weights.T, out=filtered[:, strip, outputs])
    return _to_quantum(filtered)


def _strips(length, step):
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _quanta(planes):
    """uint8 levels as float32 quanta, channel after channel; quanta are returned as they are."""
    if planes.dtype == np.uint8:
        return np.multiply(planes, np.float32(QUANTUM // LEVELS), dtype=np.float32, order="C")
    return planes


def _to_quantum(values):
    np.rint(values, out=values)
    return np.clip(values, 0, QUANTUM, out=values)


def resize_shorter_side(image, size, crop=None):
    """Resize so that the shorter side has `size` pixels, bilinear with antialiasing (George 2022 validates at 256).

    The sizes are those of torchvision's `Resize`: the longer side is rounded down.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        size: the shorter side of the result.
        crop: compute only the `crop` × `crop` pixels that `centre_crop` would keep (224 in George 2022), so that a
            long strip takes no longer than a square. Values may differ by one level from those of the whole image.

    Returns:
        uint8 (new H, new W, 3), or (crop, crop, 3).

    Raises:
        InputError: the image is not uint8 or has another shape, or the crop is larger than the result.
    """
    image = _checked(image)
    height, width = image.shape[:2]
    shorter = min(width, height)
    new_width, new_height = size * width // shorter, size * height // shorter
    if crop is None:
        return _resized(image, (new_width, new_height), Image.Resampling.BILINEAR)
    left, top = _centre(new_width, new_height, crop)
    x_scale, y_scale = width / new_width, height / new_height
    box = (left * x_scale, top * y_scale, (left + crop) * x_scale, (top + crop) * y_scale)
    return _resized(image, (crop, crop), Image.Resampling.BILINEAR, box)


def centre_crop(image, size):
    """The `size` × `size` pixels in the middle of an image (H, W) or (H, W, 3), like torchvision's `CenterCrop`.

    Raises `InputError` if the image is smaller than that.
    """
    image = _checked(image)
    left, top = _centre(image.shape[1], image.shape[0], size)
    return image[top : top + size, left : left + size]


def square(image, size):
    """The largest square in the middle, resized to uint8 (size, size, 3), bicubic with antialiasing (Acharya, Pokhrel: 256).

    The paper says "cropping and resizing" without an order or a filter; this reading keeps the proportions.
    """
    image = _checked(image)
    return _resized(centre_crop(image, min(image.shape[:2])), (size, size), Image.Resampling.BICUBIC)


def _centre(width, height, size):
    if size > min(width, height):
        raise InputError(
            f"a crop of {size} × {size} does not fit in {width} × {height} pixels; enlarge the image first"
        )
    return round((width - size) / 2), round((height - size) / 2)


def _resized(image, size, resample, box=None):
    return np.asarray(Image.fromarray(image).resize(size, resample, box).convert("RGB"))


def _checked(image):
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)):
        raise InputError(
            f"an image is uint8 of shape (H, W) or (H, W, 3), not {image.dtype} of shape {image.shape}; "
            "convert it to 8-bit gray or RGB first"
        )
    return image
