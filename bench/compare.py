#!/usr/bin/env python3
"""qaffe beside other programs on the same nets and the same machine: they take turns, the best of all rounds counts.

    bench/compare.py [--rounds N] [--only WORD] [--peer-python FILE] [--caffe DIR] [--json FILE]

Prints a line a comparison: milliseconds of both, the ratio, the target. Each turn is a process of its own, so that no
program's threads disturb another's. A peer that is not installed is left out and named at the end; README.md in
bench/peers says how to install each. Speak of the ratios only if nothing else ran.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile

FOLDER = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = {"pytorch": "pytorch.py", "bvlc-caffe": "bvlc_caffe.py", "onnxruntime": "onnx_runtime.py",
           "ncnn": "ncnn_python.py"}
BATCHES = {"resnet50": 8, "mobilenet": 8, "squeezenet": 16, "resnet20": 128, "lenet": 64}
# qaffe's measure, the peer, the peer's measure, and the ratio aimed at, by model
TRAINING = [("float", "pytorch", "float", {"resnet50": 0.75}),
            ("qat", "pytorch", "qat", {"resnet50": 0.40, "mobilenet": 0.40}),
            ("float", "bvlc-caffe", "float", {}),
            ("qat", "bvlc-caffe", "float", {"resnet50": 0.40})]
INFERENCE = [("float-inference", "bvlc-caffe", "float-inference", {}),
             ("float-inference", "onnxruntime", "float-inference", {}),
             ("float-inference", "ncnn", "float-inference", {}),
             ("int8-inference", "onnxruntime", "int8-inference", {"resnet50": 0.95, "mobilenet": 0.95}),
             ("int8-inference", "ncnn", "int8-inference", {"resnet50": 0.95, "mobilenet": 0.95})]


def comparisons():
    """(model, batch, qaffe's measure, peer, its measure, target or None)"""
    for model, usual in BATCHES.items():
        for batch, table in ((usual, TRAINING + INFERENCE), (1, INFERENCE)):
            for ours, peer, theirs, targets in table:
                yield model, batch, ours, peer, theirs, targets.get(model)


class Runner:
    def __init__(self, options):
        self.options = options
        self.missing = {}
        # OpenBLAS knows the processor best.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}

    def run(self, command):
        result = subprocess.run(shlex.split(self.options.wrap) + command, env=self.environment, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if result.returncode:
            lines = (result.stderr or result.stdout).strip().splitlines()
            raise RuntimeError(lines[-1] if lines else "%s ended with %d" % (command[0], result.returncode))
        return result.stdout

    def qaffe(self, model, batch, measure):
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            self.run([self.options.bench, "--model", model, "--batch", str(batch), "--only", measure, "--no-memory",
                      "--threads", str(self.options.threads), "--rounds", "5", "--json", file.name])
            return json.load(file)[model]["ms"][measure]

    def peer(self, name, model, batch, measure):
        command = [self.options.peer_python, os.path.join(FOLDER, "peers", SCRIPTS[name]), "--model", model, "--batch",
                   str(batch), "--measure", measure, "--threads", str(self.options.threads), "--seconds",
                   str(self.options.seconds), "--bench", self.options.bench]
        if name == "bvlc-caffe":
            command += ["--caffe", self.options.caffe]
        return json.loads(self.run(command).splitlines()[-1])["ms"]

    def compare(self, model, batch, ours, peer, theirs):
        """Best milliseconds of qaffe and of the peer; None where a program cannot run."""
        best = [None, None]
        for _ in range(self.options.rounds):
            for side, run in enumerate((lambda: self.qaffe(model, batch, ours),
                                        lambda: self.peer(peer, model, batch, theirs))):
                try:
                    value = run()
                    best[side] = value if best[side] is None else min(best[side], value)
                except RuntimeError as error:
                    self.missing.setdefault("%s %s" % (("qaffe", peer)[side], (ours, theirs)[side]), str(error))
                    return None
        return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument("--seconds", type=float, default=5, help="time of a peer's turn (5)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", action="append", default=[],
                        help="a model, peer or measure; may be given more than once: all must fit")
    parser.add_argument("--bench", default="build/release/bench/qaffe-bench")
    parser.add_argument("--peer-python", default=sys.executable, help="the Python that has the peers' packages")
    parser.add_argument("--caffe", default="caffe", help="a built checkout of BVLC Caffe")
    parser.add_argument("--wrap", default="", help="a command that runs each turn, such as 'taskset -c 0,1'")
    parser.add_argument("--json", help="also write the rows to this file")
    options = parser.parse_args()
    runner, rows = Runner(options), []
    print("| model | batch | qaffe | ms | peer | ms | ratio | target |\n|---|---|---|---|---|---|---|---|")
    for model, batch, ours, peer, theirs, target in comparisons():
        if not set(options.only) <= {model, ours, peer, theirs, "batch%d" % batch}:
            continue
        best = runner.compare(model, batch, ours, peer, theirs)
        if not best:
            continue
        rows.append(dict(model=model, batch=batch, qaffe=ours, qaffe_ms=best[0], peer=peer, measure=theirs,
                         peer_ms=best[1], ratio=best[0] / best[1], target=target))
        print("| %s | %d | %s | %.2f | %s %s | %.2f | %.3f | %s |" % (
            model, batch, ours, best[0], peer, theirs, best[1], best[0] / best[1],
            "" if target is None else "<= %.2f" % target), flush=True)
    for name, reason in runner.missing.items():
        print("left out: %s: %s" % (name, reason))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(rows, file, indent=2)
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
