"""The papers' networks in PyTorch, layer by layer as the Keras networks say.

What a PyTorch user would write: padding within convolutions, activations in place, dense layers at each position as 1×1
convolutions. "same" padding of a strided 3×3 convolution is one pixel all round, where TensorFlow's is one pixel right and
below: as much work. Parameters are as many as Keras'.
"""

import torch
from torch import nn
from torch.nn import functional


class _Join(nn.Module):
    def forward(self, *inputs):
        return torch.cat(inputs, 1)


class _Add(nn.Module):
    def forward(self, *inputs):
        return sum(inputs[1:], inputs[0])


class _FrozenBatchNorm(nn.BatchNorm2d):
    """Statistics that stay 0 and 1."""

    def forward(self, x):
        return functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


_ACTIVATIONS = {"relu": lambda: nn.ReLU(inplace=True), "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def _activated(module, layer):
    name = layer.activation.__name__
    return module if name == "linear" else nn.Sequential(module, _ACTIVATIONS[name]())


def _convolution(layer, shape, padding):
    (kernel, _), (stride, _), bias = layer.kernel_size, layer.strides, layer.use_bias
    if layer.padding == "same":
        padding = "same" if stride == 1 else kernel // 2 - (kernel % 2 == 0)
    return _activated(nn.Conv2d(shape[-1], layer.filters, kernel, stride, padding, bias=bias), layer)


def _transposed(layer, shape, padding):
    (kernel, _), (stride, _) = layer.kernel_size, layer.strides
    padding = (kernel - stride + 1) // 2
    more = stride + 2 * padding - kernel  # output padding
    return _activated(nn.ConvTranspose2d(shape[-1], layer.filters, kernel, stride, padding, more), layer)


# Keras' class → function of (layer, shape of its first input in Keras' order, padding that came before).
_BUILDERS = {
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "Dense": lambda layer, shape, _: _activated(nn.Conv2d(shape[-1], layer.units, 1, bias=layer.use_bias), layer),
    "BatchNormalization": lambda layer, shape, _: (
        nn.BatchNorm2d(shape[-1], layer.epsilon, 1 - layer.momentum)
        if layer.trainable
        else _FrozenBatchNorm(shape[-1], layer.epsilon)
    ),
    "Dropout": lambda layer, shape, _: nn.Dropout(layer.rate),
    "ReLU": lambda layer, shape, _: nn.ReLU(inplace=True),
    "LeakyReLU": lambda layer, shape, _: nn.LeakyReLU(layer.negative_slope, inplace=True),
    "UpSampling2D": lambda layer, shape, _: nn.Upsample(scale_factor=layer.size[0]),
    "MaxPooling2D": lambda layer, shape, padding: nn.MaxPool2d(layer.pool_size, layer.strides, padding),
    "Concatenate": lambda layer, shape, _: _Join(),
    "Add": lambda layer, shape, _: _Add(),
}


class Network(nn.Module):
    """A functional Keras network, (batch, height, width, channels), as a PyTorch one, (batch, channels, height, width).

    Weights are PyTorch's own initial ones. A layer without counterpart is a KeyError.
    """

    def __init__(self, network):
        super().__init__()
        self._steps, padded = [], {}
        for layer in network.layers:
            sources = [tensor._keras_history.operation.name for tensor in _inputs(layer)]
            if type(layer).__name__ == "InputLayer":
                self._source = layer.name
            elif type(layer).__name__ == "ZeroPadding2D":
                padded[layer.name] = (sources[0], layer.padding[0][0])
            else:
                padding = 0
                if sources[0] in padded:
                    source, padding = padded[sources[0]]
                    sources = [source]
                module = _BUILDERS[type(layer).__name__](layer, _inputs(layer)[0].shape, padding)
                self.add_module(layer.name, module)
                self._steps.append((layer.name, sources))

    def forward(self, x):
        found = {self._source: x}
        for name, sources in self._steps:
            x = found[name] = getattr(self, name)(*(found[source] for source in sources))
        return x


def _inputs(layer):
    return layer.input if isinstance(layer.input, list) else [layer.input]
