#!/usr/bin/env python3
"""Exported ONNX models in other programs: onnx.checker, ONNX Runtime, OpenVINO.

    scripts/onnx_runtimes.py [layers] [float] [qdq] [--build FOLDER] [--only WORD] [--opset N]

layers: the cases that Caffe recorded, one layer each, and layers of forks, which ONNX Runtime has to repeat.
float: the nets of the data folder, in ONNX Runtime and OpenVINO within 1e-4 of the largest value that qaffe puts out.
qdq: the same nets calibrated (`qaffe ptq run`) and exported. Classifiers, on all test images that there are: top-1 in ONNX
Runtime within 0.1 points of the fake-quant model's with --keep-shift; without it, too, but for the nets of FURTHER_OFF; with
--activations s8, whose codes are half as fine, within 1. Others: outputs beside the fake-quant model's. All are loaded and
run by OpenVINO as well.
Without a word, all three. Needs the PyPI packages onnx, onnxruntime, openvino and numpy; exit code 77 where they or the
data are missing. ONNX Runtime computes QDQ in integers only where the processor has VNNI (docs/onnx.md); elsewhere its
optimisations are switched off here.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("GLOG_minloglevel", "3")
SKIPPED = 77

try:
    import numpy
    import onnx
    import onnxruntime
    import openvino
except ImportError as missing:
    print(f"skipped: {missing}; pip install onnx onnxruntime openvino numpy")
    sys.exit(SKIPPED)

# Layers whose forks nobody recorded: shapes of bottoms, and the rest of the layer. qaffe's own outputs are compared, which
# tests/layers compare with values worked out by hand.
FORKS = {
    "axpy": (["2 3", "2 3 4 5", "2 3 4 5"], "type: 'Axpy'"),
    "batch_mat_mul": (["2 3 4 5", "2 3 6 5"], "type: 'BatchMatMul' batch_matmul_param { adj_x2: true }"),
    "c_relu": (["2 3 4 5"], "type: 'CReLU' crelu_param { negative_slope: 0.1 }"),
    "hswish": (["2 3 4 5"], "type: 'Hswish'"),
    "interp_zoom": (["2 3 4 5"], "type: 'Interp' interp_param { zoom_factor: 3 }"),
    "interp_size": (["2 3 6 7"], "type: 'Interp' interp_param { height: 9 width: 4 pad_beg: -1 pad_end: -1 }"),
    "mat_mul": (["2 4 3", "4 5"], "type: 'MatMul' matmul_param { transpose_a: true }"),
    "normalize": (["2 3 4 5"], "type: 'Normalize' norm_param { across_spatial: false channel_shared: false }"),
    "normalize_image": (["2 3 4 5"], "type: 'Normalize' norm_param { }"),
    "pass_through": (["2 3 4 6"], "type: 'PassThrough' pass_through_param { block_height: 2 block_width: 3 }"),
    "permute": (["2 3 4 5"], "type: 'Permute' permute_param { order: 0 order: 2 order: 3 order: 1 }"),
    "relu6": (["2 3 4 5"], "type: 'ReLU6'"),
    "reorg": (["2 4 4 6"], "type: 'Reorg' reorg_param { stride: 2 }"),
    "reorg_reverse": (["2 8 4 6"], "type: 'Reorg' reorg_param { stride: 2 reverse: true }"),
    "reverse": (["2 3 4 5"], "type: 'Reverse' reverse_param { axis: 1 axis: 3 }"),
    "shuffle": (["2 6 4 5"], "type: 'ShuffleChannel' shuffle_channel_param { group: 3 }"),
    "upsample": (["2 3 4 5"], "type: 'Upsample' upsample_param { scale: 2 }"),
    "upsample_ascend": (["2 3 4 5"], "type: 'Upsample' upsample_param { stride: 2 scale: 0.5 }"),
    "add": (["2 3 4 5", "3 1 5"], "type: 'Add'"),
    "sub": (["2 3 4 5", "2 3 4 5"], "type: 'Sub'"),
    "div": (["2 3 4 5", "2 1 4 1"], "type: 'Div'"),
    "mul": (["2 3 4 5"], "type: 'Mul' mul_param { mul_shape: 3 mul_shape: 1 mul_shape: 1 }"),
    "mish": (["2 3 4 5"], "type: 'Mish'"),
    "selu": (["2 3 4 5"], "type: 'SELU'"),
    "hard_sigmoid": (["2 3 4 5"], "type: 'HardSigmoid'"),
    "squeeze": (["2 3 1 5"], "type: 'Squeeze' squeeze_param { axis: 2 }"),
    "expand": (["2 3 5"], "type: 'ExpandDimsND' expand_dims_nd_param { axis: 1 }"),
    "transpose": (["2 3 4 5"], "type: 'Transpose' transpose_param { dim: 0 dim: 3 dim: 1 dim: 2 }"),
    "depth_nchw": (["2 8 3 4"], "type: 'DepthToSpace' depth_to_space_param { block_size: 2 data_format: 'NCHW' }"),
    "depth_crd": (["2 8 3 4"], "type: 'DepthToSpace' depth_to_space_param { block_size: 2 data_format: 'CRD' }"),
    "depth_nhwc": (["2 3 4 8"], "type: 'DepthToSpace' depth_to_space_param { block_size: 2 }"),
    "space_nchw": (["2 3 4 6"], "type: 'SpaceToDepth' space_to_depth_param { block_size: 2 data_format: 'NCHW' }"),
    "space_crd": (["2 3 4 6"], "type: 'SpaceToDepth' space_to_depth_param { block_size: 2 data_format: 'CRD' }"),
    "space_nhwc": (["2 4 6 3"], "type: 'SpaceToDepth' space_to_depth_param { block_size: 2 }"),
    "pixel_shuffle": (["2 8 3 4"], "type: 'PixelShuffle' pixel_shuffle_param { upscale_factor: 2 }"),
    "pad": (["2 3 4"], "type: 'Pad' pad_param { paddings: 0 paddings: 0 paddings: 1 paddings: 2 paddings: 0 paddings: 3 "
                       "constant_values: 0.5 }"),
    "mirror": (["2 3 4"], "type: 'MirrorPad' mirror_pad_param { paddings: 0 paddings: 0 paddings: 1 paddings: 2 paddings: 0 "
                          "paddings: 3 mode: 'REFLECT' }"),
    "edge": (["2 3 4"], "type: 'MirrorPad' mirror_pad_param { paddings: 0 paddings: 0 paddings: 1 paddings: 2 paddings: 0 "
                        "paddings: 3 mode: 'EDGE' }"),
    "bilinear": (["2 4 5 3"], "type: 'ResizeBilinear' resize_bilinear_param { output_height: 7 output_width: 3 }"),
    "bilinear_half": (["2 3 4 5"], "type: 'ResizeBilinear' resize_bilinear_param { output_height: 7 output_width: 3 "
                                   "data_format: 'NCHW' half_pixel_centers: true }"),
    "bilinear_corners": (["2 3 4 5"], "type: 'ResizeBilinear' resize_bilinear_param { output_height: 7 output_width: 3 "
                                      "data_format: 'NCHW' align_corners: true }"),
    "nearest": (["2 4 5 3"], "type: 'ResizeNearestNeighbor' resize_nearest_neighbor_param { output_height: 7 output_width: 3 }"),
    "nearest_half": (["2 3 4 5"], "type: 'ResizeNearestNeighbor' resize_nearest_neighbor_param { output_height: 7 "
                                  "output_width: 3 data_format: 'NCHW' half_pixel_centers: true }"),
    "nearest_corners": (["2 3 4 5"], "type: 'ResizeNearestNeighbor' resize_nearest_neighbor_param { output_height: 7 "
                                     "output_width: 3 data_format: 'NCHW' align_corners: true }"),
    "darknet": (["2 3 4 5"], "type: 'UpsampleDarknet' upsample_darknet_param { stride: 2 }"),
    "normalize_face": (["4 7"], "type: 'Normalize'"),
    "depthwise": (["2 4 6 6"], "type: 'DepthwiseConvolution' convolution_param { num_output: 4 kernel_size: 3 pad: 1 "
                               "weight_filler { type: 'xavier' } }"),
    "same": (["2 4 7 7"], "type: 'Convolution' convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad_type: 1 "
                          "weight_filler { type: 'xavier' } }"),
    "pool_inside": (["2 3 7 7"], "type: 'Pooling' pooling_param { pool: AVE_EXC_PAD kernel_size: 3 stride: 2 pad: 1 }"),
    "pool_floor": (["2 3 8 8"], "type: 'Pooling' pooling_param { pool: AVE kernel_size: 3 stride: 2 ceil_mode: false }"),
    "ip_axis": (["2 3 4 5"], "type: 'InnerProduct' inner_product_param { num_output: 7 axis: 2 weight_filler { type: 'xavier' } }"),
}
SSD = """
layer { name: 'x' type: 'Input' top: 'x' input_param { shape { dim: 1 dim: 3 dim: 20 dim: 20 } } }
layer { name: 'f' type: 'Convolution' bottom: 'x' top: 'f' convolution_param { num_output: 4 kernel_size: 4 stride: 4
  weight_filler { type: 'xavier' } } }
