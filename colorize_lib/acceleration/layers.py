"""Drop-in replacements of Keras' layers, with the same results from faster kernels where the backend has them.

An object of these classes is the *twin* of a plain layer: it shares all attributes of the plain layer, including variables,
name and `trainable`, so that nothing has to be kept in sync. The classes have the names of Keras' classes, by which Keras finds
the weights in a file.
"""

import keras
from keras import ops
from keras.src.backend.common.variables import AutocastScope

from colorize_lib.acceleration import kernels


class BatchNormalization(keras.layers.BatchNormalization):
    """Trains on images by TensorFlow's own kernel on a CPU: see `kernels.batch_normalization`."""

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable and mask is None and self._has_kernel(inputs)):
            return super().call(inputs, training=training, mask=mask)
        scale, offset = ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        x = ops.cast(inputs, self.compute_dtype)
        outputs, mean, variance = kernels.batch_normalization(x, scale, offset, self.epsilon)
        for statistic, found in ((self.moving_mean, mean), (self.moving_variance, variance)):
            statistic.assign(statistic * self.momentum + found * (1 - self.momentum))
        return outputs

    def _has_kernel(self, inputs):
        plain = self.scale and self.center and not self.renorm and not self.synchronized
        plain = plain and self.variable_dtype == "float32" and self.compute_dtype in ("float32", "bfloat16", "float16")
        return plain and self.axis in (-1, 3) and len(inputs.shape) == 4 and kernels.on_tensorflow_cpu(inputs)


class Conv2D(keras.layers.Conv2D):
    """A convolution after nearest-neighbour upsampling by the factor `upsampling`, computed on the smaller map.

    See `kernels.smaller_map`, and for a CPU `kernels.convolution`.
    """

    __slots__ = ("upsampling", "way")  # attributes that the plain layer must not see

    def call(self, inputs):
        if self.data_format != "channels_last":
            return super().call(inputs)
        outputs = _finished(self, self._convolved(inputs))
        # A kernel of 1×1 sees one pixel at a time, so its outputs can be copied instead of its inputs.
        return _upsampled(outputs, self.upsampling) if self.kernel_size == (1, 1) else outputs

    def _convolved(self, inputs):
        if self.upsampling > 1 and self.kernel_size != (1, 1):
            if kernels.smaller_map() and kernels.one_pass() and _is_known(inputs):
                with AutocastScope(None):  # the weights are summed before they are rounded
                    kernel = ops.cast(self.kernel, "float32")
                return kernels.upsampled_convolution(inputs, kernel, self.upsampling)
            inputs = _upsampled(inputs, self.upsampling)
        if _has_kernels(self, inputs):
            return kernels.convolution(inputs, ops.cast(self.kernel, inputs.dtype), self.strides, self.way)
        if self.way != self.padding:
            return ops.conv(inputs, self.kernel, padding=self.way, data_format=self.data_format)
        return self.convolution_op(inputs, self.kernel)

    def compute_output_shape(self, input_shape):
        if self.way != self.padding:
            return (*input_shape[:3], self.filters)
        if self.upsampling == 1:
            return super().compute_output_shape(input_shape)
        batch, height, width, channels = super().compute_output_shape(input_shape)
        return batch, *(extent and extent * self.upsampling for extent in (height, width)), channels


class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """For a CPU, see `kernels.transposed_convolution`."""

    def call(self, inputs):
        if self.data_format != "channels_last":
            return super().call(inputs)
        if self.output_padding is None and _has_kernels(self, inputs):
            size, kernel = self.compute_output_shape(inputs.shape)[1:3], ops.cast(self.kernel, inputs.dtype)
            outputs = kernels.transposed_convolution(inputs, kernel, size, self.strides, self.padding)
        else:
            outputs = ops.conv_transpose(
                inputs,
                self.kernel,
                strides=list(self.strides),
                padding=self.padding,
                output_padding=self.output_padding,
                dilation_rate=self.dilation_rate,
            )
        return _finished(self, outputs)


class Dense(keras.layers.Dense):
    """In bfloat16, the gradient of the bias keeps all terms: see `kernels.add_bias`."""

    def call(self, inputs, training=None):
        return _finished(self, ops.matmul(inputs, self.kernel))


class LeakyReLU(keras.layers.LeakyReLU):
    """On TensorFlow, the gradient does not read the input: see `kernels.leaky_relu`."""

    def call(self, inputs):
        if kernels.on_tensorflow(inputs) and self.negative_slope > 0:
            return kernels.leaky_relu(inputs, self.negative_slope)
        return super().call(inputs)


