#!/usr/bin/env python3
"""Accuracy of quantised classifiers beside PyTorch, ONNX Runtime and NNCF: same weights, same images, W8A8.

    scripts/accuracy.py nets  [--only NAME]                            makes images and float nets (minutes, once)
    scripts/accuracy.py qaffe [--only NAME] [--with "--distil off"]    qaffe ptq run, and qaffe qat run with its defaults
    scripts/accuracy.py peers [--only NAME] [--peer-python FILE]       PyTorch FX and PT2E QAT, ONNX Runtime, NNCF
    scripts/accuracy.py w4a4  [--only NAME]                            qaffe qat run with 4 bits
    scripts/accuracy.py lsq   [--only NAME] [--peer-python FILE]       PyTorch LSQ with 4 bits
    scripts/accuracy.py table                                          what was measured, in Markdown

Each measurement is a line of JSON in RESULTS; one that is there already is not made again, so that a run that was stopped goes
on where it was. What each test image counts is kept in WORK/marks, for the error of differences. What trains runs with the
seeds 1 to 3; those of peers that only calibrate choose the images. Needs the Python packages of the build
(PYTHONPATH=build/release/python), lmdb, numpy, pillow and protobuf; the peers need a Python that has them
(bench/peers/README.md), given by --peer-python. docs/accuracy.md has the results.
"""
import argparse
import json
import math
import os
import pathlib
import re
import resource
import subprocess
import sys
import time

os.environ.setdefault("GLOG_minloglevel", "2")
os.environ.setdefault("AMCT_LOG_LEVEL", "ERROR")

HERE = pathlib.Path(__file__).resolve().parent.parent
CALIBRATION = 400  # images that calibration without training sees, in qaffe and in the peers
PEERS = (("onnx_ptq.py", "chance", "--calibration"), ("onnx_ptq.py", "ort", "--calibration"),
         ("onnx_ptq.py", "nncf", "--calibration"), ("pytorch_qat.py", "fx", "--seen"),
         ("pytorch_qat.py", "pt2e", "--seen"))  # script, method, the option that says how many images it sees
COLUMNS = (("qaffe ptq run", "calibrated"), ("qaffe qat run", "qaffe qat run"), ("PyTorch QAT, FX", "PyTorch FX"),
           ("PyTorch QAT, PT2E", "PyTorch PT2E"), ("ONNX Runtime", "ONNX Runtime"), ("NNCF", "NNCF"))
IN_4_BITS = ("resnet20_14000",)  # without --only; all else is in 8


# ---- results ----

