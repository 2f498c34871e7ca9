"""A `keras.Model` around a network and a Lab convention: uint8 RGB in, trained with plain `fit`.

RGB is converted to the network's input and target on the device, in the compiled step, so that datasets stay uint8 RGB, and
training, scoring and display share one colour path.
"""

import contextlib
import io
import json
import math
import re
import warnings
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import ops
from PIL import Image

from colorize_lib import color, files, models, quiet
from colorize_lib.acceleration import accelerate, accelerate_optimizer, kernels
from colorize_lib.color import guided_filter
from colorize_lib.errors import InputError, near_match, reason
from colorize_lib.images import decode, to_eight_bits, upright
from colorize_lib.training import resident

STRIP_PIXELS = 1 << 18  # pixels of a photo that are coloured at once
FREE_SIZE = 256  # input size of a network that takes any size

# The guided enlargement of colour: longer side of the photo on which it is fitted, radius of its windows in pixels, and epsilon
# in units of L². Chosen on the bundled photographs.
GUIDE_SIDE, GUIDE_RADIUS, GUIDE_EPSILON = 256, 4, 25.0


class Colorizer(resident.ResidentModel):
    """Trains and applies a network that predicts colour from gray.

    `fit`, `evaluate` and `predict` take batches of RGB, (batch, size, size, 3), uint8. Losses and metrics given to `compile` see
    (target, prediction) as scaled by the convention. Calling the model returns a dictionary of both.

    Args:
        network: functional model from `colorize_lib.models.build`, or your own. Save, load and print it as the attribute `network`.
        convention: key of `color.CONVENTIONS`, or a convention.
        channels: channels of the target that the network predicts; None: all of them.
        accelerate: train and apply the network by `colorize_lib.acceleration`, with the same results; False uses Keras' own layers
            and optimizers.

    Raises:
        InputError: unknown convention.
    """

    # Whether enlarged colour follows the edges of the photo's lightness. It does not improve results: see results/natural.
    guided = False

    def __init__(self, network, convention, channels=None, accelerate=True):
        super().__init__(name=f"colorizer_{network.name}", dtype="float32")
        quiet.settle()
        self.network = network
        self.accelerated = accelerate
        self._run = self._faster(network)
        if isinstance(convention, str) and convention not in color.CONVENTIONS:
            known = color.CONVENTIONS
            raise InputError(
                f"There is no convention {convention!r}{near_match(convention, known)}: the conventions are {', '.join(known)}."
            )
        self.convention = color.CONVENTIONS[convention] if isinstance(convention, str) else convention
        if not isinstance(self.convention, color.LabConvention | color.RgbConvention):
            raise InputError(f"{convention!r} is not a convention: give a name, or a convention of colorize_lib.color.")
        self.channels = channels
        self._predict_ab = kernels.compiled_when_repeated(lambda rgb: self.predict_color(rgb)[0])

    @classmethod
    def from_name(cls, name, *, convention=None, channels=None, **options):
        """The registered network `name`, built with `options`, with its own convention unless another one is given."""
        return cls(models.build(name, **options), convention or models.entry(name).convention, channels)

    def settings(self):
        return {"convention": self.convention.name, "channels": self.channels}

    @property
    def input_size(self):
        """(height, width) at which the network sees photos; `FREE_SIZE` for a network that takes any size."""
        return tuple(side or FREE_SIZE for side in self.network.input_shape[1:3])

    def _faster(self, network):
        """`network` as a function of inputs and `training`: Keras would count and save the variables of a second model again."""
        faster = accelerate(network) if self.accelerated else network
        return lambda inputs, training=False: faster(inputs, training=training)

    def compile(self, optimizer="rmsprop", *arguments, **named):
        """Like `keras.Model.compile`; a plain `keras.optimizers.Adam` is accelerated."""
        super().compile(self._faster_optimizer(optimizer), *arguments, **named)

    def _faster_optimizer(self, optimizer):
        optimizer = keras.optimizers.get(optimizer)
        return accelerate_optimizer(optimizer) if self.accelerated else optimizer

    def get_config(self):
        raise InputError(
            f"A {type(self).__name__} cannot be saved as a whole: save its network by network.save(path), or weights by "
            "save_weights(path)."
        )

    def fit(self, x=None, *arguments, validation_data=None, **named):
        """Like Keras' `fit`; RGB must be as `color.sure_rgb` accepts them."""
        if isinstance(validation_data, tuple):
            validation_data = (_sure(validation_data[0]), *validation_data[1:])
        return super().fit(_sure(x), *arguments, validation_data=_sure(validation_data), **named)

    def evaluate(self, x=None, *arguments, **named):
        """Like Keras' `evaluate`; RGB must be as `color.sure_rgb` accepts them."""
        return super().evaluate(_sure(x), *arguments, **named)

    def predict(self, x, *arguments, **named):
        """Like Keras' `predict`; RGB must be as `color.sure_rgb` accepts them."""
        return super().predict(_sure(x), *arguments, **named)

    def call(self, rgb, training=False):
        inputs, target = self.convention.encode(rgb)
        if self.channels is not None:
            target = ops.take(target, self.channels, axis=-1)
        return {"prediction": self._run(inputs, training), "target": target}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y_pred["target"], y_pred["prediction"], sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y_pred["target"], y_pred["prediction"], sample_weight)

    def predict_color(self, rgb):
        """Predict the colour of a batch from its lightness or gray alone.

        Args:
            rgb: (batch, size, size, 3), uint8 or float in [0, 1].

        Returns:
            Predicted ab, (batch, size, size, 2) in Lab units, and RGB, (batch, size, size, 3) in [0, 1], both float32.
        """
        rgb = ops.convert_to_tensor(rgb)
        lightness = color.rgb_to_lab(rgb)[..., :1]
        prediction = self._run(self.convention.network_input(lightness, rgb))
        return self.convention.ab(prediction), self.convention.decode(lightness, prediction)

    def predict_ab(self, photo):
        """The predicted colour of a photo at the network's input size: (size, size, 2) float32 in Lab units."""
        return ops.convert_to_numpy(self._predict_ab(self.resized(photo)))[0]

    def resized(self, photo):
        """A photo as a batch of one image of the network's input size: (1, size, size, 3) uint8."""
        image = Image.fromarray(to_eight_bits(_pixels(photo))).convert("RGB")
        height, width = self.input_size
        # For very large photos the filter would need more memory than the photo itself.
        gap = 3.0 if max(image.width / width, image.height / height) > 256 else None
        return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=gap))[None]

    def colorize(self, photo, saturation=1.0, ab=None):
        """Colorize a photo at its own resolution.

        The network sees the photo resized to its input size. The predicted ab is enlarged, along the edges of the photo's
        lightness if the attribute `guided` is true (`color.guided_filter`), and joined with the photo's own L.

        Args:
            photo: path of an image file, `PIL.Image.Image` of any mode, or array (height, width[, 1 or 3]): uint8, uint16, other
                integers of 0 to 255, or float of 0 to 1.
            saturation: factor on the predicted ab.
            ab: float32 (h, w, 2), the photo's colour from `predict_ab`; None: predict it.

        Returns:
            RGB array (height, width, 3), upright: uint16 for a uint16 array, else uint8.

        Raises:
            InputError: not an image, or one that cannot be decoded.
        """
        pixels = _pixels(photo)
        ab = saturation * (self.predict_ab(pixels) if ab is None else ab)
        maps = _guided(pixels, ab) if self.guided else ab
        maps = [Image.fromarray(values) for values in np.moveaxis(maps, -1, 0).copy()]
        height, width = pixels.shape[:2]
        result = np.empty((height, width, 3), pixels.dtype)
        columns = min(width, STRIP_PIXELS)
        rows = max(1, STRIP_PIXELS // columns)
        down, right = maps[0].height / height, maps[0].width / width
        for top in range(0, height, rows):
            for left in range(0, width, columns):
                tile = pixels[top : top + rows, left : left + columns]
                bottom, end = top + tile.shape[0], left + tile.shape[1]
                # The filter reaches beyond the box into the rest of the maps: tiles have no seams.
                box = (left * right, top * down, end * right, bottom * down)
                place = tile.shape[1::-1], Image.Resampling.BICUBIC, box
                colour = np.stack([values.resize(*place) for values in maps], axis=-1)
                result[top:bottom, left:end] = _with_colour(tile, colour)
        return result


def _guided(pixels, ab):
    """`guided_filter.coefficients` of a photo's `_pixels` and ab (h, w, 2), at the size at which they are fitted."""
    image = Image.fromarray(to_eight_bits(pixels)).convert("L")
    factor = min(1, GUIDE_SIDE / max(image.size))
    size = tuple(max(1, round(side * factor)) for side in image.size)
    gray = np.asarray(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))
    lightness = ops.convert_to_numpy(color.lightness(np.repeat(gray[..., None], 3, axis=-1)))[..., 0]
    channels = [Image.fromarray(ab[..., channel]).resize(size, Image.Resampling.BICUBIC) for channel in range(2)]
    return guided_filter.coefficients(lightness, np.stack(channels, axis=-1), GUIDE_RADIUS, GUIDE_EPSILON)


