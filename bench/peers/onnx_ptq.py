#!/usr/bin/env python3
"""ONNX Runtime's quantize_static and NNCF's quantize of a net that `scripts/accuracy.py nets` laid out: accuracy in W8A8.

    onnx_ptq.py --net FOLDER --method ort|nncf|chance [--calibration N] [--seed S] [--marks FILE]

Both begin with the float model that `qaffe export-onnx` wrote, see the same N training images, and are run by ONNX Runtime.
ONNX Runtime: QDQ, weights s8 per channel, activations u8, ranges by MinMax. NNCF: its defaults with the preset MIXED, which
include its fast bias correction. The seed chooses the images; 0: the first N. Prints a line of JSON.
"""
import argparse
import logging
import os
import sys
import tempfile
import time

import numpy

import pixels

try:
    import onnx
    import onnxruntime
    from onnxruntime import quantization
except ImportError as error:
    sys.exit("onnx_ptq.py: ONNX Runtime is missing (%s); bench/peers/README.md says how to install it" % error)


class Scores:
    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def __call__(self, batch):
        return self.session.run(None, {self.input: numpy.ascontiguousarray(batch)})[0].reshape(len(batch), -1)


class Calibration(quantization.CalibrationDataReader):
    def __init__(self, name, arrays):
        self.name, self.arrays = name, iter(arrays)

    def get_next(self):
        array = next(self.arrays, None)
        return None if array is None else {self.name: array}


def onnx_runtime(source, target, name, arrays, _options):
    prepared = target + ".prepared.onnx"
    quantization.shape_inference.quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(prepared, target, Calibration(name, arrays), quant_format=quantization.QuantFormat.QDQ,
                                 per_channel=True, activation_type=quantization.QuantType.QUInt8,
                                 weight_type=quantization.QuantType.QInt8)
    return "onnxruntime " + onnxruntime.__version__


def nncf_quantize(source, target, name, arrays, _options):
    try:
        import nncf
    except ImportError as error:
        sys.exit("onnx_ptq.py: NNCF is missing (%s); bench/peers/README.md says how to install it" % error)
    logging.getLogger("nncf").setLevel(logging.ERROR)
    data = nncf.Dataset(arrays, lambda array: {name: array})
    onnx.save(nncf.quantize(onnx.load(source), data, preset=nncf.QuantizationPreset.MIXED, subset_size=len(arrays)), target)
    return "nncf %s, onnxruntime %s" % (nncf.__version__, onnxruntime.__version__)


def chance(source, target, _name, _arrays, options):
    draw = numpy.random.RandomState(options.seed)
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        weights = onnx.numpy_helper.to_array(tensor)
        if weights.ndim >= 2:
            channels = weights.reshape(len(weights), -1)
            steps = options.steps * abs(channels).max(1, keepdims=True) / 127
            noisy = channels + steps * (draw.random_sample(channels.shape) - 0.5)
            tensor.CopyFrom(onnx.numpy_helper.from_array(noisy.reshape(weights.shape).astype(weights.dtype), tensor.name))
    onnx.save(model, target)
    return "onnxruntime " + onnxruntime.__version__


METHODS = {"ort": ("ONNX Runtime", onnx_runtime), "nncf": ("NNCF", nncf_quantize), "chance": ("weights and chance", chance)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", required=True, help="the folder of a net")
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--calibration", type=int, default=400, help="images that ranges are measured on")
    parser.add_argument("--steps", type=float, default=1, help="of s8, within which chance moves a weight")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--marks", help="a file for what each test image counts")
    options = parser.parse_args()
    begin = time.monotonic()
    images, tests = pixels.Images(options.net, "train"), pixels.Images(options.net, "test")
    source = os.path.join(options.net, "float.onnx")
    in_float = Scores(source, options.threads)
    pixels.check_scores(in_float, options.net, "onnx_ptq.py")
    order = numpy.random.RandomState(options.seed).permutation(len(images)) if options.seed else numpy.arange(len(images))
    chosen = order[:options.calibration]
    arrays = [images.batch(chosen[i:i + 20]) for i in range(0, len(chosen), 20)]
    label, quantise = METHODS[options.method]
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "int8.onnx")
        version = quantise(source, target, in_float.input, arrays, options)
        quantised = Scores(target, options.threads)
        found = pixels.all_scores(quantised, tests)
        pixels.report(label, version, tests, begin, seed=options.seed, float=images.settings["float"],
                      calibration=len(chosen), **pixels.judged(found, tests.labels, options.marks),
                      **pixels.distance(found, pixels.all_scores(in_float, tests)))


if __name__ == "__main__":
    main()