layer { name: 'p' type: 'PriorBox' bottom: 'f' bottom: 'x' top: 'p' prior_box_param { min_size: 5 max_size: 9 aspect_ratio: 2
  variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 } }
layer { name: 'l' type: 'Convolution' bottom: 'f' top: 'l' convolution_param { num_output: 16 kernel_size: 1
  weight_filler { type: 'gaussian' std: 2 } } }
layer { name: 'lp' type: 'Permute' bottom: 'l' top: 'lp' permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: 'lf' type: 'Flatten' bottom: 'lp' top: 'lf' }
layer { name: 'c' type: 'Convolution' bottom: 'f' top: 'c' convolution_param { num_output: 12 kernel_size: 1
  weight_filler { type: 'gaussian' std: 2 } } }
layer { name: 'cp' type: 'Permute' bottom: 'c' top: 'cp' permute_param { order: 0 order: 2 order: 3 order: 1 } }
layer { name: 'cr' type: 'Reshape' bottom: 'cp' top: 'cr' reshape_param { shape { dim: 0 dim: -1 dim: 3 } } }
layer { name: 'cs' type: 'Softmax' bottom: 'cr' top: 'cs' softmax_param { axis: 2 } }
layer { name: 'cf' type: 'Flatten' bottom: 'cs' top: 'cf' }
layer { name: 'd' type: 'DetectionOutput' bottom: 'lf' bottom: 'cf' bottom: 'p' top: 'd' detection_output_param {
  num_classes: 3 code_type: CENTER_SIZE confidence_threshold: 0.2 keep_top_k: 30 nms_param { nms_threshold: 0.45 top_k: 400 } } }
