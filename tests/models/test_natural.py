import numpy as np
import pytest

from colorize_lib import models
from colorize_lib.color.bins import common_bins
from colorize_lib.errors import InputError
from colorize_lib.models.natural import classifier


def test_output():
    network = models.build("natural")
    assert network.output_shape == (None, 16, 16, len(common_bins()))
    assert models.entry("natural").paper is None


def test_the_weights_are_the_same_for_every_size():
    small, large = (models.build("natural", size=size, width=0.1) for size in (64, 96))
    large.set_weights(small.get_weights())
    assert large.output_shape[1:3] == (24, 24)
    with pytest.raises(InputError, match="multiple of 32"):
        models.build("natural", size=80)


def test_the_last_layer_takes_the_weights_of_the_loss_back():
    network = models.build("natural", size=32, width=0.1)
    log_weights = np.linspace(-1, 1, len(common_bins())).astype("float32")
    network.get_layer("rebalancing").moving_mean.assign(log_weights)
    lightness = np.random.default_rng(0).normal(0, 0.3, (2, 32, 32, 1)).astype("float32")
    difference = classifier(network)(lightness) - network(lightness)
    np.testing.assert_allclose(difference, np.broadcast_to(log_weights, difference.shape), atol=1e-4)
    rebalancing = network.get_layer("rebalancing")
    rebalancing(
        np.ones((2, 8, 8, len(log_weights)), "float32"), training=True
    )  # the weights are no statistics of a batch
    np.testing.assert_array_equal(np.asarray(rebalancing.moving_mean), log_weights)
