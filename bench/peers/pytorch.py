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


def module_of(node):
    nn, channels = torch.nn, node.inputs[0].shape[0]
    if node.kind == "convolution":
        return nn.Conv2d(channels, node.outputs, node.kernel, node.stride, node.pad, groups=node.group, bias=node.bias)
    if node.kind == "norm":
        return nn.BatchNorm2d(channels)
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
            modules[node.name] = module_of(node)
            values[node] = graph.call_module(node.name, tuple(inputs))
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
