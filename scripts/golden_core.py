#!/usr/bin/env python3
"""Makes tests/golden from a whole folder of recorded cases: a few of each kind, so that a clone alone tests more
than nothing. Choice: the smallest cases of each layer type, kernel and solver; all of what is small.

    scripts/golden_core.py ../shared/golden tests/golden
"""
import json
import os
import shutil
import sys

whole, core = sys.argv[1:]


def size(folder):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder) for name in names)


def cases(folder):
    """The case folders in `folder`, small ones first."""
    found = [entry.path for entry in os.scandir(os.path.join(whole, folder))
             if os.path.exists(os.path.join(entry.path, "case.json"))]
    return sorted(found, key=lambda path: (size(path), path))


def case(path):
    with open(os.path.join(path, "case.json")) as file:
        return json.load(file)


def keep(path):
    target = os.path.join(core, os.path.relpath(path, whole))
    if os.path.isdir(path):
        shutil.copytree(path, target, copy_function=shutil.copyfile, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("lock.mdb"))  # LMDB makes it where it reads
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(path, target)


def keep_smallest(folder, count, wanted=lambda case: True):
    for path in [path for path in cases(folder) if wanted(case(path))][:count]:
        keep(path)


def has_backward(test):
    return isinstance(test.get("backward"), dict)


def keep_kernels(folder, each, largest=1 << 30):
    """The smallest cases of each kernel, of so many bytes at most, and all that must be refused."""
    with open(os.path.join(whole, folder, "cases.json")) as file:
        index = json.load(file)

    def files(test):
        return {entry["file"] for name, group in test.items() if name == "inputs" or name.startswith("expect")
                for entry in group.values()}

    def size_of(test):
        return sum(os.path.getsize(os.path.join(whole, folder, name)) for name in files(test))

    chosen = {}
    for test in sorted(index["cases"], key=size_of):
        of_kernel = chosen.setdefault(test["kernel"], [])
        if test["status"] == "error" or len(of_kernel) < each and size_of(test) <= largest:
            of_kernel.append(test)
    index["cases"] = [test for test in index["cases"] if test in chosen[test["kernel"]]]
    index["case_count"] = len(index["cases"])
    for test in index["cases"]:
        for name in files(test):
            keep(os.path.join(whole, folder, name))
    with open(os.path.join(core, folder, "cases.json"), "w") as file:
        json.dump(index, file, indent=1)
        file.write("\n")


shutil.rmtree(core, ignore_errors=True)
for folder in ("caffe/text_format", "caffe/upgrade", "caffe/random", "caffe/shapes"):
    keep(os.path.join(whole, folder))
for folder in ("caffe/blocks", "caffe/weights", "caffe/tools"):
    keep_smallest(folder, 6)
keep_smallest("caffe/log", 2)
for kind in sorted(os.listdir(os.path.join(whole, "caffe/layers"))):
    keep_smallest(os.path.join("caffe/layers", kind), 1, has_backward)
    keep_smallest(os.path.join("caffe/layers", kind), 1, lambda test: not has_backward(test))
for kind in ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"):
    mine = [path for path in cases("caffe/solvers") if os.path.basename(path).startswith(kind + "_")]
    for path in mine[:2]:
        keep(path)
keep_kernels("quant", 3)
keep_kernels("amct", 3, 60_000)
with open(os.path.join(core, "README.md"), "w") as file:
    file.write("""# Recorded cases, a few of each kind

What BVLC Caffe (commit 9b89154) and AMCT's published code computed; the tests `golden_*` walk these folders where
the whole set is not at hand (`QAFFE_GOLDEN` names it). `scripts/golden_core.py` chose them.
""")
print("%d files, %.2f MB" % (sum(len(names) for _, _, names in os.walk(core)), size(core) / 1e6))
