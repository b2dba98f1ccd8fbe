#!/usr/bin/env python3
"""Nets as public repositories have them: can they be read, and does each go through the whole flow?

    scripts/public_nets.py load FOLDER     `qaffe inspect` of every net
    scripts/public_nets.py flow FOLDER     each deploy net that loads: time, qat config, prepare, two iterations, export, verify
    scripts/public_nets.py table FOLDER    what came out, a repository a line, and why the others were refused, in Markdown
    scripts/public_nets.py list FOLDER     the same, a net a line: path, options of qaffe inspect, result, result of the flow

FOLDER holds a checkout a repository; their .prototxt, .pt and .prototxt.template files are read, wherever they lie. Where a net
needs data that are not there, it is tried with the shapes that the refusal suggests. In the flow nets have random weights and
one batch of random images (scripts/public_net_flow.py). Nets with the same text but for comments and the net's name run once.

Each result is a line of JSON in FOLDER/load.jsonl or FOLDER/flow.jsonl, with the command; what is there is not tried again, so
that a trial that was stopped goes on. Needs the Python packages of the build (PYTHONPATH=build/release/python).
docs/public-nets.md and .tsv have the results.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
DATA = ("Data", "ImageData", "HDF5Data", "AnnotatedData", "DenseImageData", "WindowData", "VideoData", "ImageSegData",
        "ImageLabelmapData", "MemoryData", "DetectNetData", "LabelmapData", "LMDBData")
DATA_TYPE = re.compile(r"type\s*:\s*[\"']?(%s)[\"']?\s" % "|".join(DATA + tuple(
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() for name in DATA)))
LOSS_TYPE = re.compile(r"type\s*:\s*[\"']?\w*(Loss|LOSS)\w*[\"']?")
PYTHON_DATA = re.compile(r"(roi_data_layer|voc_layers|sbdd|nyud|siftflow|pascalcontext|VOCSeg|SBDD|DataLayer|data_layer)")
SOLVER = re.compile(r"^\s*(base_lr|solver_mode|test_interval|max_iter)\s*:", re.MULTILINE)
LAYER = re.compile(r"\blayers?\s*:?\s*\{")
TIME_LIMIT = 300  # seconds that reading a net may take


class Results:
    """Lines of JSON; threads may add."""

    def __init__(self, path):
        self.path, self.lock, self.rows = path, threading.Lock(), {}
        if path.exists():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                self.rows[row["path"]] = row

    def add(self, row):
        with self.lock:
            self.rows[row["path"]] = row
            with open(self.path, "a") as file:
                file.write(json.dumps(row) + "\n")
            print("%-8s %s%s" % ("ok" if row["rc"] == 0 else "refused", row["path"],
                                 ": " + row["line"] if row["rc"] else ""), flush=True)


def without_comments(text):
    return re.sub(r"#.*", "", text)


def kind(text):
    """training or deploy for a net; None for solvers, label maps and what has no layers."""
    text = without_comments(text)
    if SOLVER.search(text) or not LAYER.search(text):
        return None
    return "training" if DATA_TYPE.search(text) or LOSS_TYPE.search(text) or PYTHON_DATA.search(text) else "deploy"


def nets(folder):
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.endswith((".prototxt", ".pt", ".prototxt.template")):
            text = path.read_text(errors="replace")
            if kind(text):
                yield str(path.relative_to(folder)), text


# ---- reading ----

def run(command, limit):
    """Exit status, last line of stderr, stdout."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=limit)
    except subprocess.TimeoutExpired:
        return 99, "not done after %d seconds" % limit, ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return done.returncode, lines[-1] if lines else "", done.stdout


def inspect(program, path, phase):
    """As a user would: with the shapes that a refusal names, until it names none that is new."""
    shapes = {}
    while True:
        command = [program, "inspect", "--model", path, "--phase", phase]
        if shapes:
            command += ["--shape", ",".join("%s=%s" % shape for shape in shapes.items())]
        status, line, screen = run(command, TIME_LIMIT)
        suggested = re.search(r"--shape (\S+)$", line) if status else None
        new = dict(item.split("=") for item in suggested[1].split(",")) if suggested else {}
        if not set(new) - set(shapes):
            return status, line, command, screen
        shapes = {**new, **shapes}


def multiply_adds(screen):
    found = re.search(r"Multiply-adds\s+([\d,]+)", screen)
    return int(found[1].replace(",", "")) if found else 0


def load(options, folder, results, job):
    path, text = job
    what = kind(text)
    for phase in ("TEST", "TRAIN") if what == "training" else ("TEST",):
        status, line, command, screen = inspect(str(options.build / "qaffe"), str(folder / path), phase)
        if status == 0:
            break
    results.add({"path": path, "kind": what, "rc": status, "line": line, "command": ["qaffe"] + command[1:],
                 "multiply_adds": multiply_adds(screen)})


