#!/usr/bin/env python3
"""ONNX models that qaffe imports, beside what they were.

    scripts/onnx_imports.py round-trip|quantised|public [--build FOLDER] [--only WORD]

round-trip: each net of ../shared/data (QAFFE_DATA) is exported, imported and exported again; the imported net's outputs
are the first one's, and the second file's import gives the same again.
quantised: the same nets, quantised by ptq run: exported, imported, made a quantised net again by ptq convert of the record
that the import wrote, and exported: ONNX Runtime gives the same outputs for both files. (The nets themselves differ by N,
which QDQ does not say and convert searches anew.)
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
parser.add_argument("part", choices=("round-trip", "quantised", "public"))
parser.add_argument("--build", default=SOURCE / "build/release", type=pathlib.Path)
parser.add_argument("--only", default="", help="nets whose name has this word")
options = parser.parse_args()
os.environ.setdefault("GLOG_minloglevel", "2")
sys.path.insert(0, str(options.build.resolve() / "python"))

try:
    import numpy
    import caffe
    if options.part != "round-trip":
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


def in_data_folder(work):
    data = pathlib.Path(os.environ.get("QAFFE_DATA", SOURCE.parent / "shared/data"))
    if not data.is_dir():
        print(f"skipped: {data} is not there")
        sys.exit(77)
    (work / "data").mkdir()
    for one in data.iterdir():  # logs are written beside what is read
        if one.name != "amct_log":
            (work / "data" / one.name).symlink_to(one.resolve())
    os.chdir(work / "data")


def references():
    for file in sorted(pathlib.Path("reference-outputs").glob("*/index.json")):
        if options.only in file.parent.name:
            index = json.loads(file.read_text())
            yield file.parent.name, index["prototxt"], index["model"], numpy.load(file.parent / "input.npy")


def round_trip(work):
    in_data_folder(work)
    for name, model, weights, x in references():
        there_and_back(work, name, model, weights, x)


# ---- the same, quantised ----

def sized(model, path, shape):
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


def runtime(path, x):
    """Outputs by name, computed in float between the codes, as ONNX says."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return [o.name for o in session.get_outputs()], session.run(None, {session.get_inputs()[0].name: x})


def integers(path):
    """How many layers have int8 weights."""
    graph = onnx.load(str(path)).graph
    return sum(one.data_type == onnx.TensorProto.INT8 and len(one.dims) > 1 for one in graph.initializer)


def quantised_there_and_back(work, name, model, weights, x):
    x = x.astype(numpy.float32)
    first, second, raw = work / name, work / f"{name}_again", work / f"{name}_raw"
    raw.mkdir()
    x.tofile(raw / "0.bin")
    sized(model, work / "sized.prototxt", x.shape)
    again = ("--batch", x.shape[0])
    why = (qaffe("ptq", "run", "--model", work / "sized.prototxt", "--weights", weights, "--data", raw, "--batch-num", 1,
                 "--out", first) or
           qaffe("export-onnx", "--model", first, "--out", work / "1.onnx") or
           import_model(work / "1.onnx", work / "1", *again) or
           qaffe("ptq", "convert", "--model", work / "1.prototxt", "--weights", work / "1.caffemodel",
                 "--record", work / "1_record.txt", "--out", second) or
           qaffe("export-onnx", "--model", second, "--out", work / "2.onnx"))
    if why:
        return report(name, why, True)
    (names, one), (others, other) = runtime(work / "1.onnx", x), runtime(work / "2.onnx", x)
    layers = integers(work / "1.onnx"), integers(work / "2.onnx")
    worst = max(distance(b, a) for a, b in zip(one, other))
    return report(name, f"{layers[0]} layers in integers, then {layers[1]}; {worst:.1e} of the largest value",
                  layers[0] != layers[1] or len(names) != len(others) or not worst < 1e-5)


def quantised(work):
    in_data_folder(work)
    for name, model, weights, x in references():
        quantised_there_and_back(work, name, model, weights, x)


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
    {"round-trip": round_trip, "quantised": quantised, "public": public}[options.part](pathlib.Path(folder).resolve())
sys.exit(1 if failures else 0)