def _with_colour(pixels, maps):
    """Colour pixels, uint8 or uint16 (h, w[, 3]), by ab (h, w, 2) or maps of `_guided` (h, w, 4); the result has their dtype."""
    deep = pixels.dtype == np.uint16
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    rows = rgb.reshape(-1, 3) / np.float32(65535) if deep else rgb.reshape(-1, 3)
    found = kernels.by_blocks(_joined, STRIP_PIXELS, rows, maps.reshape(-1, maps.shape[-1]))
    return (np.round(found * 65535).astype(np.uint16) if deep else found).reshape(rgb.shape)


def _joined(rgb, maps):
    """RGB (n, 3), uint8 or float in [0, 1], with the colour of ab (n, 2) or of slopes and offsets (n, 4)."""
    lightness = color.lightness(rgb)
    ab = maps if maps.shape[-1] == 2 else maps[..., :2] * lightness + maps[..., 2:]
    joined = color.with_ab(lightness, ab)  # clipped to [0, 1]
    return color.to_uint8(joined) if ops.dtype(rgb) == "uint8" else joined


def _sure(x):
    """`color.sure_rgb` of an array or tensor; anything else is returned as it is, a `tf.data.Dataset` after a look at a batch."""
    if hasattr(x, "as_numpy_iterator"):  # Keras' own, of a folder, has floats of 0 to 255
        for batch in x.take(1).as_numpy_iterator():
            _sure(batch[0] if isinstance(batch, tuple) else batch)
        return x
    x = ops.convert_to_numpy(x) if ops.is_tensor(x) else x
    return color.sure_rgb(x) if isinstance(x, np.ndarray) else x


