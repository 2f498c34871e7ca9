"""ResNet-18 against a PyTorch ResNet-18 written out here, ColorNet against the author's layers, and the copying of backbones."""

import re

import keras
import numpy as np
import overfitting
import pytest
from keras import ops

from colorize_lib import models
from colorize_lib.errors import InputError
from colorize_lib.models.colornet import load_backbone


@pytest.mark.parametrize("size", [8, 64, 72])
@pytest.mark.parametrize("fusion", [False, True])
def test_any_multiple_of_eight(size, fusion):
    gray = np.zeros((2, size, size, 1), "float32")
    regression = models.build("colornet", size=size, width=0.05, fusion=fusion)
    distribution = models.build("colornet_distribution", size=size, width=0.05, bins=7, fusion=fusion)
    assert regression(gray).shape == (2, size, size, 2)
    assert distribution(gray).shape == (2, size // 4, size // 4, 7)


@pytest.mark.parametrize("name", ["colornet", "colornet_distribution"])
def test_other_sizes_are_refused(name):
    with pytest.raises(InputError, match=f"{name}.*multiple of 8"):
        models.build(name, size=60)


@pytest.mark.parametrize("name", ["resnet18_gray", "colornet", "colornet_distribution"])
def test_outputs_are_float32_under_mixed_precision(name):
    model = models.build(name, size=32, width=0.05, dtype="mixed_bfloat16")
    assert model.output.dtype == "float32"
    assert model.get_layer("conv1").compute_dtype == "bfloat16"


def randomize(model, seed=0):
    """Random weights and, unlike those of a new model, random statistics of batch normalization."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        elif weight.name == "kernel":
            weight.assign(rng.normal(0, np.sqrt(1 / np.prod(weight.shape[:-1])), weight.shape))
        else:
            weight.assign(rng.normal(0, 0.2, weight.shape))
    return model


@pytest.fixture
def gray():
    return np.random.default_rng(1).random((2, 64, 64, 1), dtype="float32")


def test_initial_values_are_those_of_pytorch_and_of_the_code_s_first_layer():
    """Uniform within 1 / √fan-in, biases too; the first kernel is the sum of three of torchvision's."""
    keras.utils.set_random_seed(0)
    model = models.build("colornet", size=32, fusion=True)
    for name, inputs in (("head_conv1", 9 * 128), ("head_conv4", 9 * 64), ("fusion_dense", 128 + 512)):
        for values in model.get_layer(name).get_weights():
            assert np.abs(values).max() == pytest.approx(inputs**-0.5, rel=0.1)
            assert values.std() == pytest.approx((3 * inputs) ** -0.5, rel=0.2)
    first, second = (model.get_layer(name).get_weights()[0] for name in ("conv1", "layer1_block1_conv1"))
    assert first.std() == pytest.approx(np.sqrt(3 * 2 / (49 * 64)), rel=0.05)
    assert second.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.05)
    bias = models.build("resnet18_gray", size=32).get_layer("fc").get_weights()[1]
    assert np.abs(bias).max() == pytest.approx(512**-0.5, rel=0.1)


def outputs(model, gray):
    return ops.convert_to_numpy(model(gray, training=False))


def torch_resnet18():
    """ResNet-18 as torchvision defines it, with random weights and statistics, in evaluation mode."""
    torch = pytest.importorskip("torch")
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs, filters, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, filters, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(filters)
            self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(filters)
            self.downsample = None
            if stride != 1 or inputs != filters:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inputs, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
                )

        def forward(self, x):
            shortcut = x if self.downsample is None else self.downsample(x)
            x = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(x)) + shortcut)

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            inputs = 64
            for number, filters in enumerate((64, 128, 256, 512), 1):
                first = Block(inputs, filters, 1 if number == 1 else 2)
                self.add_module(f"layer{number}", nn.Sequential(first, Block(filters, filters, 1)))
                inputs = filters
            self.fc = nn.Linear(512, 365)

        def forward(self, x):
            x = self.layer2(self.layer1(self.maxpool(torch.relu(self.bn1(self.conv1(x))))))
            return self.fc(self.layer4(self.layer3(x)).mean((2, 3)))

    torch.manual_seed(0)
    network = ResNet().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return network


def torch_outputs(function, gray):
    import torch

    with torch.no_grad():
        return function(torch.from_numpy(gray.transpose(0, 3, 1, 2))).numpy()


def torch_weights(layer, state):
    """A layer's weights from PyTorch's state dict: layer2_block1_downsample_bn is layer2.0.downsample.1 there."""
    name = re.sub(r"_block(\d)_", lambda found: f".{int(found[1]) - 1}.", layer.name)
    name = name.replace("downsample_conv", "downsample.0").replace("downsample_bn", "downsample.1")
    parts = ("weight", "bias", "running_mean", "running_var")
    values = [state[f"{name}.{part}"].numpy() for part in parts if f"{name}.{part}" in state]
    return [value.transpose((2, 3, 1, 0)) if value.ndim == 4 else value.T for value in values]


