"""ECCV16 and SIGGRAPH17 in PyTorch, from their layer lists, with the tensor names of the authors' files.

Unlike the rest of the package they take L in [0, 100] and hints in Lab units, and give ab in Lab units: the authors' networks
scale inside.
"""

import torch
from torch import nn
from torch.nn import functional


def block(inputs, filters, convolutions, *, stride=1, dilation=1, starts_with_relu=False):
    layers = [nn.ReLU()] if starts_with_relu else []
    for i in range(convolutions):
        step = stride if i == convolutions - 1 else 1
        layers += [nn.Conv2d(inputs, filters, 3, step, padding=dilation, dilation=dilation), nn.ReLU()]
        inputs = filters
    return nn.Sequential(*layers, nn.BatchNorm2d(filters))


def up(inputs, filters):
    return nn.ConvTranspose2d(inputs, filters, 4, stride=2, padding=1)


class Eccv16(nn.Module):
    def __init__(self):
        super().__init__()
        self.model1 = block(1, 64, 2, stride=2)
        self.model2 = block(64, 128, 2, stride=2)
        self.model3 = block(128, 256, 3, stride=2)
        self.model4 = block(256, 512, 3)
        self.model5 = block(512, 512, 3, dilation=2)
        self.model6 = block(512, 512, 3, dilation=2)
        self.model7 = block(512, 512, 3)
        tail = [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()]
        tail += [nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 313, 1)]
        self.model8 = nn.Sequential(up(512, 256), nn.ReLU(), *tail)
        self.model_out = nn.Conv2d(313, 2, 1, bias=False)

    def forward(self, lightness):
        x = (lightness - 50) / 100
        for i in range(1, 9):
            x = getattr(self, f"model{i}")(x)
        ab = self.model_out(functional.softmax(x, dim=1))
        return 110 * functional.interpolate(ab, scale_factor=4, mode="bilinear", align_corners=False)


class Siggraph17(nn.Module):
    def __init__(self):
        super().__init__()
        self.model1 = block(4, 64, 2)
        self.model2 = block(64, 128, 2)
        self.model3 = block(128, 256, 3)
        self.model4 = block(256, 512, 3)
        self.model5 = block(512, 512, 3, dilation=2)
        self.model6 = block(512, 512, 3, dilation=2)
        self.model7 = block(512, 512, 3)
        self.model8up = nn.Sequential(up(512, 256))
        self.model3short8 = nn.Sequential(nn.Conv2d(256, 256, 3, padding=1))
        self.model8 = block(256, 256, 2, starts_with_relu=True)
        self.model9up = nn.Sequential(up(256, 128))
        self.model2short9 = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1))
        self.model9 = block(128, 128, 1, starts_with_relu=True)
        self.model10up = nn.Sequential(up(128, 128))
        self.model1short10 = nn.Sequential(nn.Conv2d(64, 128, 3, padding=1))
        self.model10 = nn.Sequential(nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1), nn.LeakyReLU(0.2))
        self.model_class = nn.Sequential(nn.Conv2d(256, 529, 1))
        self.model_out = nn.Sequential(nn.Conv2d(128, 2, 1), nn.Tanh())

    def forward(self, lightness, ab=None, mask=None):
        """ab, and the logits of the classification head."""
        ab = torch.zeros_like(lightness).repeat(1, 2, 1, 1) if ab is None else ab
        mask = torch.zeros_like(lightness) if mask is None else mask
        block1 = self.model1(torch.cat([(lightness - 50) / 100, ab / 110, mask], dim=1))
        block2 = self.model2(block1[..., ::2, ::2])
        block3 = self.model3(block2[..., ::2, ::2])
        x = block3[..., ::2, ::2]
        for i in range(4, 8):
            x = getattr(self, f"model{i}")(x)
        block8 = self.model8(self.model8up(x) + self.model3short8(block3))
        block9 = self.model9(self.model9up(block8) + self.model2short9(block2))
        block10 = self.model10(self.model10up(block9) + self.model1short10(block1))
        return 110 * self.model_out(block10), self.model_class(block8)


def random(network, seed=0):
    """The network in inference mode, with random weights and batch statistics that keep every layer's output lively."""
    torch.manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.normal_(layer.bias, std=0.1)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.2)
            nn.init.normal_(layer.running_mean, std=0.2)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    if isinstance(network, Eccv16):
        nn.init.uniform_(network.model_out.weight, -1, 1)  # bins / 110
    return network.eval()