# ---- the flow ----

def distinct(folder, loaded):
    """Deploy nets that load, cheapest first: the paths of those that have the same text."""
    groups = collections.defaultdict(list)
    for path, row in sorted(loaded.items(), key=lambda item: item[1]["multiply_adds"]):
        if row["kind"] == "deploy" and row["rc"] == 0:
            text = without_comments((folder / path).read_text(errors="replace"))
            text = " ".join(re.sub(r"^\s*name\s*:.*$", "", text, count=1, flags=re.MULTILINE).split())
            groups[hashlib.sha256(text.encode()).hexdigest()].append(path)
    return list(groups.values())


def results_of_flow(folder, loaded, through):
    """By path, those of nets with the same text included."""
    found = {}
    for paths in distinct(folder, loaded):
        row = next((through[path] for path in paths if path in through), None)
        found.update({path: row for path in paths if row})
    return found


def flow(options, folder, results, job):
    path, multiply_adds = job
    command = [sys.executable, str(HERE / "public_net_flow.py"), "--build", str(options.build), "--multiply-adds",
               str(multiply_adds), str(folder / path)]
    status, line, screen = run(command, 3600)
    row = json.loads(screen) if status == 0 else {"rc": status, "line": line}
    results.add({"path": path, **row})


# ---- tables ----

def cause(row):
    """A refusal without what differs from net to net."""
    line = re.sub(r"^(qaffe [a-z ]+|\w+Error): (\S+\.\w+(:\d+:\d+)?: )*(layer \S+ )?", "", row["line"])
    return re.sub(r"\d+", "N", re.sub(r"'[^']*'", "'…'", line))[:140]


def table(loaded, through):
    repositories = collections.defaultdict(collections.Counter)
    for path, row in loaded.items():
        count = repositories[path.split("/")[0]]
        count[row["kind"]] += 1
        count[row["kind"] + " loads"] += row["rc"] == 0
    for path, row in through.items():
        count = repositories[path.split("/")[0]]
        count["flow"] += 1
        count["flow ends"] += row["rc"] == 0
    print("| repository | deploy nets | load | training nets | load | whole flow | 0 differ |\n|---|---|---|---|---|---|---|")
    columns = ("deploy", "deploy loads", "training", "training loads", "flow", "flow ends")
    repositories["all"] = sum(repositories.values(), collections.Counter())
    for name, count in repositories.items():
        print("| %s | %s |" % (name.replace("+", "/"), " | ".join(str(count[column]) for column in columns)))
    for title, rows in (("Not read", loaded.values()), ("Flow not ended", through.values())):
        causes = collections.Counter()
        for row in rows:
            if row["rc"]:
                causes[cause(row)] += 1
        print("\n| %s because | nets |\n|---|---|" % title)
        for text, count in causes.most_common():
            print("| %s | %d |" % (text.replace("|", "\\|"), count))


def listing(loaded, through):
    for path, row in sorted(loaded.items()):
        options = row["command"][row["command"].index("--phase"):]
        result = [path, " ".join(options), row["line"].replace("qaffe inspect: ", "") if row["rc"] else "loads"]
        flow = through.get(path)
        if flow:
            result.append("%s: %s" % (flow["failed"], flow["line"]) if flow["rc"] else
                          "%d integers%s, 0 differ" % (flow["integers"], " of smaller inputs" if flow.get("cut") else ""))
        print("\t".join(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("load", "flow", "table", "list"))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build/release")
    parser.add_argument("--only", default="", help="nets whose path has this in it")
    parser.add_argument("--workers", type=int, default=1, help="nets that are tried at once")
    options = parser.parse_args()
    folder = options.folder.resolve()
    loaded, through = Results(folder / "load.jsonl"), Results(folder / "flow.jsonl")
    if options.what in ("table", "list"):
        show = table if options.what == "table" else listing
        show(loaded.rows, results_of_flow(folder, loaded.rows, through.rows))
        return 0
    results, trial = (loaded, load) if options.what == "load" else (through, flow)
    jobs = nets(folder) if options.what == "load" else [
        (paths[0], loaded.rows[paths[0]]["multiply_adds"]) for paths in distinct(folder, loaded.rows)]
    tried = set(results.rows if options.what == "load" else results_of_flow(folder, loaded.rows, through.rows))
    jobs = [job for job in jobs if options.only in job[0] and job[0] not in tried]
    with concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(lambda job: trial(options, folder, results, job), jobs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