"""
# Classifiers: model with data, weights, and how many images of which kind are tested.
CIFAR = [("lossless", 700), ("JPEG", 2000)]
CLASSIFIERS = {
    "lenet": ("lenet/train_test.local.prototxt", "lenet/lenet_iter_10000.caffemodel", [("", 10000)]),
    "lenet_v1layers": ("lenet/train_test.local.prototxt", "lenet/lenet_iter_10000_v1layers.caffemodel", [("", 10000)]),
    "cifar10_quick": ("cifar10_quick/train_test.local.prototxt", "cifar10_quick/cifar10_quick_iter_5000.caffemodel", CIFAR),
    "cifar10_full": ("cifar10_full/train_test.local.prototxt", "cifar10_full/cifar10_full_iter_70000.caffemodel", CIFAR),
    "resnet20": ("resnet20_cifar10/train_test.local.prototxt", "resnet20_cifar10/ResNet_20.caffemodel", CIFAR),
    "resnet56": ("resnet56_cifar10/train_test.local.prototxt", "resnet56_cifar10/ResNet_56.caffemodel", CIFAR),
    "squeezenet_v1.1": ("squeezenet_v1.1/train_val.local.prototxt", "squeezenet_v1.1/squeezenet_v1.1.caffemodel", [("", 1000)]),
}
# Without AMCT's shift the codes are a little different ones, and of so many answers that are others, more may be right or wrong:
# these are further off than 0.1 points, as docs/onnx.md says.
FURTHER_OFF = {"cifar10_full", "squeezenet_v1.1"}
FILES = {"plain": [], "keep-shift": ["--keep-shift"], "s8": ["--activations", "s8"]}
failures = []
options = argparse.Namespace()


def report(name, text, bad):
    print(f"{name:34} {text}  {'BAD' if bad else 'ok'}", flush=True)
    if bad:
        failures.append(name)


def qaffe(*arguments):
    done = subprocess.run([str(options.build / "qaffe"), *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, (done.stdout if done.returncode == 0 else done.stderr).strip()


def export(out, model, weights=None, *more):
    """None, or why it failed. onnx.checker looks at what there is."""
    chosen = ["--weights", weights] if weights else []
    code, text = qaffe("export-onnx", "--model", model, *chosen, "--out", out, "--opset", options.opset, *more)
    if code:
        return text.splitlines()[-1] if text else f"exit code {code}"
    onnx.checker.check_model(onnx.load(out), full_check=True)
    return None


def has_vnni():
    cpu = pathlib.Path("/proc/cpuinfo")
    return not cpu.exists() or any(word in cpu.read_text() for word in ("vnni", "asimd"))


def runtime(path):
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other programs want the processor, too
    if not has_vnni():
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])


def openvino_of(path):
    return openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def in_openvino(path, inputs):
    compiled = openvino_of(path)
    found = compiled(inputs)
    return {name: found[output] for output in compiled.outputs for name in output.names}


def distance(expected, found):
    """In parts of the largest value; infinite where shapes differ."""
    if expected.shape != found.shape:
        return numpy.inf
    largest = numpy.abs(expected).max(initial=0)
    return float(numpy.abs(expected - found).max(initial=0) / largest) if largest else float(numpy.abs(found).max(initial=0))


# ---- one layer ----

def weights_of(folder, description, work):
    """The recorded weights, or some of the net itself."""
    if description.get("weights"):
        return folder / description["weights"]
    path = work / "w.caffemodel"
    caffe.Net(str(folder / description["net"]), caffe.TEST).save(str(path))
    return path


def recorded_layers(work):
    golden = pathlib.Path(os.environ.get("QAFFE_GOLDEN", SOURCE.parent / "shared/golden")).resolve() / "caffe/layers"
    counts = {"same": 0, "refused": 0, "left out": 0}
    for file in sorted(golden.glob("*/*/case.json")):
        name = f"{file.parent.parent.name}/{file.parent.name}"
        case = json.loads(file.read_text())
        inputs = case.get("inputs") or []
        if options.only not in name or case.get("passes", 1) != 1 or not inputs or not case.get("outputs"):
            counts["left out"] += 1
            continue
        bad, text = run_recorded(file.parent, case, inputs, work)
        counts["refused" if text.startswith("refused") else "left out" if text.startswith("left") else "same"] += not bad
        if bad or options.verbose:
            report(name, text, bad)
    print(f"recorded layers: {counts}")


def run_recorded(folder, case, inputs, work):
    given = {i["blob"]: numpy.load(folder / i["file"]) for i in inputs}
    if case["phase"] == "TRAIN" and case["layer_type"] in ("BatchNorm", "Dropout"):
        return False, "left out: the file is of the TEST phase"
    os.chdir(folder)
    shapes = ",".join(f"{blob}={'x'.join(map(str, x.shape))}" for blob, x in given.items() if x.ndim and x.size)
    try:
        weights = weights_of(folder, case, work)
        why = export(work / "l.onnx", folder / case["net"], weights, *(["--shape", shapes] if shapes else []))
    except onnx.checker.ValidationError as wrong:
        return True, str(wrong).splitlines()[0]
    except (RuntimeError, OSError, ValueError) as wrong:
        return False, f"left out: {wrong}"
    if why:
        expected = "cannot be exported to ONNX" in why or "to export" in why or "can be exported" in why
        return not expected, f"refused: {why}" if expected else why
    session = runtime(work / "l.onnx")
    names = [i.name for i in session.get_inputs()]
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {n: given[n].astype("f") for n in names})))
    worst, compared = 0.0, 0
    for output in case["outputs"]:
        name = next((o for o in found if o == output["blob"] or o.startswith(output["blob"] + ".")), None)
        if not name:
            continue
        expected, y = numpy.load(folder / output["file"]), found[name]
        compared += 1
        if expected.size == y.size and (expected.ndim <= 1 or expected.shape == y.shape):
            worst = max(worst, distance(expected.astype("f").reshape(y.shape), y))
        else:
            worst = numpy.inf
    if not compared:
        return False, "left out: no output of the net is in the file"
    return worst > 1e-4, f"{worst:.1e}"


def forks(work):
    random = numpy.random.default_rng(1)
    for name, (shapes, rest) in FORKS.items():
        if options.only not in name:
            continue
        text = "".join("layer { name: 'x%d' type: 'Input' top: 'x%d' input_param { shape { %s } } }\n"
                       % (i, i, " ".join("dim: " + d for d in shape.split())) for i, shape in enumerate(shapes))
        text += "layer { name: 'l' %s top: 'y' %s }\n" % (" ".join(f"bottom: 'x{i}'" for i in range(len(shapes))), rest)
        compare_text(name, text, {f"x{i}": random.standard_normal([int(d) for d in shape.split()]).astype("f")
                                  for i, shape in enumerate(shapes)}, work, 1e-5)
    if options.only in "ssd":
        compare_text("ssd", SSD, {"x": random.standard_normal((1, 3, 20, 20)).astype("f")}, work, 1e-5)


def compare_text(name, text, given, work, limit):
    model, weights = work / "l.prototxt", work / "l.caffemodel"
    model.write_text(text)
    net = caffe.Net(str(model), caffe.TEST)
    net.save(str(weights))
    for blob, x in given.items():
        net.blobs[blob].data[...] = x
    net.forward()
    why = export(work / "l.onnx", model, weights)
    if why:
        report(name, why, True)
        return
    session = runtime(work / "l.onnx")
    found = session.run(None, given)
    elsewhere = in_openvino(work / "l.onnx", given)
    pairs = [(net.blobs[o.name].data, y, elsewhere[o.name]) for o, y in zip(session.get_outputs(), found)]
    worst = max(distance(ours, y) for ours, y, _ in pairs)
    other = max(distance(ours, y) if ours.shape == y.shape else -1 for ours, _, y in pairs)
    report(name, f"ONNX Runtime {worst:.1e}, OpenVINO {'other rows' if other < 0 else f'{other:.1e}'}", worst > limit)


# ---- nets of the data folder ----

def references():
    """Name, model, weights and the input of each net that has a reference output."""
    for file in sorted(pathlib.Path("reference-outputs").glob("*/index.json")):
        if options.only in file.parent.name:
            index = json.loads(file.read_text())
            yield file.parent.name, index["prototxt"], index["model"], numpy.load(file.parent / "input.npy")


def run_ours(model, weights, x):
    net = caffe.Net(model, weights, caffe.TEST)
    net.blobs[net.inputs[0]].reshape(*x.shape)
    net.blobs[net.inputs[0]].data[...] = x
    net.forward()
    return net


def float_nets(work):
    for name, model, weights, x in references():
        net = run_ours(model, weights, x)
        blob = net.inputs[0]
        path = work / "f.onnx"
        why = export(path, model, weights, "--shape", f"{blob}={'x'.join(map(str, x.shape))}")
        if why:
            report(name, why, True)
            continue
        session = runtime(path)
        found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {blob: x})))
        elsewhere = in_openvino(path, {blob: x})
        worst = max(distance(net.blobs[o].data, y) for o, y in found.items())
        other = max(distance(net.blobs[o].data, elsewhere[o]) for o in found)
        report(name, f"ONNX Runtime {worst:.1e}, OpenVINO {other:.1e} of the largest value", not max(worst, other) < 1e-4)


# ---- quantised ----

def kinds(path):
    """What ONNX Runtime makes of it: how many layers it computes in integers."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.optimized_model_filepath = str(path) + ".optimised"
    onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    nodes = [node.op_type for node in onnx.load(settings.optimized_model_filepath).graph.node]
    return sum(kind in ("QLinearConv", "QGemm", "QLinearMatMul") for kind in nodes)


