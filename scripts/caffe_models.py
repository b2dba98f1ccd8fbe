#!/usr/bin/env python3
"""Every .prototxt under models/ and examples/ of a Caffe checkout, run by qaffe on made-up data.

    scripts/caffe_models.py CAFFE [--batch N] [--table FILE]

Data layers become DummyData of the same shape (batches reduced to N), everything else stays as it is. A net that
trains goes forward and backward in TRAIN and forward in TEST; a deploy net goes forward; a solver trains an iteration
and runs its test nets. Prints a line a file and ends with 1 if one failed that is not broken itself.
Needs the Python packages of the build (PYTHONPATH=build/release/python) and Python layers of the checkout's examples.
"""
import argparse
import multiprocessing
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("GLOG_minloglevel", "2")

DATA_TYPES = {"Data", "ImageData", "HDF5Data", "WindowData", "MemoryData"}
# Shapes that a data layer without crop_size takes from its files, by a word in the source.
SHAPES = {"siamese": (2, 28, 28), "mnist": (1, 28, 28), "cifar10": (3, 32, 32), "hdf5_classification": (4,)}
PARAMETERS = ["data_param", "image_data_param", "hdf5_data_param", "window_data_param", "memory_data_param"]
TIME_LIMIT = 300  # seconds a file
# Files that cannot run as they are, in BVLC Caffe either.
BROKEN = {"examples/mnist/lenet_auto_solver.prototxt":
          "its nets are not in the checkout: a notebook writes them (examples/01-learning-lenet.ipynb)"}


def item_shape(layer):
    """Shape of one item of a data layer's first top."""
    if layer.transform_param.crop_size:
        return 3, layer.transform_param.crop_size, layer.transform_param.crop_size
    if layer.HasField("window_data_param") and layer.window_data_param.crop_size:
        return 3, layer.window_data_param.crop_size, layer.window_data_param.crop_size
    source = next(getattr(layer, name).source for name in PARAMETERS if layer.HasField(name))
    for word, shape in SHAPES.items():
        if word in source:
            return shape
    raise ValueError("the shape of the data in '%s' is not known to this script" % source)


def replace_data(net, batch):
    """Turn the data layers of a NetParameter (V1 or V2) into DummyData, and inputs into batches of `batch`."""
    for layer in list(net.layer) + list(net.layers):
        kind = layer.type if isinstance(layer.type, str) else layer.LayerType.Name(layer.type)
        if kind.replace("_", "").lower() in {name.lower() for name in DATA_TYPES}:
            shape = item_shape(layer)
            layer.type = "DummyData" if layer in net.layer else layer.DUMMY_DATA
            for name in PARAMETERS + ["transform_param"]:
                layer.ClearField(name)
            fillers = [{"type": "uniform", "min": -1, "max": 1}, {"type": "constant", "value": 1}]
            for dims, filler in zip([(batch,) + shape, (batch,)][:len(layer.top)], fillers):
                layer.dummy_data_param.shape.add().dim.extend(dims)
                layer.dummy_data_param.data_filler.add(**filler)
        elif kind == "Input":
            for shape in layer.input_param.shape:
                shape.dim[0] = min(shape.dim[0], batch)
    for shape in net.input_shape:
        shape.dim[0] = min(shape.dim[0], batch)
    for first in range(0, len(net.input_dim), 4):
        net.input_dim[first] = min(net.input_dim[first], batch)


def read(path, message):
    from google.protobuf import text_format
    return text_format.Parse(pathlib.Path(path).read_text(), message)


def check_finite(blobs):
    import numpy
    for name, values in blobs.items():
        if not numpy.isfinite(values).all():
            raise ArithmeticError("blob '%s' is not finite" % name)


def run_net(net_parameter, batch, folder):
    """Returns what was run, in words."""
    import caffe
    replace_data(net_parameter, batch)
    path = os.path.join(folder, "net.prototxt")
    pathlib.Path(path).write_text(str(net_parameter))
    done = []
    for phase, name in ((caffe.TRAIN, "TRAIN"), (caffe.TEST, "TEST")):
        for stage in stages_of(net_parameter, phase):
            net = caffe.Net(path, phase, stages=[stage] if stage else None)
            trains = phase == caffe.TRAIN and any(net.blob_loss_weights.values())
            if phase == caffe.TRAIN and not trains:
                continue  # a deploy net: nothing to learn
            check_finite(net.forward())
            if trains:
                net.backward()
                check_finite({name: blobs[0].diff for name, blobs in net.params.items()})
            done.append("forward%s %s" % (" and backward" if trains else "", " ".join(filter(None, [name, stage]))))
    return ", ".join(done)


