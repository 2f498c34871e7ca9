"""Networks of plain Keras layers, computed by faster layers."""

from collections import Counter

import keras
from keras.src.models.functional import Functional

from colorize_lib.acceleration import kernels, layers


def accelerate(network):
    """A network that gives the same results as `network` and trains faster.

    Both share their variables, so that weights which one learns or loads are also the other's. Layers keep their names and
    their order, and files of weights fit both; outputs differ only by rounding. Save, load and print `network`; train and apply
    the result, in which an `UpSampling2D` or a `ZeroPadding2D` may be missing, because a convolution took it over.

    Args:
        network: functional or sequential `keras.Model`, built. Layers without a faster way are kept as they are. Models within the
            network are accelerated as well.

    Returns:
        An uncompiled functional `keras.Model`; or `network` itself if it is a subclassed model, whose computation is unknown, or if
        COLORIZE_ACCELERATE=0 is set.
    """
    if not kernels.enabled() or type(network) not in (Functional, keras.Sequential) or not network.built:
        return network
    ends = (
        (network.inputs[0], network.outputs[0])
        if type(network) is keras.Sequential
        else (network.input, network.output)
    )
    # A new model of the same layers: `clone_model` compiles a compiled model, and does not accept a `Sequential` with `call`.
    plain = keras.Model(*ends, name=network.name)
    uses = Counter(id(node.operation) for nodes in plain._nodes_by_depth.values() for node in nodes)
    twins = {}

    def call(layer, *arguments, **options):
        """Call the twin of `layer`; a layer that is used twice has only one."""
        factor, padded = 1, False
        if arguments and uses[id(layer)] == 1:
            if taken_over := layers.upsampling_before(layer, arguments[0]):
                source, factor = taken_over
                arguments = (source, *arguments[1:])
            elif (source := layers.padding_before(layer, arguments[0])) is not None:
                padded, arguments = True, (source, *arguments[1:])
        if id(layer) not in twins:
            twins[id(layer)] = (
                accelerate(layer) if isinstance(layer, keras.Model) else layers.twin(layer, factor, padded)
            )
        return twins[id(layer)](*arguments, **options)

    return keras.models.clone_model(plain, clone_function=lambda layer: layer, call_function=call)