def own_batches(net, count):
    """Inputs and labels of the first `count` images of the net's own data, and the net's answers."""
    label = next(net.top_names[layer][1] for layer in net._layer_names if len(net.top_names[layer]) > 1)
    seen = 0
    while seen < count:
        net.forward()
        yield net.blobs[label].data.reshape(-1)[:count - seen].astype(int)
        seen += len(net.blobs[label].data)


def jpeg_batches(net, count):
    """The same of CIFAR-10's re-encoded images: Caffe decodes to B, G, R, these nets want R, G, B."""
    source = pathlib.Path(options.work) / "jpeg.prototxt"
    source.write_text("layer { name: 'd' type: 'Data' top: 'data' top: 'label' data_param { backend: LMDB batch_size: 100 "
                      "source: 'cifar10/cifar10_jpeg_test_lmdb' } }")
    images = caffe.Net(str(source), caffe.TEST)
    mean = caffe.proto.caffe_pb2.BlobProto.FromString(pathlib.Path("cifar10/mean.binaryproto").read_bytes())
    first, second = list(net._layer_names)[:2]
    for _ in range(0, count, 100):
        images.forward()
        net.blobs[net.top_names[first][0]].data[...] = images.blobs["data"].data[:, ::-1] - numpy.array(mean.data).reshape(3, 32, 32)
        net.forward(start=second)
        yield images.blobs["label"].data.astype(int)


