#!/usr/bin/env python3
"""Accuracy of quantised classifiers: float, calibrated (IFMR, HFMG), retrained, and ONNX Runtime's quantize_static.

    scripts/ptq_accuracy.py [--data DIR] [--only WORD] [--retrain]

All are calibrated on the same images and tested on the same others. Prints a line a net, in percent of the test images:
the models that qaffe exports for deployment, and ONNX Runtime's (QDQ, weights per channel, ranges by MinMax), whose float
model is what `qaffe export-onnx` writes, checked against the net first. "only" counts the images that IFMR's model alone and
ONNX Runtime's alone gets right: a difference below twice the square root of their sum says nothing.
Needs the Python packages of the build (PYTHONPATH=build/release/python), and onnx, onnxruntime, lmdb and pillow from PyPI.
"""
import argparse
import collections
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("AMCT_LOG_LEVEL", "ERROR")

import numpy
import onnxruntime
from google.protobuf import text_format
from onnxruntime import quantization

import amct_caffe as amct
import caffe
import qaffe
from accuracy_cases import items, listed, red_green_blue, score_and_label, without_data, write_lmdb
from caffe.proto import caffe_pb2

Case = collections.namedtuple("Case", "name model weights calibration test batches retraining")
QUICK, FULL = "cifar10_quick/cifar10_quick_iter_5000.caffemodel", "cifar10_full/cifar10_full_iter_70000.caffemodel"
LOSSLESS = ("cifar10/cifar10_train_lmdb", "cifar10/cifar10_test_lmdb")
JPEG = ("cifar10_jpeg_train_rgb", "cifar10_jpeg_test_rgb")  # made here: Caffe decodes to BGR, these nets want RGB
DIGITS = ("mnist/mnist_train_20k_lmdb", "mnist/mnist_test_lmdb")


def cases():
    """Batches are of the nets' own TEST phase: 100 images, SqueezeNet 20."""
    lenet = "lenet/train_test.local.prototxt"
    yield Case("lenet", lenet, "lenet/lenet_iter_10000.caffemodel", *DIGITS, 4, (100, 1e-4))
    yield Case("lenet (V1)", lenet, "lenet/lenet_iter_10000_v1layers.caffemodel", *DIGITS, 4, (100, 1e-4))
    for images, data in (("", LOSSLESS), (", JPEG", JPEG)):
        for name, weights, iterations, rate in (("cifar10_quick", QUICK, 50, 1e-5), ("cifar10_full", FULL, 50, 1e-5),
                                                ("resnet20_cifar10", "resnet20_cifar10/ResNet_20.caffemodel", 30, 1e-5),
                                                ("resnet56_cifar10", "resnet56_cifar10/ResNet_56.caffemodel", 20, 1e-6)):
            yield Case(name + images, name + "/train_test.local.prototxt", weights, *data, 4, (iterations, rate))
    yield Case("squeezenet_v1.1", "squeezenet_v1.1/train_val.local.prototxt", "squeezenet_v1.1/squeezenet_v1.1.caffemodel",
               "imagenet-samples/imagenet_1000_lmdb", "imagenet_val", 16, (20, 1e-5))


# ---- nets and what they get right ----

def test_net(path, source):
    """The net of phase TEST with its data taken from `source`, as text that has no other phase."""
    net = text_format.Parse(pathlib.Path(path).read_text(), caffe_pb2.NetParameter())
    crop = max(layer.transform_param.crop_size for layer in net.layer)  # of the TRAIN phase, if only that has one
    kept = [layer for layer in net.layer if not any(rule.phase == caffe_pb2.TRAIN for rule in layer.include)]
    del net.layer[:]
    net.layer.extend(kept)
    for layer in net.layer:
        layer.ClearField("include")
        if layer.type in ("Data", "ImageData"):
            batch = layer.data_param.batch_size or layer.image_data_param.batch_size
            layer.ClearField("image_data_param")
            layer.type, layer.transform_param.crop_size = "Data", crop
            layer.data_param.source, layer.data_param.batch_size = source, batch
            layer.data_param.backend = caffe_pb2.DataParameter.LMDB
    return net


def right_answers(model, weights, count):
    """For each of the first `count` items: does a model with data of its own get it right?"""
    score, label = score_and_label(text_format.Parse(pathlib.Path(model).read_text(), caffe_pb2.NetParameter()))
    net = caffe.Net(model, weights, caffe.TEST)
    right = []
    while sum(map(len, right)) < count:
        net.forward()
        right.append(net.blobs[score].data.reshape(len(net.blobs[label].data), -1).argmax(1) == net.blobs[label].data)
    return numpy.concatenate(right)[:count]


# ---- the same net in ONNX Runtime ----

class Model:
    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def scores(self, images):
        return self.session.run(None, {self.input: images})[0].reshape(len(images), -1)


class Batches(quantization.CalibrationDataReader):
    def __init__(self, name, arrays):
        self.name, self.arrays = name, iter(arrays)

    def get_next(self):
        array = next(self.arrays, None)
        return None if array is None else {self.name: array}


