"""Checksums beside files, and a look at the numbers in them."""
from __future__ import annotations

from ctypes import POINTER, byref
from typing import NamedTuple

from ._library import check as raise_failure
from ._library import FileCheck, context, library, path, turn


class OddBlob(NamedTuple):
    """An array with values that are NaN, infinite or denormal."""
    name: str  # "layer conv1, blob 0", "history blob 3"
    values: int
    nan: int
    infinite: int
    denormal: int
    first: int  # index of the first NaN or infinity, if there is one


class Check(NamedTuple):
    """What check() found."""
    ok: bool
    reason: str  # a sentence; "" if ok
    has_checksum: bool
    blobs: int
    values: int
    odd: list[OddBlob]


def write_checksums(write: bool = True) -> None:
    """Write NAME.sha256 beside each file that is written from now on, as sha256sum does.

    Whatever is chosen: where one lies beside weights, a solver's state or a record, the file is checked when it is
    read, and when a file is written anew its old one goes.

    >>> import qaffe
    >>> qaffe.write_checksums()
    >>> qaffe.write_checksums(False)
    """
    library.qf_context_write_checksums(context, write)


def check(file) -> Check:
    """Is a file what its checksum says, and are its numbers finite? Weights, states, records and means are looked at,
    and any file that has a checksum. An error that has to do with neither, as that there is no such file, is raised.

    >>> import qaffe
    >>> qaffe.check("/nowhere/net.caffemodel")
    Traceback (most recent call last):
    OSError: cannot open /nowhere/net.caffemodel: No such file or directory
    """
    made = POINTER(FileCheck)()
    with turn:
        try:
            status = library.qf_check_file(context, path(file), byref(made))
            reason = "" if status == 0 else library.qf_error_text(context).decode(errors="replace")
            if library.qf_status_name(status) not in (b"ok", b"mismatch", b"value"):
                raise_failure(status)
            found = made[0]
            blobs = [found.odd_blob[i][0] for i in range(found.odd)]
            odd = [OddBlob(blob.name.decode(errors="replace"), blob.values, blob.nan, blob.infinite, blob.denormal,
                           blob.first) for blob in blobs]
            return Check(status == 0, reason, found.has_checksum, found.blobs, found.values, odd)
        finally:
            library.qf_file_check_destroy(made)