def answers_of(net):
    """The blob that SoftmaxWithLoss and Accuracy read."""
    return next(net.bottom_names[layer][0] for layer, kind in zip(net._layer_names, net.layers)
                if kind.type in ("SoftmaxWithLoss", "Accuracy"))


class Answers:
    """Right answers of the fake-quant model and of the files, and how many of a file's are others than the model's."""

    def __init__(self, files):
        self.seen, self.ours, self.right, self.differ = 0, 0, dict.fromkeys(files, 0), dict.fromkeys(files, 0)

    def add(self, labels, ours, theirs):
        self.seen += len(labels)
        self.ours += int((ours == labels).sum())
        for file, found in theirs.items():
            self.right[file] += int((found == labels).sum())
            self.differ[file] += int((found != ours).sum())

    def off(self, file):
        """In points of accuracy."""
        return 100 * (self.right[file] - self.ours) / self.seen

    def text(self):
        return f"{self.seen} images: fake-quant {100 * self.ours / self.seen:.2f} %" + "".join(
            f", {file} {self.off(file):+.2f} ({self.differ[file]} differ)" for file in self.right)


def classifier(name, model, weights, sets, work):
    prefix = work / name
    code, text = qaffe("ptq", "run", "--model", model, "--weights", weights, "--out", prefix)
    why = text if code else ""
    for file, more in FILES.items():
        why = why or export(work / f"{file}.onnx", prefix, None, *more)
    if why:
        report(name, why[-300:], True)
        return
    net = caffe.Net(f"{prefix}_fake_quant_model.prototxt", f"{prefix}_fake_quant_weights.caffemodel", caffe.TEST)
    sessions = {file: runtime(work / f"{file}.onnx") for file in FILES}
    elsewhere = {file: openvino_of(work / f"{file}.onnx") for file in FILES if file != "s8"}
    blob = sessions["plain"].get_inputs()[0].name
    total = Answers([*FILES, *(f"OpenVINO {file}" for file in elsewhere)])
    for kind, count in sets:
        part = Answers(FILES)
        for labels in (jpeg_batches if kind == "JPEG" else own_batches)(net, count):
            x = net.blobs[blob].data
            best = lambda y: y.reshape(len(x), -1).argmax(1)[:len(labels)]
            ours = best(net.blobs[answers_of(net)].data)
            theirs = {file: best(session.run(None, {blob: x})[0]) for file, session in sessions.items()}
            part.add(labels, ours, theirs)
            total.add(labels, ours, theirs | {f"OpenVINO {file}": best(run({blob: x})[0]) for file, run in elsewhere.items()})
        if len(sets) > 1:
            print(f"{name + ', ' + kind:34} {part.text()}", flush=True)
    integers = {file: kinds(work / f"{file}.onnx") for file in ("plain", "s8")}
    further = abs(total.off("plain")) > 0.1
    report(name, f"{total.text()}; layers in integers: {integers}{'; plain FURTHER OFF than 0.1' if further else ''}",
           abs(total.off("keep-shift")) > 0.1 or (further and name not in FURTHER_OFF) or abs(total.off("s8")) > 1)