def onnx_runtime(folder, description, model, weights, case, count, calibration):
    """For each item: does the int8 model get it right?"""
    net = caffe.Net(model, weights, caffe.TEST)
    net.forward()
    data = next(layer.top[0] for layer in description.layer if layer.type == "Data")
    score, label = score_and_label(description)
    paths = [os.path.join(folder, name) for name in ("float.onnx", "prepared.onnx", "int8.onnx")]
    plain = os.path.join(folder, "plain.prototxt")
    pathlib.Path(plain).write_text(text_format.MessageToString(without_data(description, net.blobs[data].data.shape)))
    qaffe.export_onnx(plain, weights, paths[0])
    in_float = Model(paths[0])
    found = in_float.scores(net.blobs[data].data)
    expected = net.blobs[score].data.reshape(found.shape)
    if numpy.abs(found - expected).max() > 1e-3 * numpy.abs(expected).max():
        sys.exit("ptq_accuracy.py: %s: the ONNX model computes something else than the net" % case.name)
    images = []
    for _ in range(case.batches):
        calibration.forward()
        images.append(calibration.blobs[data].data.copy())
    quantization.shape_inference.quant_pre_process(paths[0], paths[1], skip_symbolic_shape=True)
    quantization.quantize_static(paths[1], paths[2], Batches(in_float.input, images), quant_format=quantization.QuantFormat.QDQ,
                                 per_channel=True, activation_type=quantization.QuantType.QUInt8,
                                 weight_type=quantization.QuantType.QInt8)
    model, right = Model(paths[2]), []
    while sum(map(len, right)) < count:
        right.append(model.scores(net.blobs[data].data).argmax(1) == net.blobs[label].data)
        net.forward()
    return numpy.concatenate(right)[:count]


# ---- qaffe ----

METHODS = {"IFMR": "common_config { ifmr_quantize { } }", "HFMG": "common_config { hfmg_quantize { num_of_bins: 4096 } }"}


def calibrated(folder, model, weights, case, count, method):
    """For each item: does the deploy model, calibrated on the data of `model`, get it right?"""
    path = {name: os.path.join(folder, name) for name in ("a.cfg", "config.json", "c.prototxt", "c.caffemodel", "record")}
    pathlib.Path(path["a.cfg"]).write_text("batch_num: %d\n%s\n" % (case.batches, METHODS[method]))
    amct.create_quant_config(path["config.json"], model, weights, config_defination=path["a.cfg"])
    graph = amct.init(path["config.json"], model, weights, path["record"])
    amct.quantize_model(graph, path["c.prototxt"], path["c.caffemodel"])
    net = caffe.Net(path["c.prototxt"], path["c.caffemodel"], caffe.TEST)
    for _ in range(case.batches):
        net.forward()
    amct.save_model(graph, "Both", os.path.join(folder, method))
    deploy = os.path.join(folder, method + "_deploy_model.prototxt")
    text = pathlib.Path(deploy).read_text()
    pathlib.Path(deploy).write_text(text.replace(case.calibration, case.test))
    return right_answers(deploy, deploy.replace("model.prototxt", "weights.caffemodel"), count)


def retrained(folder, case):
    iterations, rate = case.retraining
    return 100 * qaffe.retrain(case.model, case.weights, train_data=case.calibration, test_data=case.test,
                               iterations=iterations, base_lr=rate, save_path=os.path.join(folder, "qat")).deploy_score


def measure(case, options, folder):
    folder = tempfile.mkdtemp(dir=folder)
    description = test_net(case.model, case.test)
    on_test, on_calibration = os.path.join(folder, "test.prototxt"), os.path.join(folder, "calibration.prototxt")
    pathlib.Path(on_test).write_text(text_format.MessageToString(description))
    pathlib.Path(on_calibration).write_text(text_format.MessageToString(test_net(case.model, case.calibration)))
    count = items(case.test)
    in_float = right_answers(on_test, case.weights, count)
    ours = [calibrated(folder, on_calibration, case.weights, case, count, method) for method in METHODS]
    theirs = onnx_runtime(folder, description, on_test, case.weights, case, count,
                          caffe.Net(on_calibration, case.weights, caffe.TEST))
    trained = retrained(folder, case) if options.retrain else float("nan")
    only = "%d : %d" % ((ours[0] & ~theirs).sum(), (theirs & ~ours[0]).sum())
    print("%-24s %6d %8.2f %8.2f %8.2f %8.2f %9.2f %9s" % (
        case.name, count, *(100 * right.mean() for right in (in_float, *ours)), trained, 100 * theirs.mean(), only), flush=True)


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=str(here.parent / "shared/data"), help="the folder with models and images")
    parser.add_argument("--only", default="", help="cases with this word in their name")
    parser.add_argument("--retrain", action="store_true", help="retrain as well (minutes)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in os.listdir(options.data):
            os.symlink(os.path.join(os.path.abspath(options.data), name), os.path.join(folder, name))
        os.chdir(folder)
        for kind in ("train", "test"):
            write_lmdb("cifar10_jpeg_%s_rgb" % kind, red_green_blue("cifar10/cifar10_jpeg_%s_lmdb" % kind))
        write_lmdb("imagenet_val", listed("imagenet-val/val.txt", "imagenet-val/images"))
        print("%-24s %6s %8s %8s %8s %8s %9s %9s" % ("net", "images", "float", "IFMR", "HFMG", "QAT", "ORT int8", "only"))
        for case in cases():
            if options.only in case.name:
                measure(case, options, folder)


if __name__ == "__main__":
    main()