_TWINS = {kind.__base__: kind for kind in (BatchNormalization, Conv2D, Conv2DTranspose, Dense, LeakyReLU)}


def twin(layer, upsampling=1, padded=False):
    """A faster layer with all attributes of `layer`, or `layer` itself if there is none.

    Args:
        layer: layer or operation of a functional model.
        upsampling: factor of the nearest-neighbour upsampling that a convolution takes over from the previous layer.
        padded: whether a convolution takes over the zeros that the previous layer adds.
    """
    if not _has_twin(layer):
        return layer
    faster = share(_TWINS[type(layer)], layer)
    if isinstance(faster, Conv2D):
        faster.upsampling = upsampling
        faster.way = "same" if padded else layer.padding
    return faster


def _has_twin(layer):
    return type(layer) in _TWINS and layer.activity_regularizer is None and layer.quantization_mode is None


def _before(layer, inputs):
    """The layer before a convolution that has a twin, else None."""
    convolution = type(layer) is keras.layers.Conv2D and _has_twin(layer)
    return inputs._keras_history.operation if convolution else None


def share(kind, original):
    """An object of class `kind` that shares all attributes with `original`, also when they change."""
    twin = object.__new__(kind)
    object.__setattr__(twin, "__dict__", original.__dict__)
    return twin


def upsampling_before(layer, inputs):
    """The nearest-neighbour `UpSampling2D` that a convolution can take over.

    Args:
        layer: any layer.
        inputs: its symbolic input.

    Returns:
        The input of the `UpSampling2D` and its factor, or None if there is none, or if `layer` is not a convolution with
        strides of 1 and "same" padding.
    """
    before = _before(layer, inputs)
    if type(before) is not keras.layers.UpSampling2D:
        return None
    kind = layer.strides, layer.padding, layer.data_format, before.data_format, before.interpolation
    if kind != ((1, 1), "same", "channels_last", "channels_last", "nearest") or before.size[0] != before.size[1]:
        return None
    if (layer.dilation_rate, layer.groups) != ((1, 1), 1) or not _is_of_keras(layer.activation):
        return None
    source = before._inbound_nodes[inputs._keras_history.node_index].input_tensors[0]
    # An upsampling that rounds to a lower precision than the convolution's must stay.
    return (source, before.size[0]) if source.dtype == inputs.dtype else None


def padding_before(layer, inputs):
    """The input of a `ZeroPadding2D` whose zeros are those of "same" padding, or None.

    A convolution with such zeros is faster, because the padded map is neither written nor read. `layer` must be a convolution with
    strides of 1: with larger ones, "same" puts the zeros elsewhere.

    Args:
        layer: any layer.
        inputs: its symbolic input.
    """
    before = _before(layer, inputs)
    if type(before) is not keras.layers.ZeroPadding2D:
        return None
    kind = layer.strides, layer.dilation_rate, layer.groups, layer.padding, layer.data_format, before.data_format
    if kind != ((1, 1), (1, 1), 1, "valid", "channels_last", "channels_last"):
        return None
    if before.padding != tuple((extent // 2, extent // 2) for extent in layer.kernel_size if extent % 2):
        return None
    return before._inbound_nodes[inputs._keras_history.node_index].input_tensors[0]


def _is_of_keras(activation):
    """Whether `activation` is one of Keras' own, which act on one pixel at a time."""
    return getattr(keras.activations, activation.__name__, None) is activation


def _finished(layer, outputs):
    """Bias and activation."""
    if layer.use_bias:
        bias = ops.cast(layer.bias, layer.compute_dtype)
        if layer.compute_dtype != "bfloat16":
            outputs = ops.add(outputs, bias)
        elif kernels.on_tensorflow_cpu(outputs):
            outputs = kernels.add_bias(outputs, bias)
        else:  # in float32, for the sum of the bias' gradient; XLA makes one pass of it
            outputs = ops.cast(ops.cast(outputs, "float32") + ops.cast(bias, "float32"), "bfloat16")
    return layer.activation(outputs)


def _upsampled(x, factor):
    return ops.repeat(ops.repeat(x, factor, axis=1), factor, axis=2) if factor > 1 else x


def _has_kernels(layer, inputs):
    """Whether `kernels` has a faster way for the convolution `layer`: on TensorFlow and a CPU, for maps of known size."""
    plain = layer.dilation_rate == (1, 1) and getattr(layer, "groups", 1) == 1
    return plain and _is_known(inputs) and kernels.tensorflow_cpu()


def _is_known(inputs):
    """Whether `inputs` is a tensor, not a symbolic one, of maps of known size."""
    return None not in inputs.shape[1:] and not isinstance(inputs, keras.KerasTensor)
