#!/usr/bin/env python3
"""BVLC Caffe through `caffe time`: forward and backward in float (no update of the weights), and the forward pass alone.

Prints a line of JSON for each measurement. Needs a built checkout: --caffe DIR.
"""
import os
import re
import subprocess
import sys
import tempfile

import net


def main():
    options = net.read_options("bvlc-caffe", ("float", "float-inference"), __doc__,
                               lambda parser: parser.add_argument("--caffe", default="caffe",
                                                                  help="a built checkout of BVLC Caffe"))
    program = os.path.join(options.caffe, "build/tools/caffe")
    if not os.access(program, os.X_OK):
        sys.exit("bvlc_caffe.py: there is no %s; bench/peers/README.md says how to build it" % program)

    def run(path, iterations, threads):
        environment = dict(os.environ, OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
        result = subprocess.run([program, "time", "-model", path, "-iterations", str(iterations)], text=True,
                                env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if result.returncode:
            sys.exit("bvlc_caffe.py: caffe time failed: %s" % " ".join(result.stdout.splitlines()[-3:]))
        steps = re.findall(r"Iteration: \d+ forward-backward time: ([0-9.e+]+) ms", result.stdout)
        forward = re.search(r"Average Forward pass: ([0-9.e+]+) ms", result.stdout)
        return [1e-3 * float(step) for step in steps], 1e-3 * float(forward.group(1))

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.prototxt")
        with open(path, "w") as file:
            file.write(net.prototxt(options))
        # OpenBLAS can be slower with more threads on small matrices: BVLC Caffe gets the number that suits it. An
        # iteration tells how many fit; caffe time itself warms up with a pass forward and one backward.
        once, options.threads = min((run(path, 1, threads)[0][0], threads) for threads in {1, options.threads})
        steps, forward = run(path, max(3, int(options.seconds / max(once, 1e-3))), options.threads)
    for measure in options.measures:
        # An iteration is given in whole milliseconds, which is too coarse for small nets.
        step = min(steps) if min(steps) > 0.05 else sum(steps) / len(steps)
        seconds = forward if measure == "float-inference" else step
        net.report(options, measure, seconds, "9b89154")


if __name__ == "__main__":
    main()
