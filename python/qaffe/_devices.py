"""What nets compute on: the host, or another device that this build has code for."""
from __future__ import annotations

from ctypes import byref, c_uint64
from typing import NamedTuple

from ._library import call, context, library


class Device(NamedTuple):
    """A device to compute on."""
    name: str  # as set_device() takes it
    description: str
    free_memory: int  # bytes
    memory: int


def devices() -> list[Device]:
    """The devices that there are.

    >>> import qaffe
    >>> qaffe.devices()[0].name
    'cpu'
    """
    found = []
    for index in range(library.qf_device_count()):
        free, total = c_uint64(), c_uint64()
        library.qf_device_memory(index, byref(free), byref(total))
        found.append(Device(library.qf_device_name(index).decode(), library.qf_device_description(index).decode(),
                            free.value, total.value))
    return found


def set_device(name: str) -> None:
    """Compute on this device. Choose it before the first net: afterwards it is a ValueError, as for an unknown name;
    RuntimeError for a GPU that this build has no code for. Without it: what the environment variable QAFFE_DEVICE
    names, or the cpu.

    >>> import qaffe
    >>> qaffe.set_device("cuda:0")
    Traceback (most recent call last):
    RuntimeError: cuda:0: there is no GPU to compute on: this build of qaffe has code for the CPU only...
    """
    call(library.qf_context_set_device, context, name.encode())


_gpu_chosen = False


def set_gpu(number: int) -> None:
    """What Caffe and AMCT call the GPU mode."""
    global _gpu_chosen
    set_device("cuda:%d" % number)
    _gpu_chosen = True


def leave_gpu() -> None:
    """What Caffe and AMCT call the CPU mode: nothing to do unless set_gpu() was called before."""
    global _gpu_chosen
    if _gpu_chosen:
        set_device("cpu")
        _gpu_chosen = False
