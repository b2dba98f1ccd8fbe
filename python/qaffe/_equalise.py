"""Channels of a float net brought together before it is quantised."""
from __future__ import annotations

from ctypes import POINTER, byref
from typing import NamedTuple, Optional

from ._library import Equalisation, check, context, library, path, turn

EQUALISE = ("off", "on", "auto")


class Equalised(NamedTuple):
    """Channels that can be rescaled together."""
    writers: list[str]  # names of layers
    readers: list[str]
    channels: int  # that are not dead
    rescaled: int
    spread_before: float  # of their ranges, in powers of two
    spread_after: float


def equalise_choice(equalise: str) -> int:
    if equalise not in EQUALISE:
        raise ValueError("equalise must be one of %s, but is '%s'" % (", ".join(EQUALISE), equalise))
    return EQUALISE.index(equalise)


def equalise(model: str, weights: str, out: Optional[str] = None) -> list[Equalised]:
    """Bring the ranges of a float net's channels together (cross-layer equalisation), into the weights file `out`.

    All channels of a layer's input share a range when it is quantised, so soft ones get few codes. Where one layer's
    weights write channels and another's read them, with ReLU, Pooling and the like between, a power of two goes from one
    to the other; the net computes the same bits. Without `out` channels are only looked at. retrain() and quantise() do
    it by themselves where a spread is above 5.

    >>> import os, qaffe, qaffe.examples, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> model, weights = qaffe.examples.digits(folder)
    >>> [channels] = qaffe.equalise(model, weights, os.path.join(folder, 'equalised.caffemodel'))
    >>> channels.writers, channels.readers
    (['conv'], ['ip'])
    >>> channels.spread_after <= max(channels.spread_before, 1)
    True
    """
    made = POINTER(Equalisation)()
    with turn:
        check(library.qf_equalise_weights(context, path(model), path(weights), path(out) if out else None,
                                                byref(made)))
        found = made[0]
        rows = [found.row[i][0] for i in range(found.rows)]
        result = [Equalised(row.writers.decode().split(", "), row.readers.decode().split(", "), row.channels,
                            row.rescaled, row.spread_before, row.spread_after) for row in rows]
        library.qf_equalisation_destroy(made)
    return result