def others(work):
    """Nets without labels: calibrated on their reference input, whose outputs are compared."""
    for name, model, weights, x in references():
        if name.startswith(("lenet", "cifar", "resnet", "squeeze")):
            continue
        folder = work / f"{name}_raw"
        folder.mkdir()
        x.astype("f").tofile(folder / "0.bin")
        net = caffe.Net(model, weights, caffe.TEST)
        sized = work / f"{name}.prototxt"
        shaped(model, sized, x.shape)
        code, text = qaffe("ptq", "run", "--model", sized, "--weights", weights, "--data", folder, "--batch-num", 1,
                           "--out", work / name)
        why = text if code else export(work / "q.onnx", work / name)
        if why:
            report(name, why[-300:], True)
            continue
        net = run_ours(f"{work / name}_fake_quant_model.prototxt", f"{work / name}_fake_quant_weights.caffemodel", x)
        session = runtime(work / "q.onnx")
        found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {net.inputs[0]: x})))
        plain = run_ours(str(sized), weights, x)
        worst = min(decibels(net.blobs[o].data, y) for o, y in found.items())
        loss = min(decibels(plain.blobs[o].data, net.blobs[o].data) for o in found)
        there = in_openvino(work / "q.onnx", {net.inputs[0]: x})
        elsewhere = min(decibels(net.blobs[o].data, there[o]) for o in found)
        report(name, f"outputs {worst:.1f} dB from the fake-quant model's (OpenVINO {elsewhere:.1f}), which are "
                     f"{loss:.1f} dB from the float model's; {kinds(work / 'q.onnx')} layers in integers",
               min(worst, elsewhere) < loss - 3)


