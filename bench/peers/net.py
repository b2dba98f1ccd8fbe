"""What the peers share: nets as a list of nodes, options, timing, one line of JSON a measurement.

Nets whose speed is measured come from `qaffe-bench --print-model`, so that all peers run what qaffe runs; those whose
accuracy is measured from `scripts/accuracy.py nets`.
"""
import argparse
import json
import re
import subprocess
import sys
import time

MEASURES = ("float", "qat", "float-inference", "int8-inference")


# ---- prototxt ----

def parse(text):
    """A prototxt as a dict of lists: parse("a { b: 1 } a { b: 'x' }") is {"a": [{"b": [1]}, {"b": ["x"]}]}."""
    tokens = re.findall(r'"[^"]*"|\'[^\']*\'|[{}]|[^\s{}:,"\']+', re.sub(r"#.*", "", text))
    position = 0

    def value(token):
        if token[0] in "\"'":
            return token[1:-1]
        for kind in (int, float):
            try:
                return kind(token)
            except ValueError:
                pass
        return {"true": True, "false": False}.get(token, token)

    def message():
        nonlocal position
        fields = {}
        while position < len(tokens) and tokens[position] != "}":
            name, position = tokens[position], position + 1
            if tokens[position] == "{":
                position += 1
                content = message()
                position += 1
            else:
                content = value(tokens[position])
                position += 1
            fields.setdefault(name, []).append(content)
        return fields

    return message()


# ---- the net as a list of nodes, each with one output ----

class Node:
    """`kind`: input, convolution, norm (BatchNorm and Scale), relu, pool, lrn, add, concat, dense or dropout; `inputs`: nodes;
    `shape`: of the output without the batch; `scale`: the name of a norm's Scale layer; the rest as the kind needs: outputs,
    kernel, stride, pad, group, bias, how, eps, size, alpha, beta, within."""

    def __init__(self, kind, name, inputs, shape, **rest):
        self.kind, self.name, self.inputs, self.shape = kind, name, inputs, tuple(shape)
        self.__dict__.update(rest)


def first(fields, name, default=None):
    return fields.get(name, [default])[0]


def window(fields):
    return dict(kernel=first(fields, "kernel_size"), stride=first(fields, "stride", 1), pad=first(fields, "pad", 0))


def make_node(layer, inputs):
    kind, name = first(layer, "type"), first(layer, "name")
    shape = inputs[0].shape if inputs else None
    if kind == "DummyData":
        return Node("input", name, [], first(first(layer, "dummy_data_param"), "shape")["dim"][1:])
    if kind == "Input":
        return Node("input", name, [], first(first(layer, "input_param"), "shape")["dim"][1:])
    if kind == "Convolution":
        fields = first(layer, "convolution_param")
        w = window(fields)
        size = [(n + 2 * w["pad"] - w["kernel"]) // w["stride"] + 1 for n in shape[1:]]
        outputs = first(fields, "num_output")
        return Node("convolution", name, inputs, [outputs] + size, outputs=outputs, group=first(fields, "group", 1),
                    bias=first(fields, "bias_term", True), **w)
    if kind == "InnerProduct":
        outputs = first(first(layer, "inner_product_param"), "num_output")
        return Node("dense", name, inputs, [outputs], outputs=outputs)
    if kind == "Pooling":
        fields = first(layer, "pooling_param")
        how = first(fields, "pool", "MAX")
        if first(fields, "global_pooling", False):
            return Node("pool", name, inputs, [shape[0], 1, 1], how=how, everywhere=True)
        w = window(fields)
        size = [-(-(n + 2 * w["pad"] - w["kernel"]) // w["stride"]) + 1 for n in shape[1:]]  # Caffe rounds up
        return Node("pool", name, inputs, [shape[0]] + size, how=how, everywhere=False, **w)
    if kind == "Concat":
        return Node("concat", name, inputs, [sum(node.shape[0] for node in inputs)] + list(shape[1:]))
    if kind == "BatchNorm":
        return Node("norm", name, inputs, shape, scale=None, eps=first(first(layer, "batch_norm_param", {}), "eps", 1e-5))
    if kind == "LRN":
        fields = first(layer, "lrn_param", {})
        return Node("lrn", name, inputs, shape, size=first(fields, "local_size", 5), alpha=first(fields, "alpha", 1.0),
                    beta=first(fields, "beta", 0.75), within=first(fields, "norm_region") == "WITHIN_CHANNEL")
    simple = {"ReLU": "relu", "Eltwise": "add", "Dropout": "dropout"}
    if kind not in simple:
        raise ValueError("layer %s: the peers know no layer type %s" % (name, kind))
    return Node(simple[kind], name, inputs, shape)


def nodes_of(text):
    """The nodes of a prototxt in order; the last one gives the scores. Layers in place become nodes of their own."""
    producers, nodes = {}, []
    for layer in parse(text)["layer"]:
        kind = first(layer, "type")
        if kind == "SoftmaxWithLoss":
            continue
        inputs = [producers[blob] for blob in layer.get("bottom", [])]
        if kind == "Scale" and inputs[0].kind == "norm":  # one operation everywhere but in Caffe
            producers[first(layer, "top")], inputs[0].scale = inputs[0], first(layer, "name")
            continue
        nodes.append(make_node(layer, inputs))
        producers[first(layer, "top")] = nodes[-1]
    return nodes


def prototxt(options):
    command = [options.bench, "--print-model", options.model, "--batch", str(options.batch)]
    try:
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit("%s: cannot print the net (%s); --bench must name qaffe-bench" % (sys.argv[0], error))


# ---- options, timing, output ----

def read_options(peer, measures, description, add=None):
    """The options that all peers have, and those of `add(parser)`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="resnet50", help="a name that qaffe-bench knows (resnet50)")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--measure", default=",".join(measures), help="of: " + ", ".join(measures))
    parser.add_argument("--seconds", type=float, default=5, help="time for each measurement; the best iteration counts")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bench", default="build/release/bench/qaffe-bench", help="the program that prints the net")
    parser.add_argument("--cache", default="/tmp/qaffe-peers", help="folder for files that are slow to make")
    if add:
        add(parser)
    options = parser.parse_args()
    options.peer = peer
    options.measures = options.measure.split(",")
    unknown = [name for name in options.measures if name not in measures]
    if unknown:
        parser.error("%s has no measure %s" % (peer, ", ".join(unknown)))
    return options


def best_seconds(run, seconds, warm_up=2, least=3):
    """The fastest call of run() in `seconds`, at least `least` calls, after `warm_up` that do not count."""
    for _ in range(warm_up):
        run()
    best, count, end = float("inf"), 0, time.monotonic() + seconds
    while count < least or time.monotonic() < end:
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
        count += 1
    return best


def report(options, measure, seconds, version):
    print(json.dumps({"peer": options.peer, "version": version, "model": options.model, "batch": options.batch,
                      "threads": options.threads, "measure": measure, "ms": round(1e3 * seconds, 3)}), flush=True)
