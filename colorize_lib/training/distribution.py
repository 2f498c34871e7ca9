"""Networks that predict a distribution over quantized colours for each pixel: training, and decoding to one colour.

Such a network maps its convention's input (size, size, 1) to logits (size / f, size / f, Q) over the Q bins of
`colorize_lib.color.bins`; f is 4 for `colornet_distribution` and for `models.zhang.classifier(eccv16)`. It is trained with the
prior of the training set:

    centres = bins.gamut_bins()
    weights = bins.rebalancing_weights(bins.color_prior(train.images, centres), centres)
    model = DistributionColorizer(network, "places", centres)
    model.compile(keras.optimizers.Adam(1e-3), loss=bins.BinCrossEntropy(centres, weights, "places"))
    model.fit(…)

A decoding is a function from logits (batch, h, w, Q), lightness (batch, h, w, 1) in [0, 100] at the logits' resolution, and the
centres (Q, 2) to ab (batch, h, w, 2). `model.decoded("mode")` is the same network with another decoding.

References: Zhang, Isola, Efros 2016, "Colorful Image Colorization", section 2; George 2022, "Model", "CNN+MRF Model".
"""

from functools import lru_cache

from keras import ops

from colorize_lib import color
from colorize_lib.color import bins, mrf
from colorize_lib.errors import InputError
from colorize_lib.training.colorizer import Colorizer


def _decoding(point):
    return lambda logits, lightness, centres: point(ops.softmax(logits), centres)


DECODINGS = {
    "mean": _decoding(bins.mean),
    "mode": _decoding(bins.mode),
    "annealed_mean": _decoding(bins.annealed_mean),
}


class RandomField:
    """Decoding by the Markov random field of `colorize_lib.color.mrf`, whose marginals `point` reduces to one colour.

    Args:
        point: function (marginals, centres) → ab; by default the most likely colour.
        **options: of `mrf.mean_field`: strength, sigma, truncation, sweeps.
    """

    def __init__(self, point=bins.mode, **options):
        self.point, self.options = point, options

    def __call__(self, logits, lightness, centres):
        marginals, _ = mrf.mean_field(logits, lightness, centres, from_logits=True, **self.options)
        return self.point(marginals, centres)


class DistributionColorizer(Colorizer):
    """A `Colorizer` whose network predicts logits over bins, at the images' size or a whole number of times smaller.

    The loss given to `compile` sees (target, logits), with the target at the images' size: `bins.BinCrossEntropy`.

    Args:
        network: (size, size, 1) → logits (size / f, size / f, Q).
        convention: key of `color.CONVENTIONS`, or a convention.
        centres: (Q, 2), ab of the bins.
        decoding: key of `DECODINGS`, or a function as described above, such as `RandomField()`.
        accelerate: see `Colorizer`.

    Raises:
        InputError: unknown decoding; a network whose output does not fit its input or the bins.
    """

    def __init__(self, network, convention, centres, decoding="annealed_mean", accelerate=True):
        super().__init__(network, convention, accelerate=accelerate)
        size, (rows, columns, count) = network.input_shape[1:3], network.output_shape[1:]
        fixed = None not in (*size, rows, columns)
        if not fixed or count != len(centres) or size[0] % rows or size[0] // rows * columns != size[1]:
            raise InputError(
                f"{network.name} maps {size} pixels to {(rows, columns)} distributions over {count} bins, and there are "
                f"{len(centres)} centres: build it with as many bins, at a fixed size that is a multiple of 8."
            )
        if isinstance(decoding, str) and decoding not in DECODINGS:
            raise InputError(f"There is no decoding {decoding!r}: the decodings are {', '.join(DECODINGS)}.")
        self.centres, self.factor = centres, size[0] // rows
        self.decode = DECODINGS[decoding] if isinstance(decoding, str) else decoding

    def decoded(self, decoding):
        """The same network, with shared weights, with another decoding."""
        return DistributionColorizer(self.network, self.convention, self.centres, decoding, self.accelerated)

    def distribution(self, rgb):
        """(batch, size, size, 3) RGB → logits (batch, h, w, Q), and mean L at their resolution, (batch, h, w, 1)."""
        rgb = ops.convert_to_tensor(rgb)
        lightness = color.rgb_to_lab(rgb)[..., :1]
        logits = self._run(self.convention.network_input(lightness, rgb))
        return logits, ops.average_pool(lightness, self.factor, self.factor)

    def predict_color(self, rgb):
        """Like `Colorizer.predict_color`. Colours are decoded at the logits' resolution and enlarged bilinearly."""
        logits, coarse = self.distribution(rgb)
        ab = self.decode(logits, coarse, self.centres)
        ab = ops.image.resize(ab, ops.shape(rgb)[1:3], interpolation="bilinear")
        return ab, color.with_ab(rgb, ab)


