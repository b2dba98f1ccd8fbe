"""Caffe's Python interface over libqaffe. Scripts written for pycaffe run unchanged."""
from qaffe import _library as _library_module

from .proto import caffe_pb2
from .proto.caffe_pb2 import TEST, TRAIN
from ._caffe import (NCCL, AdaDeltaSolver, AdaGradSolver, AdamSolver, Blob, BlobVec, Layer, NesterovSolver,
                     RMSPropSolver, SGDSolver, Solver, Timer, get_solver, has_nccl, init_log, layer_type_list,
                     log, set_device, set_mode_cpu, set_mode_gpu, set_multiprocess, set_random_seed,
                     set_solver_count, set_solver_rank, solver_count, solver_rank)
from .pycaffe import Net
from . import io
from .classifier import Classifier
from .detector import Detector
from .net_spec import NetSpec, layers, params, to_proto

__all__ = [
    "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Blob", "BlobVec", "Classifier", "Detector", "Layer", "NCCL", "Net",
    "NetSpec", "NesterovSolver", "RMSPropSolver", "SGDSolver", "Solver", "TEST", "TRAIN", "Timer", "caffe_pb2",
    "get_solver", "has_nccl", "init_log", "io", "layer_type_list", "layers", "log", "params", "set_device",
    "set_mode_cpu", "set_mode_gpu", "set_multiprocess", "set_random_seed", "set_solver_count", "set_solver_rank",
    "solver_count", "solver_rank", "to_proto"]
__version__ = _library_module.version
