"""A `keras.Model` around a network and a Lab convention: uint8 RGB in, trained with plain `fit`.

The conversion from RGB to the network's input and target runs on the device, in the compiled step, so that datasets stay
uint8 RGB and training, scoring and display share one colour path.
"""

import keras
import numpy as np
from keras import ops

from colorize_lib import color, models

# Rows of a photo that are turned into RGB at once: bounds the memory for photos of any size.
STRIP_PIXELS = 1 << 20


class Colorizer(keras.Model):
    """Trains and applies a network that predicts colour from gray.

    `fit`, `evaluate` and `predict` take batches of RGB (batch, size, size, 3), uint8; losses and metrics given to `compile` see
    (target, prediction) in the convention's scaling. Calling the model returns the dictionary of both.

    Args:
        network: functional model from `colorize_lib.models.build`.
        convention: key of `color.CONVENTIONS`, or a convention.
        channels: which channels of the target the network predicts; None: all of them.
    """

    def __init__(self, network, convention, channels=None):
        super().__init__(name=f"colorizer_{network.name}", dtype="float32")
        self.network = network
        self.convention = color.CONVENTIONS[convention] if isinstance(convention, str) else convention
        self.channels = channels

    @classmethod
    def from_name(cls, name, *, channels=None, **options):
        """The registered network `name`, built with `options`, under its own convention."""
        return cls(models.build(name, **options), models.entry(name).convention, channels)

    def call(self, rgb, training=False):
        inputs, target = self.convention.encode(rgb)
        if self.channels is not None:
            target = ops.take(target, self.channels, axis=-1)
        return {"prediction": self.network(inputs, training=training), "target": target}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y_pred["target"], y_pred["prediction"], sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y_pred["target"], y_pred["prediction"], sample_weight)

    def predict_color(self, rgb):
        """Colour of a batch, from its lightness or gray alone.

        Args:
            rgb: (batch, size, size, 3), uint8 or float in [0, 1].

        Returns:
            Predicted ab, (batch, size, size, 2) in Lab units, and RGB, (batch, size, size, 3) in [0, 1], both float32.
        """
        rgb = ops.convert_to_tensor(rgb)
        lightness = color.rgb_to_lab(rgb)[..., :1]
        prediction = self.network(self.convention.network_input(lightness, rgb), training=False)
        return self.convention.ab(prediction), self.convention.decode(lightness, prediction)

    def colorize(self, photo, saturation=1.0):
        """Colorize a photo at its own resolution.

        The network sees the photo resized to its input size; the predicted ab is enlarged and joined with the photo's own L.

        Args:
            photo: `PIL.Image.Image` of any mode, or uint8 array (height, width), (height, width, 1, 3 or 4).
            saturation: factor on the predicted ab.

        Returns:
            uint8 RGB array (height, width, 3).
        """
        from PIL import Image

        image = photo if isinstance(photo, Image.Image) else Image.fromarray(np.squeeze(np.asarray(photo, "uint8")))
        image = image.convert("RGB")
        size = self.network.input_shape[1:3]
        small = np.asarray(image.resize(size[::-1], Image.Resampling.LANCZOS))
        ab = saturation * ops.convert_to_numpy(self.predict_color(small[None])[0])[0]
        ab = [np.asarray(Image.fromarray(ab[..., i]).resize(image.size, Image.Resampling.BICUBIC)) for i in range(2)]
        rgb = np.asarray(image)
        result = np.empty_like(rgb)
        rows = max(1, STRIP_PIXELS // image.width)
        for start in range(0, image.height, rows):
            strip = slice(start, start + rows)
            lightness = color.rgb_to_lab(rgb[strip])[..., :1]
            lab = ops.concatenate([lightness, np.stack([channel[strip] for channel in ab], axis=-1)], axis=-1)
            result[strip] = ops.convert_to_numpy(color.to_uint8(color.lab_to_rgb(lab)))
        return result


def ensemble(name, first, second):
    """One network that joins the outputs of two that see the same input, such as PolychromifyA and PolychromifyB (Fig. 3)."""
    inputs = keras.Input(first.input_shape[1:], name="lightness")
    return keras.Model(inputs, ops.concatenate([first(inputs), second(inputs)], axis=-1), name=name)
