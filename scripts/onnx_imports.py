#!/usr/bin/env python3
"""ONNX models that qaffe imports, beside what they were.

    scripts/onnx_imports.py round-trip|public [--build FOLDER] [--only WORD]

round-trip: each net of ../shared/data (QAFFE_DATA) is exported, imported and exported again; the imported net's outputs
are the first one's, and the second file's import gives the same again. A net that ptq run quantised goes the same way: its
record has the ranges of the export, and convert_model's net gives the same answers.
public: models that PyPI packages carry (onnx, rapidocr_onnxruntime, nudenet, magika, silero_vad, as far as they are
installed) give ONNX Runtime's outputs, or are refused with the node. The weights of onnx's own "light" models, which are
all alike, are drawn first.

Exit code 77: what it needs is not there."""
import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
parser.add_argument("part", choices=("round-trip", "public"))
parser.add_argument("--build", default=SOURCE / "build/release", type=pathlib.Path)
parser.add_argument("--only", default="", help="nets whose name has this word")
options = parser.parse_args()
os.environ.setdefault("GLOG_minloglevel", "2")
sys.path.insert(0, str(options.build.resolve() / "python"))

try:
    import numpy
    import caffe
    if options.part == "public":
        import onnx
        import onnxruntime
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

failures = 0


def report(name, said, wrong):
    global failures
    failures += bool(wrong)
    print(f"{name}: {said}{'  WRONG' if wrong else ''}", flush=True)


def qaffe(*words):
    """Nothing, or what it said when it failed."""
    done = subprocess.run([options.build.resolve() / "qaffe", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)
    return done.stderr.strip().split("\n")[-1] if done.returncode else ""


def import_model(path, prefix, *more):
    return qaffe("import-onnx", "--model", path, "--out", prefix, *more)


def run(model, weights, inputs):
    net = caffe.Net(str(model), str(weights), caffe.TEST)
    for name, values in inputs.items():
        net.blobs[name].reshape(*values.shape)
        net.blobs[name].data[...] = values
    net.forward()
    return net


def distance(found, expected):
    """The largest difference, in parts of the largest value."""
    if found.shape != expected.shape:
        return numpy.inf
    return float(numpy.abs(found - expected).max() / max(numpy.abs(expected).max(), 1e-30))


# ---- there and back ----

def there_and_back(work, name, model, weights, x):
    first = run(model, weights, {})
    blob = first.inputs[0]
    first = run(model, weights, {blob: x})
    shape = f"{blob}={'x'.join(map(str, x.shape))}"
    why = qaffe("export-onnx", "--model", model, "--weights", weights, "--out", work / "1.onnx", "--shape", shape)
    worst = 0.0
    for step in "12":
        why = why or import_model(work / f"{step}.onnx", work / step, "--batch", x.shape[0])
        if why:
            return report(name, why, True)
        net = run(work / f"{step}.prototxt", work / f"{step}.caffemodel", {blob: x})
        worst = max([worst] + [distance(net.blobs[o].data, first.blobs[o].data) for o in first.outputs])
        if step == "1":
            why = qaffe("export-onnx", "--model", work / "1.prototxt", "--weights", work / "1.caffemodel", "--out", work / "2.onnx")
    return report(name, f"{worst:.1e} of the largest value", not worst < 1e-5)


def quantised(work):
    """The codes and scales of a quantised net survive the way through a record."""
    prefix, again = work / "lenet", work / "lenet_again"
    why = (qaffe("ptq", "run", "--model", "lenet/train_test.local.prototxt", "--weights", "lenet/lenet_iter_10000.caffemodel",
                 "--out", prefix, "--test-iterations", 1) or
           qaffe("export-onnx", "--model", prefix, "--out", work / "q.onnx") or
           import_model(work / "q.onnx", work / "q", "--batch", 100) or
           qaffe("ptq", "convert", "--model", work / "q.prototxt", "--weights", work / "q.caffemodel",
                 "--record", work / "q_record.txt", "--out", again))
    if why:
        return report("lenet, quantised", why, True)
    before = caffe.Net(f"{prefix}_fake_quant_model.prototxt", f"{prefix}_fake_quant_weights.caffemodel", caffe.TEST)
    before.forward()
    x = before.blobs["data"].data
    after = run(f"{again}_fake_quant_model.prototxt", f"{again}_fake_quant_weights.caffemodel", {"data": x})
    one, other = before.blobs["ip2"].data, after.blobs[after.outputs[0]].data
    same = int((one.argmax(1) == other.argmax(1)).sum())
    return report("lenet, quantised", f"{same} of {len(one)} answers are the same", same < len(one) - 1)


def round_trip(work):
    data = pathlib.Path(os.environ.get("QAFFE_DATA", SOURCE.parent / "shared/data"))
    if not data.is_dir():
        print(f"skipped: {data} is not there")
        sys.exit(77)
    (work / "data").mkdir()
    for one in data.iterdir():  # logs are written beside what is read
        if one.name != "amct_log":
            (work / "data" / one.name).symlink_to(one.resolve())
    os.chdir(work / "data")
    for file in sorted(pathlib.Path("reference-outputs").glob("*/index.json")):
        if options.only in file.parent.name:
            index = json.loads(file.read_text())
            there_and_back(work, file.parent.name, index["prototxt"], index["model"], numpy.load(file.parent / "input.npy"))
    if options.only in "quantised":
        quantised(work)


# ---- public models ----

# Package, path in it, sizes that it leaves open, and what of the sentence if it is refused.
PUBLIC = [("onnx", f"backend/test/data/light/light_{name}.onnx", "", "") for name in (
    "bvlc_alexnet", "densenet121", "inception_v1", "inception_v2", "resnet50", "shufflenet", "squeezenet", "zfnet512")] + [
        ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", "x=1x3x48x192", ""),
        ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", "x=1x3x320x320", ""),
        ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", "x=1x3x48x320", ""),
        ("nudenet", "320n.onnx", "images=1x3x320x320", ""),
        ("magika", "models/standard_v3_3/model.onnx", "", "(Equal): its inputs follow from the data"),
        ("silero_vad", "data/silero_vad.onnx", "input=1x512,state=2x1x128", "(Equal): its inputs follow from the data")]


def draw_weights(model, rng):
    """Constants of one value become weights of nets that do not die out; Softmax, which would hide differences, goes."""
    last = model.graph.node[-1]
    if last.op_type == "Softmax":
        model.graph.output[0].name = last.input[0]
        model.graph.node.remove(last)
    sizes = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = tuple(int(size) for size in sizes[node.input[0]])
        inputs = max(int(numpy.prod(shape[1:])), 1)
        values = rng.standard_normal(shape) * (2 / inputs) ** 0.5 if len(shape) > 1 else rng.uniform(0.5, 1.5, shape)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values.astype(numpy.float32), node.output[0]))
        model.graph.node.remove(node)


