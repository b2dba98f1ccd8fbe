"""Timers of the script's: their handlers run, and training gives the same bits as without."""
import subprocess
import sys

import pytest

NET = """
layer { name: 'd' type: 'DummyData' top: 'x' top: 'y' dummy_data_param { shape { dim: 20 dim: 1 dim: 28 dim: 28 }
  shape { dim: 20 } data_filler { type: 'gaussian' std: 1 } data_filler { type: 'constant' value: 1 } } }
layer { name: 'c' type: 'Convolution' bottom: 'x' top: 'c' convolution_param { num_output: 8 kernel_size: 5
  weight_filler { type: 'xavier' } } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'c' top: 'ip' inner_product_param { num_output: 10
  weight_filler { type: 'xavier' } } }
layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'y' top: 'l' }
"""
SOLVER = "net: 'net.prototxt' base_lr: 0.001 momentum: 0.9 lr_policy: 'fixed' max_iter: 100000 random_seed: 1"

# A fault would end the process: each storm has one of its own.
SCRIPT = """
import signal, sys, caffe
timer, number, steps = getattr(signal, sys.argv[1]), getattr(signal, sys.argv[2]), int(sys.argv[3])

def train():
    solver = caffe.SGDSolver("solver.prototxt")
    for _ in range(steps):
        solver.step(10)
    return [blob.data.copy() for name in ("c", "ip") for blob in solver.net.params[name]]

silent, handled = train(), []
signal.signal(number, lambda *_: handled.append(1))
signal.setitimer(timer, 50e-6, 50e-6)
stormy = train()
signal.setitimer(timer, 0)
assert all((a == b).all() for a, b in zip(silent, stormy)), "other weights"
assert handled, "no signal came"
"""


@pytest.mark.parametrize("timer, number", [("ITIMER_REAL", "SIGALRM"), ("ITIMER_PROF", "SIGPROF")])
def test_a_storm_changes_nothing(timer, number):
    for name, text in ("net.prototxt", NET), ("solver.prototxt", SOLVER):
        with open(name, "w") as file:
            file.write(text)
    done = subprocess.run([sys.executable, "-c", SCRIPT, timer, number, "30"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