def stages_of(net_parameter, phase):
    """The stages that rules of the phase ask for; [None] if none does."""
    found = {stage for layer in list(net_parameter.layer) + list(net_parameter.layers)
             for rule in layer.include if rule.phase == phase for stage in rule.stage}
    return sorted(found) or [None]


def run_solver(solver, batch, folder, checkout):
    import caffe
    from caffe.proto import caffe_pb2
    solver_path = os.path.join(folder, "solver.prototxt")

    def own_net(path, index):
        net = read(os.path.join(checkout, path), caffe_pb2.NetParameter())
        replace_data(net, batch)
        own = os.path.join(folder, "net%d.prototxt" % index)
        pathlib.Path(own).write_text(str(net))
        return own

    for index, field in enumerate(("net", "train_net")):
        if solver.HasField(field):
            setattr(solver, field, own_net(getattr(solver, field), index))
    solver.test_net[:] = [own_net(path, 2 + i) for i, path in enumerate(solver.test_net)]
    for net in ([solver.net_param] if solver.HasField("net_param") else []) + list(solver.test_net_param):
        replace_data(net, batch)
    if solver.HasField("train_net_param"):
        replace_data(solver.train_net_param, batch)
    solver.test_iter[:] = [1] * len(solver.test_iter)
    solver.solver_mode = solver.CPU
    solver.snapshot_prefix = os.path.join(folder, "state")
    solver.ClearField("snapshot")
    pathlib.Path(solver_path).write_text(str(solver))
    running = caffe.get_solver(solver_path)
    running.step(1)
    check_finite({name: blobs[0].data for name, blobs in running.net.params.items()})
    for net in running.test_nets:
        check_finite(net.forward())
    return "an iteration (%s), %d test nets" % (solver.type, len(running.test_nets))


def run_file(path, batch, checkout, connection):
    """In a process of its own, so that a crash or a hang is one failure."""
    try:
        sys.path.insert(0, os.path.join(checkout, "examples/pycaffe/layers"))
        from google.protobuf import text_format
        from caffe.proto import caffe_pb2
        with tempfile.TemporaryDirectory() as folder:
            try:
                solver = read(path, caffe_pb2.SolverParameter())
            except text_format.ParseError:
                done = run_net(read(path, caffe_pb2.NetParameter()), batch, folder)
            else:
                done = run_solver(solver, batch, folder, checkout)
        connection.send((True, done))
    except Exception as error:
        connection.send((False, " ".join(str(error).split())))


def result_of(path, batch, checkout):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.Process(target=run_file, args=(path, batch, checkout, sender))
    process.start()
    sender.close()
    try:
        result = receiver.recv() if receiver.poll(TIME_LIMIT) else (False, "more than %d s" % TIME_LIMIT)
    except EOFError:
        process.join()
        result = False, "the process died (%s)" % process.exitcode
    process.kill()
    process.join()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("caffe", help="a checkout of BVLC Caffe")
    parser.add_argument("--batch", type=int, default=2, help="items in a batch (2)")
    parser.add_argument("--table", help="also write the result as a Markdown table")
    arguments = parser.parse_args()
    checkout = os.path.realpath(arguments.caffe)
    paths = sorted(path for folder in ("models", "examples")
                   for path in pathlib.Path(checkout, folder).rglob("*.prototxt"))
    if not paths:
        sys.exit("caffe_models.py: no .prototxt under %s/models and %s/examples" % (checkout, checkout))
    rows = []
    for path in paths:
        name = str(path.relative_to(checkout))
        passed, text = result_of(str(path), arguments.batch, checkout)
        verdict = "pass" if passed else "broken file" if name in BROKEN else "FAIL"
        rows.append((name, verdict, BROKEN.get(name, text) if not passed else text))
        print("%-66s %-11s %s" % rows[-1], flush=True)
    counts = {verdict: sum(row[1] == verdict for row in rows) for verdict in ("pass", "broken file", "FAIL")}
    print("%d files: %d pass, %d broken files, %d fail" % ((len(rows),) + tuple(counts.values())))
    if arguments.table:
        lines = ["| file | result | what ran |", "|---|---|---|"] + ["| `%s` | %s | %s |" % row for row in rows]
        pathlib.Path(arguments.table).write_text("\n".join(lines) + "\n")
    return 1 if counts["FAIL"] else 0


if __name__ == "__main__":
    sys.exit(main())
