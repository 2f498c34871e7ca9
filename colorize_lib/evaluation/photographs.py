"""How close colorized photographs are to the truth, and whether they have the same colours.

Photographs may differ in size; images are uint8 RGB (height, width, 3). ΔE2000 is the distance to the true colours, pixel by
pixel; it favours gray over a plausible colour in the wrong place. Shares of hues tell whether there is as much green, blue and
red as in the truth, wherever they are, and not brown everywhere.
"""

import numpy as np
from keras import ops

from colorize_lib import color
from colorize_lib.color import metrics
from colorize_lib.evaluation.evaluate import HUES


def without_colour(image):
    """The image without its colour: its L alone, as RGB."""
    lightness = color.lightness(image)
    no_colour = ops.zeros((*lightness.shape[:-1], 2))
    return ops.convert_to_numpy(color.to_uint8(color.with_ab(lightness, no_colour)))


def table(true_lab, lab):
    """The table of `compare` for a batch of one size: truths and results in Lab, (batch, height, width, 3)."""
    import pandas as pd

    gray = ops.concatenate([true_lab[..., :1], ops.zeros_like(true_lab[..., 1:])], axis=-1)
    found = {
        "pixels": np.full(len(lab), lab.shape[1] * lab.shape[2]),
        "delta_e2000": metrics.delta_e2000(true_lab, lab),
        "gray_delta_e2000": metrics.delta_e2000(true_lab, gray),
    }
    for prefix, values in (("", lab), ("true_", true_lab)):
        found[f"{prefix}chroma"] = metrics.chroma(values)
        shares = ops.convert_to_numpy(metrics.hue_shares(values))
        found |= {f"{prefix}{hue}": shares[:, i] for i, hue in enumerate(HUES)}
    return pd.DataFrame({name: ops.convert_to_numpy(values).astype(float) for name, values in found.items()})


def compare(truths, results):
    """Compare each result with its truth.

    Args:
        truths, results: sequences of images; a result has the size of its truth.

    Returns:
        pandas DataFrame, one row a photograph: `pixels`; `delta_e2000` and, for the photograph without colour,
        `gray_delta_e2000`; `chroma` and the shares of `HUES` of the result, and of the truth as `true_…`.
    """
    import pandas as pd

    rows = [
        table(color.rgb_to_lab(truth[None]), color.rgb_to_lab(result[None]))
        for truth, result in zip(truths, results, strict=True)
    ]
    return pd.concat(rows, ignore_index=True)


def summary(table):
    """Summarize a table of `compare` in one dictionary.

    Returns:
        `delta_e2000` and `gray_delta_e2000`, means over the photographs; `nearer_than_gray`, the share of photographs whose
        ΔE2000 is below that of gray; `chroma_share`, mean chroma over the truth's; the shares of `HUES` among all pixels, and the
        truth's as `true_…`; `hue_distance`, the sum of the four absolute differences of these shares in percentage points.
    """
    shares = {
        name: float(np.average(table[name], weights=table["pixels"]))
        for name in (*HUES, *(f"true_{hue}" for hue in HUES))
    }
    return {
        "photographs": len(table),
        "delta_e2000": float(table["delta_e2000"].mean()),
        "gray_delta_e2000": float(table["gray_delta_e2000"].mean()),
        "nearer_than_gray": float((table["delta_e2000"] < table["gray_delta_e2000"]).mean()),
        "chroma_share": float(table["chroma"].mean() / table["true_chroma"].mean()),
        **shares,
        "hue_distance": 100 * sum(abs(shares[hue] - shares[f"true_{hue}"]) for hue in HUES),
    }


def edge_delta_e2000(truth, result, share=0.1):
    """Mean ΔE2000 of the pixels at the strongest edges of the truth's lightness, where enlarged colour bleeds.

    Args:
        truth, result: images of one size.
        share: share of the pixels, those with the largest gradient of L; they are widened by two pixels to each side.
    """
    from scipy import ndimage

    true_lab, lab = (ops.convert_to_numpy(color.rgb_to_lab(image)) for image in (truth, result))
    slope = np.hypot(*np.gradient(ndimage.gaussian_filter(true_lab[..., 0], 1)))
    near = ndimage.binary_dilation(slope > np.quantile(slope, 1 - share), iterations=2)
    pixels = [values[near][None, None] for values in (true_lab, lab)]
    return float(metrics.delta_e2000(*pixels)[0])
