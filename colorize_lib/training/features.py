"""Features of a frozen network, computed once and kept on disk.

A cache is two files in a folder: `NAME-KEY.npy` has the features, and `NAME-KEY.json`, written last, says what they were computed
from and how long that took. KEY is the SHA-256 of everything that the features depend on: the images, the network's weights, its
input size and precision, the colour convention, and the type of the stored numbers. Files that are no longer needed can be deleted.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from colorize_lib import color, files
from colorize_lib.dataset import Split
from colorize_lib.errors import InputError, reason
from colorize_lib.training.colorizer import Colorizer
from colorize_lib.training.data import Batches


@dataclass(frozen=True)
class Features:
    """`values`: (n, …) float16 or float32, mapped from the file `path`; `seconds`: how long computing them took."""

    values: np.ndarray
    path: Path
    seconds: float


def cached_features(network, images, folder, *, convention="miu", dtype="float16", batch_size=32):
    """Features of all `images`, read from `folder`, or computed in batches and written to it.

    Matos et al. 2020, section 4, compute the features of VGG16 once, image by image, and keep them in memory.

    Args:
        network: frozen model, (size, size, 1) → features, such as `models.build("vgg16_features")`.
        images: (n, size, size, 3) uint8 RGB, an array or `dataset.Images`; read batch by batch.
        folder: folder of the cache.
        convention: key of `color.CONVENTIONS`, which converts RGB to the network's input.
        dtype: "float16" or "float32"; 7×7×512 features take 49 or 98 kB an image.
        batch_size: number of images that are processed at once.

    Returns:
        `Features`.

    Raises:
        InputError: images of another size than the network's input, unknown dtype, or a disk that cannot be written.
    """
    if dtype not in ("float16", "float32"):
        raise InputError(f"Features are stored as float16 or float32, not {dtype}.")
    if tuple(images.shape[1:3]) != network.input_shape[1:3]:
        raise InputError(
            f"{network.name} takes images of {network.input_shape[1:3]}, not {tuple(images.shape[1:3])}: prepare them at that "
            "size, or build the network for theirs."
        )
    identity = {
        "network": network.name,
        "input_shape": list(network.input_shape[1:]),
        "precision": network.dtype_policy.name,
        "convention": convention,
        "dtype": dtype,
        "images": _sha256(images[start : start + batch_size] for start in range(0, len(images), batch_size)),
        "weights": _sha256(network.get_weights()),
    }
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
    path = Path(folder) / f"{network.name}-{key}.npy"
    record = path.with_suffix(".json")
    if record.exists() and path.exists():
        return _read(path, record, len(images))
    start = time.perf_counter()
    _write(path, network, images, color.CONVENTIONS[convention], dtype, batch_size)
    seconds = time.perf_counter() - start
    files.write_json(record, {**identity, "seconds": seconds})
    return _read(path, record, len(images))


def feature_batches(features, split, batch_size, seed=None):
    """`Batches` of (features, RGB) for `FeatureColorizer`.

    Args:
        features: `cached_features` of the images of `split`.
        split: `Split`; its images, (n, height, width, 3) uint8, may have another size than those of the features.
        batch_size, seed: see `data.Batches`.
    """
    return Batches(Split(features.values, split.images, split.files), batch_size, seed=seed, labels=True)


class FeatureColorizer(Colorizer):
    """A colorizer whose first part is frozen and has been applied already: `fit` takes (features, RGB) of `feature_batches`.

    On photos, it applies both parts. Only the second, the attribute `network`, is trained and saved.

    Args:
        backbone: frozen model, (height, width, 1) → features.
        decoder: model, features → prediction, (height, width, channels).
        convention: key of `color.CONVENTIONS`.
    """

    def __init__(self, backbone, decoder, convention="miu"):
        super().__init__(decoder, convention)
        # A function, because Keras would count, save and restore the weights of a layer.
        self._features = self._faster(backbone)
        self._input_size = backbone.input_shape[1:3]

    @property
    def input_size(self):
        return self._input_size

    def call(self, features, training=False):
        return {"prediction": self._run(features, training)}

    def _with_target(self, rgb, y_pred):
        return {"target": self.convention.encode(rgb)[1], "prediction": y_pred["prediction"]}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, None, self._with_target(y, y_pred), sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, None, self._with_target(y, y_pred), sample_weight)

    def predict_color(self, rgb):
        """Like `Colorizer.predict_color`, at the backbone's input size."""
        rgb = color.unit_rgb(rgb)
        lightness = color.rgb_to_lab(rgb)[..., :1]
        prediction = self._run(self._features(self.convention.network_input(lightness, rgb)))
        return self.convention.ab(prediction), self.convention.decode(lightness, prediction)


def _sha256(arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _write(path, network, images, convention, dtype, batch_size):
    shape = (len(images), *network.output_shape[1:])
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    # Written to a plain file: on a full disk that raises an error, while a memory map kills the process.
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(images), batch_size):
            inputs, _ = convention.encode(images[start : start + batch_size])
            file.write(np.ascontiguousarray(network.predict_on_batch(inputs), dtype))


def _read(path, record, count):
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if len(values) != count:
            raise ValueError("it has features of other images")
        return Features(values, path, float(files.read_json(record, "feature cache")["seconds"]))
    except Exception as error:  # damaged files can fail in any part of numpy's reader
        raise InputError(f"The feature cache {path} is damaged ({reason(error)}): delete it and run again.") from error