def compare(name, path, prefix, shapes, refusal):
    why = import_model(path, prefix, *(("--shape", shapes) if shapes else ()))
    if why or refusal:
        return report(name, why or "is not refused", not refusal or refusal not in why)
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    net = caffe.Net(f"{prefix}.prototxt", f"{prefix}.caffemodel", caffe.TEST)
    rng = numpy.random.default_rng(1)
    inputs = {blob: rng.uniform(-1, 1, net.blobs[blob].data.shape).astype(numpy.float32) for blob in net.inputs}
    expected = session.run(None, inputs)
    net = run(f"{prefix}.prototxt", f"{prefix}.caffemodel", inputs)
    worst = max(distance(net.blobs[o.name].data, y) for o, y in zip(session.get_outputs(), expected))
    return report(name, f"{worst:.1e} of the largest value from ONNX Runtime's", not worst < 1e-4)


def public(work):
    for package, path, shapes, refusal in PUBLIC:
        found = importlib.util.find_spec(package)
        file = pathlib.Path(found.submodule_search_locations[0]) / path if found else None
        if options.only not in path:
            continue
        if not file or not file.exists():
            report(path, f"left out: {package} is not installed", False)
            continue
        if package == "onnx":
            model = onnx.load(str(file))
            draw_weights(model, numpy.random.default_rng(2))
            file = work / "drawn.onnx"
            onnx.save(model, str(file))
        compare(pathlib.Path(path).name, file, work / "public", shapes, refusal)


with tempfile.TemporaryDirectory() as folder:
    (round_trip if options.part == "round-trip" else public)(pathlib.Path(folder).resolve())
sys.exit(1 if failures else 0)
