"""Keras' layers with identical results, computed by faster kernels where the backend has them."""

from keras import layers, ops

from colorize_lib.acceleration import kernels


class BatchNormalization(layers.BatchNormalization):
    """Keras' layer with its results, trained on images by TensorFlow's kernel on a CPU: see `kernels.batch_normalization`."""

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
        return plain and self.axis == -1 and len(inputs.shape) == 4 and kernels.on_tensorflow_cpu(inputs)


class Conv2D(layers.Conv2D):
    """Keras' layer with its results, and with nearest-neighbour upsampling of its input by the factor `upsampling` before it: the
    two layers that the papers have there, computed on the smaller map. On a CPU see `kernels.convolution`."""

    def __init__(self, *arguments, upsampling=1, **options):
        super().__init__(*arguments, **options)
        self.upsampling = upsampling
        kind = self.strides, self.padding, self.data_format
        if upsampling > 1 and kind != ((1, 1), "same", "channels_last"):
            raise ValueError("upsampling goes with strides of 1, same padding and channels last.")

    def call(self, inputs):
        if self.data_format != "channels_last":
            return super().call(inputs)
        outputs = _finished(self, self.convolution_op(inputs, self.kernel))
        # 1 × 1 weights see pixel by pixel, so that copies may be made afterwards.
        return _upsampled(outputs, self.upsampling) if self.kernel_size == (1, 1) else outputs

    def convolution_op(self, inputs, kernel):
        faster = _has_kernels(self, inputs)
        if self.upsampling > 1 and self.kernel_size != (1, 1):
            if faster and kernels.one_pass():
                return kernels.upsampled_convolution(inputs, ops.cast(kernel, inputs.dtype), self.upsampling)
            inputs = _upsampled(inputs, self.upsampling)
        if faster:
            return kernels.convolution(inputs, ops.cast(kernel, inputs.dtype), self.strides, self.padding)
        return super().convolution_op(inputs, kernel)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = super().compute_output_shape(input_shape)
        return batch, *(extent and extent * self.upsampling for extent in (height, width)), channels

    def get_config(self):
        return super().get_config() | {"upsampling": self.upsampling}


class Conv2DTranspose(layers.Conv2DTranspose):
    """Keras' layer with its results. On a CPU see `kernels.convolution`."""

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


class Dense(layers.Dense):
    """Keras' layer with its results, and in bfloat16 with a gradient of the bias that keeps all terms: see `kernels.add_bias`."""

    def call(self, inputs, training=None):
        return _finished(self, ops.matmul(inputs, self.kernel))


def _finished(layer, outputs):
    """Bias and activation."""
    if layer.use_bias:
        bias = ops.cast(layer.bias, layer.compute_dtype)
        if layer.compute_dtype != "bfloat16":
            outputs = ops.add(outputs, bias)
        elif kernels.on_tensorflow_cpu(outputs):
            outputs = kernels.add_bias(outputs, bias)
        else:  # in float32, so that the bias' gradient is summed up in it; XLA makes one pass of it
            outputs = ops.cast(ops.cast(outputs, "float32") + ops.cast(bias, "float32"), "bfloat16")
    return layer.activation(outputs)


def _upsampled(x, factor):
    return ops.repeat(ops.repeat(x, factor, axis=1), factor, axis=2) if factor > 1 else x


def _has_kernels(layer, inputs):
    """Whether `fusion` has faster ways for convolution `layer`: on TensorFlow and a CPU, for maps of known size."""
    plain = layer.data_format == "channels_last" and layer.dilation_rate == (1, 1) and getattr(layer, "groups", 1) == 1
    return plain and None not in inputs.shape[1:] and kernels.on_tensorflow_cpu(inputs)
