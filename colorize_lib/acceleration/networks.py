"""A network of plain Keras layers, computed by faster ones."""

from collections import Counter

import keras
from keras.src.models.functional import Functional

from colorize_lib.acceleration import kernels, layers


def accelerate(network):
    """A network equal to `network` that trains faster.

    Both share their variables: what one learns or loads, the other has. Layers keep their names and their order, and weights files
    fit both; outputs differ by rounding only. An `UpSampling2D` that a convolution takes over is missing from the result. So save,
    load and print `network`; train and apply the result.

    Args:
        network: functional or sequential `keras.Model`, built. What has no faster way, such as layers of other classes, is left as
            it is. Models within the network are accelerated as well.

    Returns:
        An uncompiled functional `keras.Model`; or `network` itself where it is a subclassed model, whose computation is unknown, or
        where COLORIZE_ACCELERATE=0 is set.
    """
    if not kernels.enabled() or type(network) not in (Functional, keras.Sequential) or not network.built:
        return network
    ends = (
        (network.inputs[0], network.outputs[0])
        if type(network) is keras.Sequential
        else (network.input, network.output)
    )
    # A new model of the same layers, because `clone_model` would compile what is compiled, and takes no `Sequential` with `call`.
    plain = keras.Model(*ends, name=network.name)
    uses = Counter(id(node.operation) for nodes in plain._nodes_by_depth.values() for node in nodes)
    twins = {}

    def call(layer, *arguments, **options):
        """Calls the twin of `layer`, of which there is one even where a network uses a layer twice."""
        factor = 1
        if arguments and uses[id(layer)] == 1 and (taken_over := layers.upsampling_before(layer, arguments[0])):
            source, factor = taken_over
            arguments = (source, *arguments[1:])
        if id(layer) not in twins:
            twins[id(layer)] = accelerate(layer) if isinstance(layer, keras.Model) else layers.twin(layer, factor)
        return twins[id(layer)](*arguments, **options)

    return keras.models.clone_model(plain, clone_function=lambda layer: layer, call_function=call)