def _pixels(photo):
    """A path, `PIL.Image.Image` or array as pixels in sRGB: uint8 or uint16, (height, width) or (height, width, 3)."""
    if isinstance(photo, Image.Image):
        return np.asarray(upright(photo))
    if isinstance(photo, str | Path):
        with files.disk_errors(photo, "read"):
            try:
                return decode(photo)
            except InputError as error:
                raise InputError(f"Cannot colorize {photo}: {error}.") from error
    array = np.asarray(photo)
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3)):
        raise InputError(
            f"Cannot colorize an array of shape {array.shape}: give (height, width) or (height, width, 3), such as uint8 RGB."
        )
    pixels = array if array.dtype == np.uint16 else color.sure_rgb(array)
    if pixels.dtype.kind == "f":
        pixels = np.round(pixels.clip(0, 1) * 255).astype(np.uint8)
    return pixels[..., 0] if array.shape[2:] == (1,) else pixels


def describe(model):
    """A dictionary of plain values from which a `Colorizer` can be built again; None if its network has no name."""
    recipe = getattr(model.network, "recipe", None) if isinstance(model, Colorizer) else None
    if recipe is None or color.CONVENTIONS.get(model.convention.name) != model.convention:
        return None
    return {**json.loads(recipe), "convention": model.convention.name, "channels": model.channels}


def load_weights(network, path):
    """Load the weights of a `.weights.h5` or `.keras` file into a network.

    From a `.keras` file only the weights are read, not the description of the model, so that no code in it can run.

    Raises:
        InputError: the file is missing, damaged, or of another network, or its weights are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There are no weights in {path}: check the name, or train the network.")
    if not path.name.endswith((".weights.h5", ".keras")):
        raise InputError(f"{path} is not a file of weights: give one whose name ends with .weights.h5 or .keras.")
    try:
        _check_unpacked_size(path, network)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error says enough
            network.load_weights(path)
    except InputError:
        raise
    except Exception as error:  # a damaged file can fail in any part of the readers of zip and HDF5
        raise InputError(
            f"The weights in {path} do not fit the network {network.name!r}, or are damaged ({_misfit(error)}): give the file of "
            "this network, built with the same options."
        ) from error
    for variable in network.weights:
        if not np.isfinite(ops.convert_to_numpy(variable)).all():
            raise InputError(
                f"The weights in {path} are not finite at {variable.path}: they are damaged, get them again."
            )


def _check_unpacked_size(path, network):
    """Raise `InputError` if the arrays of a file are far larger than the network's: both formats can be compressed strongly."""
    # Files may also hold an optimizer's state.
    most = 8 * sum(math.prod(variable.shape) * 4 for variable in network.weights) + (64 << 20)
    with contextlib.ExitStack() as stack:
        file, total = path, 0
        if path.suffix == ".keras":
            archive = stack.enter_context(zipfile.ZipFile(path))
            total = sum(member.file_size for member in archive.infolist())
            file = io.BytesIO(archive.read("model.weights.h5")) if total <= most else None
        if file is not None:
            sizes = []
            weights = stack.enter_context(h5py.File(file))
            weights.visititems(lambda _, found: sizes.append(getattr(found, "nbytes", 0)))
            total = sum(sizes)
    if total > most:
        raise InputError(
            f"The weights in {path} unpack to {total / 1e6:,.0f} MB, far more than the network {network.name!r} has: get the "
            "file of this network."
        )


def _misfit(error):
    """Keras' message on weights that do not fit, shortened."""
    text = reason(error, 2000)
    if found := re.search(r"variable\.shape=(\(.*?\)), Received: value\.shape=(\(.*?\))\. .*?path=([^,]*),", text):
        return f"{found[3]} has shape {found[1]} in the network and {found[2]} in the file"
    if found := re.search(r"Layer '(.*?)' expected (\d+) variables, but received (\d+)", text):
        return f"layer {found[1]} has {found[2]} variables in the network and {found[3]} in the file"
    return reason(error)


def ensemble(name, first, second):
    """A network that joins the outputs of two networks with the same input, such as PolychromifyA and PolychromifyB (Fig. 3)."""
    inputs = keras.Input(first.input_shape[1:], name="lightness")
    return keras.Model(inputs, ops.concatenate([first(inputs), second(inputs)], axis=-1), name=name)