def decibels(signal, other):
    noise = float(((signal - other) ** 2).sum())
    return 10 * numpy.log10(float((signal ** 2).sum()) / noise) if noise else 200.0


def shaped(model, path, shape):
    """The net for an input of this shape."""
    from caffe.proto import caffe_pb2
    from google.protobuf import text_format
    net = text_format.Parse(pathlib.Path(model).read_text(), caffe_pb2.NetParameter())
    if net.input_dim:
        net.input_dim[:] = shape
    elif net.input_shape:
        net.input_shape[0].dim[:] = shape
    else:
        next(layer for layer in net.layer if layer.type == "Input").input_param.shape[0].dim[:] = shape
    path.write_text(text_format.MessageToString(net))


def fashion(work):
    """LeNet has no weights for these: some iterations give it some."""
    for kind, name in (("train", "train"), ("t10k", "test")):
        qaffe("convert-idx", "--images", f"fashion-mnist/{kind}-images-idx3-ubyte.gz", "--labels",
              f"fashion-mnist/{kind}-labels-idx1-ubyte.gz", "--out", work / f"fashion_{name}_lmdb")
    text = pathlib.Path("lenet/train_test.local.prototxt").read_text()
    text = text.replace("mnist/mnist_train_20k_lmdb", f"{work}/fashion_train_lmdb")
    (work / "fashion.prototxt").write_text(text.replace("mnist/mnist_test_lmdb", f"{work}/fashion_test_lmdb"))
    (work / "fashion_solver.prototxt").write_text(
        f'net: "{work}/fashion.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 600 display: 0 '
        f'snapshot_prefix: "{work}/fashion" random_seed: 1')
    code, why = qaffe("train", "--solver", work / "fashion_solver.prototxt")
    if code:
        report("fashion", why[-300:], True)
        return
    classifier("fashion", work / "fashion.prototxt", work / "fashion_iter_600.caffemodel", [("", 10000)], work)


def quantised_nets(work):
    for name, (model, weights, sets) in CLASSIFIERS.items():
        if options.only in name:
            classifier(name, model, weights, sets, work)
    if options.only in "fashion":
        fashion(work)
    others(work)


def main():
    global caffe
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help="layers, float, qdq; all without a word")
    parser.add_argument("--build", type=pathlib.Path, default=SOURCE / "build/release")
    parser.add_argument("--only", default="", help="names that contain this")
    parser.add_argument("--opset", type=int, default=17)
    parser.add_argument("--verbose", action="store_true", help="a line for each recorded layer")
    parser.parse_args(namespace=options)
    options.build = options.build.resolve()
    sys.path.insert(0, str(options.build / "python"))
    import caffe
    data = pathlib.Path(os.environ.get("QAFFE_DATA", SOURCE.parent / "shared/data"))
    if not data.is_dir():
        print(f"skipped: no data at {data}")
        return SKIPPED
    parts = options.parts or ["layers", "float", "qdq"]
    with tempfile.TemporaryDirectory() as folder:
        work = options.work = pathlib.Path(folder)
        if "layers" in parts:
            recorded_layers(work)
            forks(work)
        os.chdir(data)
        if "float" in parts:
            float_nets(work)
        if "qdq" in parts:
            quantised_nets(work)
    if failures:
        print("failed:", *failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
