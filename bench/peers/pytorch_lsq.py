#!/usr/bin/env python3
"""LSQ in PyTorch: few bits for weights and activations of a net that `scripts/accuracy.py nets` laid out.

    pytorch_lsq.py --net FOLDER [--bits 4] [--seed S] [--seen N] [--rate R]

Learned step size quantisation (Esser et al., ICLR 2020): a step s for each layer's weights and one for its input,
v -> s * round(clip(v / s, -Qn, Qp)); the gradient reaches s through the rounding as if that were not there, multiplied by
1 / sqrt(values * Qp); s begins at 2 * mean |v| / sqrt(Qp), for inputs over the first batch. The first and the last layer have
8 bits, as in the paper. SGD from the float weights, cosine rate. Whether a layer's input is signed is seen in the first
batch. Prints a line of JSON.
"""
import argparse
import math
import sys
import time

import numpy

import net
import pixels
import pytorch
from pytorch_qat import scores_of

try:
    import torch
except ImportError as error:
    sys.exit("pytorch_lsq.py: PyTorch is missing (%s); bench/peers/README.md says how to install it" % error)


class RoundThrough(torch.autograd.Function):
    @staticmethod
    def forward(_ctx, x):
        return x.round()

    @staticmethod
    def backward(_ctx, gradient):
        return gradient


class Quantiser(torch.nn.Module):
    def __init__(self, bits, signed=None):
        super().__init__()
        self.bits, self.signed, self.step = bits, signed, torch.nn.Parameter(torch.zeros(()))

    def range(self):
        return (-2 ** (self.bits - 1), 2 ** (self.bits - 1) - 1) if self.signed else (0, 2 ** self.bits - 1)

    def forward(self, v):
        if self.signed is None:
            self.signed = bool((v < 0).any())
        least, largest = self.range()
        if self.step.item() == 0:
            with torch.no_grad():
                self.step.copy_(2 * v.abs().mean() / math.sqrt(largest))
        share = 1 / math.sqrt(v.numel() / (1 if self.weights else len(v)) * largest)
        step = (self.step * (1 - share)).detach() + self.step * share  # its value, with a share of its gradient
        return RoundThrough.apply((v / step).clamp(least, largest)) * step


class WeightQuantiser(Quantiser):
    weights = True

    def __init__(self, bits):
        super().__init__(bits, True)


class InputQuantiser(Quantiser):
    weights = False


class Quantised(torch.nn.Module):
    """A convolution or dense layer that computes with quantised weights and inputs."""

    def __init__(self, layer, bits):
        super().__init__()
        self.layer, self.weight, self.input = layer, WeightQuantiser(bits), InputQuantiser(bits)

    def forward(self, x):
        x, w, layer = self.input(x), self.weight(self.layer.weight), self.layer
        if isinstance(layer, torch.nn.Linear):
            return torch.nn.functional.linear(x, w, layer.bias)
        return torch.nn.functional.conv2d(x, w, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def quantise(model, bits):
    names = [name for name, module in model.named_children() if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear))]
    for i, name in enumerate(names):
        setattr(model, name, Quantised(getattr(model, name), bits if 0 < i < len(names) - 1 else 8))
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", required=True, help="the folder of a net")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seen", type=int, default=0, help="training images to show; 0: as many as the case says")
    parser.add_argument("--rate", type=float, default=0.01, help="the paper's for activations and weights of 2 to 4 bits")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--marks", help="a file for what each test image counts")
    options = parser.parse_args()
    begin = time.monotonic()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    images, tests = pixels.Images(options.net, "train"), pixels.Images(options.net, "test")
    settings = images.settings
    seen = options.seen or settings["seen"]
    with open(options.net + "/net.prototxt") as file:
        nodes = net.nodes_of(file.read())
    model = pytorch.load(pytorch.build(nodes), nodes, numpy.load(options.net + "/weights.npz"))
    pixels.check_scores(scores_of(model.eval()), options.net, "pytorch_lsq.py")
    quantise(model, options.bits)
    steps = -(-seen // settings["batch"])
    batches = pixels.training(images, settings["batch"], seen, options.seed)
    with torch.no_grad():
        model(torch.from_numpy(images.batch(range(settings["batch"]))))  # steps begin with these images
    at_start = pixels.judged(pixels.all_scores(scores_of(model), tests), tests.labels)["accuracy"]
    optimizer = torch.optim.SGD(model.parameters(), lr=options.rate, momentum=0.9, weight_decay=settings["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loss = torch.nn.CrossEntropyLoss()
    model.train()
    for batch, labels in batches:
        optimizer.zero_grad()
        loss(model(torch.from_numpy(numpy.ascontiguousarray(batch))), torch.from_numpy(labels)).backward()
        optimizer.step()
        schedule.step()
    pixels.report("PyTorch LSQ, W%dA%d" % (options.bits, options.bits), "torch " + torch.__version__, tests, begin,
                  seed=options.seed, float=settings["float"], start=at_start, seen=steps * settings["batch"], rate=options.rate,
                  **pixels.judged(pixels.all_scores(scores_of(model.eval()), tests), tests.labels, options.marks))


if __name__ == "__main__":
    main()
