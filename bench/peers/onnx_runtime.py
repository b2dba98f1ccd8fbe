#!/usr/bin/env python3
"""ONNX Runtime: inference in float and in int8 (static quantisation, QDQ, u8 activations, s8 weights per channel).

The int8 model is calibrated on made-up images by quantize_static and kept in the cache folder. BatchNorm is folded into
the convolutions before. Prints a line of JSON for each measurement. Needs the packages onnxruntime and onnx.
"""
import os
import sys

import net

try:
    import numpy
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    sys.exit("onnx_runtime.py: a package is missing (%s); bench/peers/README.md says what to install" % error)


def build(nodes, batch):
    """The ONNX model of `nodes`, with random weights; a norm becomes the bias of the convolution before it."""
    random = numpy.random.default_rng(1)
    operations, weights, values = [], [], {}

    def weight(name, *shape, scale):
        weights.append(numpy_helper.from_array((scale * random.standard_normal(shape)).astype(numpy.float32), name))
        return name

    def operation(kind, inputs, output, **attributes):
        operations.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    for node in nodes:
        inputs = [values[source] for source in node.inputs]
        if node.kind == "input":
            output = node.name
        elif node.kind == "convolution":
            channels = node.inputs[0].shape[0] // node.group
            scale = (2 / (channels * node.kernel ** 2)) ** 0.5
            inputs += [weight(node.name + "_w", node.outputs, channels, node.kernel, node.kernel, scale=scale),
                       weight(node.name + "_b", node.outputs, scale=0.1)]
            output = operation("Conv", inputs, node.name, kernel_shape=[node.kernel] * 2, strides=[node.stride] * 2,
                               pads=[node.pad] * 4, group=node.group)
        elif node.kind == "dense":
            features = int(numpy.prod(node.inputs[0].shape))
            inputs = [operation("Flatten", inputs, node.name + "_flat") if len(node.inputs[0].shape) > 1 else inputs[0],
                      weight(node.name + "_w", node.outputs, features, scale=features ** -0.5),
                      weight(node.name + "_b", node.outputs, scale=0.1)]
            output = operation("Gemm", inputs, node.name, transB=1)
        elif node.kind == "pool" and node.everywhere:
            output = operation("GlobalAveragePool", inputs, node.name)
        elif node.kind == "pool":
            output = operation({"MAX": "MaxPool", "AVE": "AveragePool"}[node.how], inputs, node.name, ceil_mode=1,
                               kernel_shape=[node.kernel] * 2, strides=[node.stride] * 2, pads=[node.pad] * 4)
        elif node.kind in ("norm", "dropout"):
            output = inputs[0]
        else:
            extra = {"axis": 1} if node.kind == "concat" else {}
            output = operation({"relu": "Relu", "add": "Add", "concat": "Concat"}[node.kind], inputs, node.name, **extra)
        values[node] = output
    graph = helper.make_graph(operations, "net",
                              [helper.make_tensor_value_info(nodes[0].name, TensorProto.FLOAT,
                                                             (batch,) + nodes[0].shape)],
                              [helper.make_tensor_value_info(values[nodes[-1]], TensorProto.FLOAT,
                                                             (batch,) + nodes[-1].shape)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def quantise(source, target, name, shape):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self):
            random = numpy.random.default_rng(2)
            self.batches = iter([{name: random.random(shape, numpy.float32)} for _ in range(2)])

        def get_next(self):
            return next(self.batches, None)

    quant_pre_process(source, target + ".ready")
    quantize_static(target + ".ready", target, Images(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    os.unlink(target + ".ready")


def main():
    options = net.read_options("onnxruntime", ("float-inference", "int8-inference"), __doc__)
    nodes = net.nodes_of(net.prototxt(options))
    os.makedirs(options.cache, exist_ok=True)
    shape = (options.batch,) + nodes[0].shape
    files = {measure: os.path.join(options.cache, "%s-%d-%s.onnx" % (options.model, options.batch, measure))
             for measure in ("float-inference", "int8-inference")}
    if not os.path.exists(files["float-inference"]):
        onnx.save(build(nodes, options.batch), files["float-inference"])
    if "int8-inference" in options.measures and not os.path.exists(files["int8-inference"]):
        quantise(files["float-inference"], files["int8-inference"], nodes[0].name, shape)
    images = {nodes[0].name: numpy.random.default_rng(3).random(shape, numpy.float32)}
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    for measure in options.measures:
        session = onnxruntime.InferenceSession(files[measure], settings, providers=["CPUExecutionProvider"])
        seconds = net.best_seconds(lambda: session.run(None, images), options.seconds)
        net.report(options, measure, seconds, onnxruntime.__version__)


if __name__ == "__main__":
    main()