class Rebalanced:
    """Decoding of a network that was trained with a rebalanced loss: the annealed mean, with a share of the rebalancing removed.

    Args:
        log_weights: (Q,), the log of the bins' weights in the loss, which is already subtracted from the logits.
        taken_back: share of the rebalancing that is removed: with 1 likely colours win, with 0 rare colours win as often as the
            loss makes them.
        temperature: of the annealed mean, see `bins.annealed_mean`.
    """

    def __init__(self, log_weights, taken_back, temperature):
        self.log_weights, self.taken_back, self.temperature = log_weights, taken_back, temperature

    def __call__(self, logits, lightness, centres):
        logits = logits + (1 - self.taken_back) * self.log_weights
        return bins.mean(ops.softmax(logits / self.temperature), centres)


# `taken_back` and `temperature` at the careful and at the vivid end, and the default between them, chosen on validation
# photographs: see results/natural.
CAREFUL, VIVID = (0.75, 0.38), (0.0, 0.25)
DEFAULT_VIVID = 0.7


class VividColorizer(DistributionColorizer):
    """`DistributionColorizer` of a `models.natural`, whose decoding goes from careful to vivid.

    Args:
        network: a network of `models.natural`.
        vivid: from 0, careful, to 1, vivid; in between, both parameters of `Rebalanced` are interpolated linearly.
        ends: (taken back, temperature) of the careful end and of the vivid end.

    Raises:
        InputError: `vivid` out of range.
    """

    def __init__(self, network, vivid=DEFAULT_VIVID, ends=(CAREFUL, VIVID)):
        if not 0 <= vivid <= 1:
            raise InputError(f"vivid is {vivid}: it must be a number from 0, careful, to 1, vivid.")
        log_weights = network.get_layer("rebalancing").moving_mean  # the variable: weights may be loaded later
        chosen = [(1 - vivid) * low + vivid * high for low, high in zip(*ends, strict=True)]
        super().__init__(network, "zhang", bins.common_bins(), Rebalanced(log_weights, *chosen))
        self.vivid = vivid
        # Each new colorizer compiles its functions again, which takes far longer than a photograph.
        self._at = lru_cache(8)(lambda vivid: VividColorizer(network, vivid, ends))

    def at(self, vivid):
        """The same network, with shared weights, from careful (0) to vivid (1); None: this colorizer."""
        if vivid is None or vivid == self.vivid:
            return self
        found = self._at(float(vivid))
        found.guided = self.guided
        return found

    def predict_ab(self, photo, vivid=None):
        """Like `Colorizer.predict_ab`, from careful (0) to vivid (1); None: as this colorizer was made."""
        return super(VividColorizer, self.at(vivid)).predict_ab(photo)

    def colorize(self, photo, saturation=1.0, ab=None, vivid=None):
        """Like `Colorizer.colorize`, from careful (0) to vivid (1); None: as this colorizer was made."""
        return super(VividColorizer, self.at(vivid)).colorize(photo, saturation, ab)