class Results:
    def __init__(self, path):
        self.path, self.rows = path, []
        if os.path.exists(path):
            with open(path) as file:
                self.rows = [json.loads(line) for line in file if line.strip()]

    def has(self, net, method, seed):
        return any((row["net"], row["method"], row["seed"]) == (net, method, seed) for row in self.rows)

    def add(self, row):
        self.rows.append(row)
        with open(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")
        print("%-20s %-24s seed %d  float %6.2f  %s  (%.0f s)" % (
            row["net"], row["method"], row["seed"], row["float"], cell([row["accuracy"]]), row["seconds"]), flush=True)


def run(command, log):
    """Standard output and processor time in seconds; None where it failed, and then why on stderr. What the command writes
    to stderr goes to the file `log`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(log, "w") as errors:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        tail = pathlib.Path(log).read_text().strip().splitlines()[-3:]
        print("failed (%d): %s\n  %s" % (done.returncode, " ".join(command), "\n  ".join(tail)), file=sys.stderr, flush=True)
        return None, 0
    return done.stdout, round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)


def marks_file(options, net, method, seed):
    """What each test image counted."""
    return os.path.join(options.work, "marks", net, "%s_%d.npy" % (re.sub(r"[^A-Za-z0-9.-]+", "_", method), seed))


# ---- qaffe ----

def accuracies(text, first):
    """A table that `qat run` or `ptq run` prints, whose first column is called `first`: {"float": 99.14 …}, in percent."""
    column, found = None, {}
    for line in text.splitlines():
        cells = re.split(r"\s{2,}", line.strip())
        if column is None:
            places = [i for i, name in enumerate(cells) if "accuracy" in name.lower()]
            column = places[0] if cells[0] == first and places else None
        elif not line or line.startswith("("):
            break
        elif len(cells) > column and re.fullmatch(r"[0-9.]+", cells[column]):
            found[cells[0]] = round(100 * float(cells[column]), 4)
    return found


def field(path, name):
    found = re.search(r"^\s*%s:\s*(\S+)" % name, pathlib.Path(path).read_text(), re.MULTILINE) if os.path.exists(path) else None
    return float(found[1]) if found else None


def trained(options, name, more):
    """Jobs of qat run, one a seed, with the options `more` and those of --with: name, seed, arguments."""
    more = (more + " " + options.with_options).strip()
    name += " " + options.with_options if options.with_options else ""
    return [(name, seed, ["qat", "run", "--seed", str(seed)] + more.split()) for seed in options.seeds]


def qaffe_rows(options, results, folder, settings):
    batches = -(-CALIBRATION // settings["test_batch"])
    measure(options, results, folder, settings, [
        ("qaffe ptq run", 0, ["ptq", "run", "--data", settings["train"], "--batch-num", str(batches)])]
        + trained(options, "qaffe qat run", ""))


def w4a4_rows(options, results, folder, settings):
    measure(options, results, folder, settings, trained(options, "qaffe qat run, W4A4", "--weight-bits 4 --activation-bits 4"))


def measure(options, results, folder, settings, jobs):
    program, net = str(options.build / "qaffe"), settings["name"]
    version = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True).stdout.split("\n")[0]
    model = ["--model", folder + "/train_test.prototxt", "--weights", folder + "/weights.caffemodel",
             "--threads", str(options.threads)]
    for method, seed, arguments in jobs:
        if results.has(net, method, seed):
            continue
        out = os.path.join(options.work, "runs", net, re.sub(r"[^A-Za-z0-9.-]+", "_", method), str(seed), "m")
        os.makedirs(os.path.dirname(out), exist_ok=True)
        begin = time.monotonic()
        arguments = [argument.replace("NET/", folder + "/") for argument in arguments]
        text, work = run([program] + arguments + model + ["--out", out], out + "_errors.log")
        if text is None:
            continue
        pathlib.Path(out + "_screen.txt").write_text(text)
        models = accuracies(text, "model")
        if not {"float", "deploy"} <= models.keys():
            print("%s: no accuracies of the models in %s_screen.txt" % (net, out), file=sys.stderr, flush=True)
            continue
        iterations = field(out + "_solver.prototxt", "max_iter")
        results.add({"net": net, "method": method, "version": version, "seed": seed, "float": models["float"],
                     "accuracy": models["deploy"], "start": models.get("calibrated"),
                     "measured": accuracies(text, "state"), "images": settings["test_images"],
                     "seen": iterations and int(iterations) * settings["batch"],
                     "rate": field(out + "_solver.prototxt", "base_lr"), "seconds": round(time.monotonic() - begin, 1),
                     "cpu_seconds": work, **look_at_scores(options, folder, out, settings, method, seed)})


def look_at_scores(options, folder, out, settings, method, seed):
    """Of the deploy model OUT_deploy_model.prototxt, image by image; of a calibrated one how far it is from float."""
    import accuracy_cases
    import pixels
    images = settings["test_images"]
    found, labels = accuracy_cases.test_scores(out + "_deploy_model.prototxt", out + "_deploy_weights.caffemodel", images)
    pixels.judged(found, labels, marks_file(options, settings["name"], method, seed))
    if method != "qaffe ptq run":
        return {}
    expected, _ = accuracy_cases.test_scores(folder + "/train_test.prototxt", folder + "/weights.caffemodel", images)
    return pixels.distance(found, expected)


# ---- peers ----

def peer_row(options, results, script, arguments, net, label, seed):
    if results.has(net, label, seed):
        return
    log = os.path.join(options.work, "runs", "%s_%s_%d.log" % (net, re.sub(r"\W+", "_", label), seed))
    os.makedirs(os.path.dirname(log), exist_ok=True)
    text, work = run([options.peer_python, str(HERE / "bench/peers" / script), "--threads", str(options.threads),
                      "--seed", str(seed), "--marks", marks_file(options, net, label, seed)] + arguments, log)
    lines = [line for line in (text or "").splitlines() if line.startswith("{")]
    if lines:
        results.add({**json.loads(lines[-1]), "cpu_seconds": work})


LABELS = {"chance": "weights and chance", "ort": "ONNX Runtime", "nncf": "NNCF", "fx": "PyTorch QAT, FX",
          "pt2e": "PyTorch QAT, PT2E"}


def peer_rows(options, results, folder, settings):
    images = {"--calibration": CALIBRATION, "--seen": options.seen}
    for script, method, option in PEERS:
        if not options.method or method in options.method:
            for seed in options.seeds:
                peer_row(options, results, script, ["--net", folder, "--method", method, option, str(images[option])],
                         settings["name"], LABELS[method], seed)


def lsq_rows(options, results, folder, settings):
    for seed in options.seeds:
        peer_row(options, results, "pytorch_lsq.py", ["--net", folder, "--seen", str(options.seen)], settings["name"],
                 "PyTorch LSQ, W4A4", seed)


# ---- tables ----

def mean_and_error(values):
    """The mean, and its standard error; None for a single value."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, None
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


def cell(values):
    if not values or values[0] is None:
        return "diverges" if values else ""
    mean, error = mean_and_error(values)
    return "%.2f" % mean if error is None else "%.2f ± %.2f" % (mean, error)


def difference(options, results, net, method, other):
    """Of accuracies, and the standard error that the test images leave in it."""
    import pixels
    a, b = values_of(results, net, method), values_of(results, net, other)
    if not a or not b:
        return ""
    files = [[file for row in results.rows if (row["net"], row["method"]) == (net, name)
              for file in [marks_file(options, net, name, row["seed"])] if os.path.exists(file)] for name in (method, other)]
    error = pixels.error_of_difference(*files)
    return "%+.2f" % (sum(a) / len(a) - sum(b) / len(b)) + ("" if error is None else " ± %.2f" % error)


def row_of(cells):
    return "| " + " | ".join(cells) + " |"


def values_of(results, net, method, field="accuracy"):
    """Of all seeds; a peer's training that diverged has no accuracy."""
    return [row[field] for row in results.rows if (row["net"], row["method"]) == (net, method) and field in row]


def scatter(values):
    """The mean and the standard deviation of one value."""
    mean, error = mean_and_error(values) if values else (None, None)
    return "" if error is None else "%.2f, σ %.2f" % (mean, error * math.sqrt(len(values)))


def print_distances(results, order):
    """Of what is calibrated without training: decibels, and percent of the images that are answered otherwise than in float.
    Beside it the accuracies of the float net with a little chance in its weights."""
    methods = [(name, head) for name, head in COLUMNS if name in ("qaffe ptq run", "ONNX Runtime", "NNCF")]
    heads = [head + ", " + unit for unit in ("dB", "changed %") for _, head in methods]
    print("\n" + row_of(["net"] + heads + ["float", LABELS["chance"]]) + "\n|" + "---|" * (3 + 2 * len(methods)))
    for net in order:
        cells = [cell(values_of(results, net, name, field)) for field in ("decibels", "changed") for name, _ in methods]
        if any(cells):
            floats = [row["float"] for row in results.rows if row["net"] == net]
            print(row_of([net] + cells + ["%.2f" % floats[0], scatter(values_of(results, net, LABELS["chance"]))]))


def print_table(options, results, order):
    """W8A8: a row a net, and what the comparison is about, retrained less calibrated and less the best peer. Then W4A4."""
    methods = list(dict.fromkeys(row["method"] for row in results.rows))
    columns = COLUMNS + tuple((name, name) for name in sorted(methods) if name.startswith("qaffe qat run -"))
    print(row_of(["net", "images", "float"] + [head for _, head in columns] + ["qat − calibrated", "qat − best peer"]))
    print("|" + "---|" * (5 + len(columns)))
    for net in order:
        rows = [row for row in results.rows if row["net"] == net and row["method"] in dict(columns)]
        if rows:
            peers = {name: values_of(results, net, name) for name, _ in columns if not name.startswith("qaffe")}
            best = max((name for name, values in peers.items() if values and None not in values), default="",
                       key=lambda name: sum(peers[name]) / len(peers[name]))
            print(row_of([net, str(rows[0]["images"]), "%.2f" % rows[0]["float"]]
                         + [cell(values_of(results, net, name)) for name, _ in columns]
                         + [difference(options, results, net, "qaffe qat run", other) for other in ("qaffe ptq run", best)]))
    print_distances(results, order)
    heads = ["net", "method", "float", "before training", "accuracy", "runs", "images seen", "rate"]
    print("\n" + row_of(heads) + "\n|" + "---|" * len(heads))
    for net in order:
        for method in methods:
            rows = [row for row in results.rows if (row["net"], row["method"]) == (net, method) and row.get("seen")]
            if rows:
                print(row_of([net, method, "%.2f" % rows[0]["float"], cell(values_of(results, net, method, "start")),
                              cell([row["accuracy"] for row in rows]), str(len(rows)), str(rows[0]["seen"]),
                              "%.2g" % rows[0]["rate"]]))
    print("\nVersions: " + "; ".join(sorted({row["version"] for row in results.rows})))


# ---- command ----

MEASURES = {"nets": lambda *_: None, "qaffe": qaffe_rows, "peers": peer_rows, "w4a4": w4a4_rows, "lsq": lsq_rows}


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=(*MEASURES, "table"))
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="one of the nets; may be repeated")
    parser.add_argument("--data", default=str(HERE.parent / "shared/data"), help="the folder with models and images")
    parser.add_argument("--work", default=str(HERE / "build/accuracy"), help="where nets, images and runs lie")
    parser.add_argument("--build", type=pathlib.Path, default=HERE / "build/release", help="where qaffe was built")
    parser.add_argument("--results", help="file of results (WORK/results.jsonl)")
    parser.add_argument("--with", dest="with_options", default="",
                        help="more options of qat run, a column of its own; NET in them is the net's folder, as in "
                             "'--float-solver NET/solver.prototxt'")
    parser.add_argument("--method", action="append", default=[], choices=sorted(LABELS), help="only these peers")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[1, 2, 3])
    parser.add_argument("--seen", type=int, default=0, help="images that PyTorch trains on; 0: 1000 to 14,000, by the net")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has the peers")
    options = parser.parse_args()
    options.work = os.path.abspath(options.work)
    os.makedirs(options.work, exist_ok=True)
    options.results = options.results or os.path.join(options.work, "results.jsonl")
    return options


def main():
    options = read_options()
    results = Results(options.results)
    sys.path[:0] = [str(options.build / "python"), str(HERE / "bench/peers")]
    import accuracy_cases
    cases = list(accuracy_cases.cases())
    names = [case.name for case in cases]
    if set(options.only) - set(names):
        sys.exit("accuracy.py: no net is called %s; there are %s" % (
            " and ".join(sorted(set(options.only) - set(names))), ", ".join(names)))
    if options.what == "table":
        print_table(options, results, names)
        return
    data = os.path.abspath(options.data)
    for case in cases:
        in_4_bits = options.what in ("w4a4", "lsq")
        if case.name in options.only or not options.only and (options.what == "nets" or in_4_bits == (case.name in IN_4_BITS)):
            folder = accuracy_cases.prepare(case, str(options.build / "qaffe"), data, options.work)
            MEASURES[options.what](options, results, folder, json.loads(pathlib.Path(folder, "images.json").read_text()))
    if options.what != "nets":
        print_table(options, results, names)


if __name__ == "__main__":
    main()
