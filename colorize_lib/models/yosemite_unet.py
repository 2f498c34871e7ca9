"""U-Net of Acharya and Pokhrel, "Coloring of Gray Scale Image using U-net Architecture", Tribhuvan University.

The report (section 3.1, Fig. 2) prints no listing. It describes six 3×3 convolutions of stride 2 with LeakyReLU on the way down
and six with ReLU on the way up, of which the last has a tanh instead; the number of features doubles on the way down and halves on
the way up, and encoder features are concatenated to the decoder's. It leaves open, and this module chooses:

- Widths: doubling from 64, capped at 512 as in the U-Net of pix2pix; mirrored on the way up.
- Skips: the first five steps up are joined with the encoder output of their resolution. The sixth, at full resolution, where
  the encoder has no output, is the output layer.
- LeakyReLU's slope is 0.3, Keras' default. There is no normalization and no dropout, because the report mentions neither.
"""

import keras
from keras import layers

from colorize_lib.errors import InputError
from colorize_lib.models import register
from colorize_lib.models.sizes import require_size, scaled

FILTERS = (64, 128, 256, 512, 512, 512)
CHANNELS = {"rgb": 3, "ab": 2}


def _upsample(x, filters, name, **options):
    x = layers.UpSampling2D(2, name=f"{name}_upsample")(x)
    return layers.Conv2D(filters, 3, padding="same", name=f"{name}_conv", **options)(x)


def _transpose(x, filters, name, **options):
    options |= dict(padding="same", name=f"{name}_conv")
    return layers.Conv2DTranspose(filters, 3, 2, **options)(x)


DECODERS = {"upsample": _upsample, "transpose": _transpose}


@register("yosemite_unet", convention="yosemite", paper="unet")
def yosemite_unet(size=256, width=1.0, decoder="upsample", target="rgb"):
    """The report's only network (section 3.1). 16,448,835 parameters for RGB,
    16,447,682 for ab.

    (size, size, 1), gray in [-1, 1] → (size, size, 3), RGB scaled by
    `CONVENTIONS["yosemite"]`, in (-1, 1) through a tanh. For ab: (size, size, 1), L in
    [-1, 1] → (size, size, 2), in (-1, 1), both scaled by `CONVENTIONS["kth"]`.

    Args:
        size: a multiple of 64; the paper's is 256.
        width: factor on the filters.
        decoder: "upsample" (section 3.1.2: nearest-neighbour upsampling, then
            convolution) or "transpose" (section 3.1: transposed convolutions). Both have
            the same number of parameters.
        target: "rgb", or "ab", which the report leaves to future work (section 6).

    Raises:
        InputError: impossible size or width; unknown decoder or target.
    """
    require_size("yosemite_unet", size, 64)
    if decoder not in DECODERS or target not in CHANNELS:
        raise InputError(
            f"yosemite_unet takes decoder {' or '.join(DECODERS)} "
            f"and target {' or '.join(CHANNELS)}, not {decoder!r} and {target!r}."
        )
    step_up = DECODERS[decoder]
    x = inputs = keras.Input((size, size, 1), name="gray")
    skips = []
    for i, filters in enumerate(FILTERS, 1):
        options = dict(padding="same", name=f"down{i}_conv")
        x = layers.Conv2D(scaled(filters, width), 3, 2, **options)(x)
        x = layers.LeakyReLU(0.3, name=f"down{i}_relu")(x)
        skips.append(x)
    for i, skip in enumerate(reversed(skips[:-1]), 1):
        x = step_up(x, skip.shape[-1], f"up{i}", activation="relu")
        x = layers.Concatenate(name=f"up{i}_skip")([x, skip])
    # tanh in float32: bfloat16 is coarser than the 2/255 steps of RGB.
    outputs = step_up(x, CHANNELS[target], "up6", activation="tanh", dtype="float32")
    return keras.Model(inputs, outputs, name="yosemite_unet")
