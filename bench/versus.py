#!/usr/bin/env python3
"""Two builds of qaffe-bench against each other, iteration by iteration.

    bench/versus.py OLD NEW [--model NAME] [--only CONTENDER,...] [--seconds N]

OLD and NEW are programs: build/release/bench/qaffe-bench of two trees. Both keep their net in memory and take turns,
one iteration each, in an order that alternates; a machine that drifts from second to second drifts for both. Prints for
each contender the median of the pairs' ratios NEW/OLD with the bounds between which it lies in 95 of 100 resamples, and
both best times.
"""
import argparse
import os
import random
import statistics
import subprocess
import sys
import time

MODELS = ("resnet50", "mobilenet", "squeezenet", "resnet20", "lenet")
CONTENDERS = ("float", "qat", "float-inference", "int8-inference")


class Build:
    """A running qaffe-bench that does one iteration for each line."""

    def __init__(self, program, model, contender):
        # A team that has just finished must not spin while the other build has its turn.
        environment = dict(os.environ, GOMP_SPINCOUNT="10000")
        self.process = subprocess.Popen([program, "--model", model, "--only", contender, "--measure", "on-request",
                                         "--no-memory"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)

    def iterate(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("%s ended with %d" % (self.process.args[0], self.process.wait()))
        return float(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def pairs_of(old, new, seconds):
    """[(ms of old, ms of new)] of iterations in turns; the first two of each only warm up."""
    for build in (old, new, old, new):
        build.iterate()
    pairs, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(pairs) < 8:
        if len(pairs) % 2:
            after = new.iterate()
            before = old.iterate()
        else:
            before = old.iterate()
            after = new.iterate()
        pairs.append((before, after))
    return pairs


def bounds(ratios, resamples=1000):
    """Between which the median lies in 95 of 100 resamples."""
    generator = random.Random(1)
    medians = sorted(statistics.median(generator.choices(ratios, k=len(ratios))) for _ in range(resamples))
    return medians[resamples * 25 // 1000], medians[resamples * 975 // 1000]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--model", default="all", help="one of %s, or all" % ", ".join(MODELS))
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, separated by commas")
    parser.add_argument("--seconds", type=float, default=30, help="for each line of the table (default 30)")
    options = parser.parse_args()
    print("%-11s %-16s %6s %8s   %-15s %10s %10s"
          % ("net", "contender", "pairs", "new/old", "95 %", "best old", "best new"))
    for model in MODELS if options.model == "all" else options.model.split(","):
        for contender in options.only.split(","):
            old, new = Build(options.old, model, contender), Build(options.new, model, contender)
            pairs = pairs_of(old, new, options.seconds)
            old.close()
            new.close()
            ratios = [after / before for before, after in pairs]
            low, high = bounds(ratios)
            print("%-11s %-16s %6d %8.3f   %.3f to %.3f %10.2f %10.2f"
                  % (model, contender, len(pairs), statistics.median(ratios), low, high,
                     min(before for before, _ in pairs), min(after for _, after in pairs)), flush=True)


if __name__ == "__main__":
    main()