@pytest.mark.parametrize("size", [64, 72, 97])  # 72 and 97 reach odd feature maps, which show wrong padding
def test_resnet18_equals_pytorch(size):
    network = torch_resnet18()
    model = models.build("resnet18_gray", size=size)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(torch_weights(layer, network.state_dict()))
    image = np.random.default_rng(2).random((2, size, size, 1), dtype="float32")
    expected = torch_outputs(network, image)
    assert expected.std() > 0.1
    np.testing.assert_allclose(outputs(model, image), expected, atol=1e-4)


def test_colornet_equals_the_layers_of_the_released_code(gray):
    """The colorization network after the mid-level features, in plain PyTorch functions."""
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    model = randomize(models.build("colornet", size=64))
    weights = {
        layer.name: [torch.from_numpy(weight.copy()) for weight in layer.get_weights()]
        for layer in model.layers
        if layer.name.startswith("head_")
    }

    def convolution(x, name):
        kernel, bias = weights[name]
        return functional.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=1)

    def batch_norm(x, name):
        gamma, beta, mean, variance = weights[name]
        return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-5)

    def up(x):
        return functional.interpolate(x, scale_factor=2)

    def colorization(x):
        x = up(torch.relu(batch_norm(convolution(x, "head_conv1"), "head_bn1")))
        x = torch.relu(batch_norm(convolution(x, "head_conv2"), "head_bn2"))
        x = up(torch.relu(convolution(x, "head_conv3")))
        x = torch.sigmoid(convolution(x, "head_conv4"))
        return up(convolution(x, "head_conv5"))

    midlevel = keras.Model(model.input, model.get_layer("layer2_block2_relu2").output)
    expected = torch_outputs(colorization, outputs(midlevel, gray)).transpose(0, 2, 3, 1)
    assert expected.std() > 0.01
    np.testing.assert_allclose(outputs(model, gray), expected, atol=1e-4)


def test_fusion_joins_every_position_with_the_whole_image(gray):
    model = randomize(models.build("colornet", size=64, width=0.25, fusion=True))
    names = ("layer2_block2_relu2", "avgpool", "fusion_bn")
    midlevel, whole, fused = keras.Model(model.input, [model.get_layer(n).output for n in names])(gray, training=False)
    kernel, bias = model.get_layer("fusion_dense").get_weights()
    gamma, beta, mean, variance = model.get_layer("fusion_bn").get_weights()
    everywhere = np.broadcast_to(ops.convert_to_numpy(whole), (2, 8, 8, 128))
    linear = np.concatenate([ops.convert_to_numpy(midlevel), everywhere], axis=-1) @ kernel + bias
    expected = (linear - mean) / np.sqrt(variance + 1e-5) * gamma + beta
    np.testing.assert_allclose(ops.convert_to_numpy(fused), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [("colornet", {}), ("colornet", {"fusion": True}), ("colornet_distribution", {"fusion": True})],
)
def test_the_backbone_of_a_trained_classifier_is_taken_over(name, options, gray):
    source = randomize(models.build("resnet18_gray", size=32, width=0.25, classes=5))
    model = models.build(name, size=64, width=0.25, **options)
    heads = {v.path: ops.convert_to_numpy(v) for v in model.weights if v.path.startswith(("head_", "fusion_"))}
    load_backbone(model, source)

    end = "avgpool" if options else "layer2_block2_relu2"
    larger = models.build("resnet18_gray", size=64, width=0.25, classes=5)
    larger.set_weights(source.get_weights())
    features = [keras.Model(m.input, m.get_layer(end).output) for m in (model, larger)]
    np.testing.assert_array_equal(*(outputs(m, gray) for m in features))
    for variable in model.weights:
        if variable.path in heads:
            np.testing.assert_array_equal(ops.convert_to_numpy(variable), heads[variable.path])


@pytest.mark.parametrize(
    ("options", "width", "message"),
    [
        ({}, 0.5, "conv1 is of another shape"),
        ({"fusion": True}, 0.25, "layer3_block1_conv1 is missing"),
    ],
)
def test_a_backbone_that_does_not_fit_is_refused_whole(options, width, message):
    source = models.build("colornet", size=32, width=width)
    model = models.build("colornet", size=32, width=0.25, **options)
    before = model.get_weights()
    with pytest.raises(InputError, match=message):
        load_backbone(model, source)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_one_batch_can_be_learned():
    keras.utils.set_random_seed(0)
    model = models.build("colornet", size=32, width=0.25)
    inputs, targets = overfitting.batch((32, 32, 1), (32, 32, 2), 0.4, 0.6)
    assert overfitting.remaining_error(model, inputs, targets, 90, keras.optimizers.Adam(1e-2)) < 0.3
