"""Limits on what files may ask for; docs/limits.md has the list."""
from __future__ import annotations

import contextlib
import os
from ctypes import byref, c_char_p, c_uint64
from typing import Sequence

from ._library import call, context, library

_until: Sequence[str] = ()  # what set_until() was last given


def limits() -> dict[str, tuple[int, str]]:
    """The limits there are: name -> (default, what is counted). A default of 0 is the machine's memory.

    >>> import qaffe
    >>> qaffe.limits()["image_pixels"]
    (134217728, 'pixels')
    """
    found = {}
    default, unit = c_uint64(), c_char_p()
    while True:
        name = library.qf_limit_describe(len(found), byref(default), byref(unit))
        if name is None:
            return found
        found[name.decode()] = (default.value, unit.value.decode())


def set_limit(name: str, value: int) -> None:
    """Raise or lower one limit for this process: the largest value that is still taken.

    A file that asks for more is refused with a ValueError that names the limit. ValueError also for an unknown
    name and for a value that is not possible. The environment variable QAFFE_LIMITS ("name=value,name=value") does
    the same when the package is imported.

    >>> import qaffe
    >>> qaffe.set_limit("image_pixels", 256 << 20)
    >>> qaffe.set_limit("pixels", 1)
    Traceback (most recent call last):
    ValueError: there is no limit 'pixels'; there are ...
    >>> qaffe.set_limit("image_pixels", qaffe.limits()["image_pixels"][0])
    """
    if not 0 <= value < 1 << 64:
        raise ValueError("the limit %s cannot be %d" % (name, value))
    call(library.qf_context_set_limit, context, name.encode(), value)


def keep_unknown_fields(keep: bool = True) -> None:
    """Read on where a .prototxt has a field that nobody knows: it is warned of and kept, but does nothing.

    Otherwise, as at the start, such a file is refused.

    >>> import qaffe
    >>> qaffe.keep_unknown_fields()
    >>> qaffe.keep_unknown_fields(False)
    """
    library.qf_context_keep_unknown_fields(context, keep)


def set_until(*layers: str) -> None:
    """Let nets end at these layers: of each .prototxt that is read from here on, only they stay and what they need.

    Their tops become outputs; the rest is left to your own code. This holds for nets and for every step of the flows, also
    those of `amct_caffe`, retrain() and quantise(); what trains is read whole. Without names nets are whole again. ValueError
    where a net that is read has no layer of a name.

    >>> import caffe, qaffe
    >>> from qaffe.examples import small_net
    >>> qaffe.set_until("conv")
    >>> list(caffe.Net(small_net(), caffe.TEST).blobs)[-1]
    'conv'
    >>> qaffe.set_until()
    """
    global _until
    call(library.qf_context_set_until, context, ",".join(layers).encode())
    _until = layers


@contextlib.contextmanager
def cut(layers: Sequence[str]):
    """set_until() for a while; no layers: whatever holds already."""
    before = _until
    if layers:
        set_until(*layers)
    try:
        yield
    finally:
        if layers:
            set_until(*before)


call(library.qf_context_set_limits, context, os.environ.get("QAFFE_LIMITS", "").encode())
