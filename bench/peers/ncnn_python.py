#!/usr/bin/env python3
"""ncnn: inference in float and in int8.

ncnn takes one image at a time, so a batch is that many runs in turn. PyPI's package has no converter: this script
writes ncnn's model files itself, with random weights, as caffe2ncnn, ncnnoptimize and ncnn2int8 would: BatchNorm folded,
ReLU inside the convolution, scales from the largest values of a made-up image, and no way through float between two
int8 convolutions. Prints a line of JSON for each measurement. Needs the packages ncnn and numpy.
"""
import os
import sys
import tempfile

import net

try:
    import ncnn
    import numpy
except ImportError as error:
    sys.exit("ncnn_python.py: a package is missing (%s); bench/peers/README.md says what to install" % error)

INT8_TAG = numpy.array([0x000D4B38], numpy.uint32).tobytes()
FLOAT_TAG = bytes(4)


def lowest(nodes):
    """`nodes` without norms and dropouts; a ReLU directly behind a convolution is in it (attribute `rectified`)."""
    stands_for, kept = {}, []
    uses = {}
    for node in nodes:
        for source in node.inputs:
            uses[source] = uses.get(source, 0) + 1
    for node in nodes:
        node.inputs = [stands_for.get(source, source) for source in node.inputs]
        source = node.inputs[0] if node.inputs else None
        if node.kind in ("norm", "dropout"):
            stands_for[node] = source
        elif node.kind == "relu" and source.kind in ("convolution", "dense"):
            source.rectified = True
            stands_for[node] = source
        else:
            node.rectified = False
            kept.append(node)
    return kept


class Writer:
    """The two files of one ncnn net. `largest`: the largest absolute value of each node's output, for int8; or None."""

    def __init__(self, nodes, largest=None):
        self.nodes, self.largest = nodes, largest
        self.random = numpy.random.default_rng(1)
        self.lines, self.binary, self.blobs = [], [], 0
        self.consumers = {node: [user for user in nodes if node in user.inputs] for node in nodes}
        self.names = {}  # blob for each (node, consumer)
        for node in nodes:
            self.write(node)

    def line(self, kind, name, inputs, outputs, parameters):
        self.blobs += len(outputs)
        words = [kind, name, str(len(inputs)), str(len(outputs))] + inputs + outputs
        self.lines.append(" ".join(words + ["%d=%s" % item for item in sorted(parameters.items())]))

    def write(self, node):
        inputs = [self.names[source, node] for source in node.inputs]
        kind, parameters = {"input": ("Input", {}), "relu": ("ReLU", {}), "add": ("BinaryOp", {0: 0}),
                            "concat": ("Concat", {0: 0})}.get(node.kind, (None, None))
        if node.kind in ("convolution", "dense"):
            kind, parameters = self.weights(node)
        elif node.kind == "pool":
            kind, parameters = "Pooling", {0: 0 if node.how == "MAX" else 1}
            parameters.update({4: 1} if node.everywhere else {1: node.kernel, 2: node.stride, 3: node.pad, 5: 0})
        self.line(kind, node.name, inputs, [node.name], parameters)
        users = self.consumers[node]
        if len(users) > 1:
            outputs = ["%s_%d" % (node.name, i) for i in range(len(users))]
            self.line("Split", node.name + "_split", [node.name], outputs, {})
        for i, user in enumerate(users):
            self.names[node, user] = outputs[i] if len(users) > 1 else node.name

    def weights(self, node):
        inputs = int(numpy.prod(node.inputs[0].shape)) if node.kind == "dense" else node.inputs[0].shape[0] // node.group
        size = 1 if node.kind == "dense" else node.kernel ** 2
        weights = self.random.standard_normal((node.outputs, inputs * size)) * (2 / (inputs * size)) ** 0.5
        weights = weights.astype(numpy.float32)
        bias = numpy.zeros(node.outputs, numpy.float32)
        depthwise = node.kind == "convolution" and node.group > 1
        parameters = {0: node.outputs, 9: int(node.rectified)}
        if node.kind == "dense":
            kind = "InnerProduct"
            parameters.update({1: 1, 2: weights.size})
        else:
            kind = "ConvolutionDepthWise" if depthwise else "Convolution"
            parameters.update({1: node.kernel, 3: node.stride, 4: node.pad, 5: 1, 6: weights.size})
            if depthwise:
                parameters[7] = node.group
        if self.largest is None:
            self.binary += [FLOAT_TAG, weights.tobytes(), bias.tobytes()]
            return kind, parameters
        scales = 127 / numpy.abs(weights).max(axis=1)
        codes = numpy.rint(weights * scales[:, None]).astype(numpy.int8).tobytes()
        self.binary += [INT8_TAG, codes, bytes(-len(codes) % 4), bias.tobytes(), scales.astype(numpy.float32).tobytes(),
                        self.scale(node.inputs[0])]
        parameters[8] = 1 if depthwise else 2
        users = self.consumers[node]
        if node.kind == "convolution" and users and all(user.kind == "convolution" for user in users):
            parameters[8] += 100  # the output goes to int8 convolutions alone and is int8, too
            self.binary.append(self.scale(node))
        return kind, parameters

    def scale(self, node):
        return numpy.array([127 / self.largest[node.name]], numpy.float32).tobytes()

    def save(self, prefix):
        with open(prefix + ".param", "w") as file:
            file.write("\n".join(["7767517", "%d %d" % (len(self.lines), self.blobs)] + self.lines) + "\n")
        with open(prefix + ".bin", "wb") as file:
            file.write(b"".join(self.binary))


class Runner:
    def __init__(self, prefix, threads):
        self.net = ncnn.Net()
        self.net.opt.num_threads = threads
        self.net.opt.use_vulkan_compute = False
        self.net.load_param(prefix + ".param")
        self.net.load_model(prefix + ".bin")

    def __call__(self, source, image, *blobs):
        extractor = self.net.create_extractor()
        extractor.set_light_mode(True)
        extractor.input(source, image)
        results = [extractor.extract(blob) for blob in blobs]
        if any(status for status, _ in results):
            sys.exit("ncnn_python.py: ncnn cannot compute %s" % ", ".join(blobs))
        return [values for _, values in results]


def main():
    options = net.read_options("ncnn", ("float-inference", "int8-inference"), __doc__)
    nodes = lowest(net.nodes_of(net.prototxt(options)))
    source, scores = nodes[0].name, nodes[-1].name
    values = numpy.random.default_rng(3).random(nodes[0].shape, numpy.float32)
    image = ncnn.Mat(values)
    with tempfile.TemporaryDirectory() as folder:
        Writer(nodes).save(os.path.join(folder, "float"))
        runner = Runner(os.path.join(folder, "float"), options.threads)
        largest = {source: float(values.max())}
        for node in nodes[1:]:
            largest[node.name] = max(float(numpy.abs(numpy.array(runner(source, image, node.name)[0])).max()), 1e-6)
        expected = numpy.array(runner(source, image, scores)[0])
        for measure in options.measures:
            if measure == "int8-inference":
                Writer(nodes, largest).save(os.path.join(folder, "int8"))
                runner = Runner(os.path.join(folder, "int8"), options.threads)
                found = numpy.array(runner(source, image, scores)[0])
                distance = numpy.linalg.norm(found - expected) / numpy.linalg.norm(expected)
                if not distance < 0.3:
                    sys.exit("ncnn_python.py: int8 scores are %.2f away from the float ones" % distance)

            def batch():
                for _ in range(options.batch):
                    runner(source, image, scores)

            net.report(options, measure, net.best_seconds(batch, options.seconds), ncnn.__version__)


if __name__ == "__main__":
    main()
