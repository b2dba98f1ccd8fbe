#!/usr/bin/env python3
"""PyTorch: a training step in float and with FX QAT (fbgemm), channels last: gradients cleared, forward, backward, SGD.

Prints a line of JSON for each measurement. Needs the package torch.
"""
import operator
import os
import sys
import warnings

import net

try:
    import torch
except ImportError as error:
    sys.exit("pytorch.py: PyTorch is missing (%s); bench/peers/README.md says how to install it" % error)


class LocalResponse(torch.nn.Module):
    """Caffe's LRN; within a channel its square window is always divided by its whole size."""

    def __init__(self, node):
        super().__init__()
        self.size, self.alpha, self.beta = node.size, node.alpha, node.beta
        self.mean = torch.nn.AvgPool2d(node.size, 1, node.size // 2) if node.within else None

    def forward(self, x):
        if self.mean is None:
            return torch.nn.functional.local_response_norm(x, self.size, self.alpha, self.beta)
        return x * (1 + self.alpha * self.mean(x * x)) ** -self.beta


def module_of(node):
    nn, channels = torch.nn, node.inputs[0].shape[0]
    if node.kind == "convolution":
        return nn.Conv2d(channels, node.outputs, node.kernel, node.stride, node.pad, groups=node.group, bias=node.bias)
    if node.kind == "norm":
        return nn.BatchNorm2d(channels, node.eps)
    if node.kind == "lrn":
        return LocalResponse(node)
    if node.kind == "relu":
        return nn.ReLU(inplace=True)
    if node.kind == "dropout":
        return nn.Dropout()
    if node.kind == "dense":
        features = 1
        for size in node.inputs[0].shape:
            features *= size
        return nn.Linear(features, node.outputs)
    if node.everywhere:
        return nn.AdaptiveAvgPool2d(1)
    if node.how == "MAX":
        return nn.MaxPool2d(node.kernel, node.stride, node.pad, ceil_mode=True)
    return nn.AvgPool2d(node.kernel, node.stride, node.pad, ceil_mode=True)


def module_name(name):
    return "m_" + "".join(c if c.isalnum() else "_" for c in name)


def load(model, nodes, blobs):
    """A Caffe net's weights: blobs["layer:0"] are the first of the layer, as scripts/accuracy.py writes them."""
    for node in nodes:
        module = getattr(model, module_name(node.name), None)
        own = [torch.tensor(blobs[name]) for name in ("%s:%d" % (node.name, i) for i in range(3)) if name in blobs]
        with torch.no_grad():
            if node.kind == "norm":
                module.running_mean.copy_(own[0] / own[2])
                module.running_var.copy_(own[1] / own[2])
                module.weight.copy_(torch.tensor(blobs[node.scale + ":0"]))
                module.bias.copy_(torch.tensor(blobs[node.scale + ":1"]))
            elif own:
                module.weight.copy_(own[0].reshape(module.weight.shape))
                if module.bias is not None:
                    module.bias.copy_(own[1].reshape(module.bias.shape))
    return model


def build(nodes):
    """A module that FX can trace, with the operations of `nodes`."""
    graph, modules, values = torch.fx.Graph(), {}, {}
    for node in nodes:
        inputs = [values[source] for source in node.inputs]
        if node.kind == "input":
            values[node] = graph.placeholder("x")
        elif node.kind == "add":
            values[node] = graph.call_function(operator.add, tuple(inputs))
        elif node.kind == "concat":
            values[node] = graph.call_function(torch.cat, (inputs, 1))
        else:
            if node.kind == "dense" and len(node.inputs[0].shape) > 1:
                inputs = [graph.call_function(torch.flatten, (inputs[0], 1))]
            name = module_name(node.name)
            modules[name] = module_of(node)
            values[node] = graph.call_module(name, tuple(inputs))
    scores = values[nodes[-1]]
    if len(nodes[-1].shape) > 1:
        scores = graph.call_function(torch.flatten, (scores, 1))
    graph.output(scores)
    return torch.fx.GraphModule(modules, graph)


def quantised(model, example):
    from torch.ao.quantization import get_default_qat_qconfig_mapping
    from torch.ao.quantization.quantize_fx import prepare_qat_fx
    torch.backends.quantized.engine = "fbgemm"
    return prepare_qat_fx(model.train(), get_default_qat_qconfig_mapping("fbgemm"), (example,))


def main():
    options = net.read_options("pytorch", ("float", "qat"), __doc__)
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    warnings.filterwarnings("ignore")  # torch.ao.quantization is deprecated, and still what FX QAT is
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    nodes = net.nodes_of(net.prototxt(options))
    images = torch.rand(options.batch, *nodes[0].shape).to(memory_format=torch.channels_last)
    labels = torch.ones(options.batch, dtype=torch.long)
    for measure in options.measures:
        model = build(nodes).to(memory_format=torch.channels_last).train()
        if measure == "qat":
            model = quantised(model, images).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)
        loss = torch.nn.CrossEntropyLoss()

        def step():
            optimizer.zero_grad()
            loss(model(images), labels).backward()
            optimizer.step()

        net.report(options, measure, net.best_seconds(step, options.seconds), torch.__version__)


if __name__ == "__main__":
    main()
