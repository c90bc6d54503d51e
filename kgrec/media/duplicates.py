"""Two keys share a picture when their files are equal, or when what they show is: a copy that was scaled, compressed anew,
brightened or trimmed at the edges has a perceptual hash a few bits away, another film's poster half of the 64 bits.

Pairs are found without comparing all: of two hashes at most ``d`` bits apart, one of the four 16-bit quarters is at most
``d // 4`` bits apart, so only pictures with such a quarter in common meet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, islice

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from kgrec.data import schemas

#: bits by which copies differ at most, chosen on the real posters of MovieLens-1M: ``docs/media.md`` shows what each
#: distance finds
NEAR_BITS = 6
#: above this there are more pairs of strangers than of copies, and more candidates than anyone wants to wait for
MOST_BITS = 16
_QUARTER, _VALUES = 16, 1 << 16
_ROWS = 1 << 16


def shared_pictures(rows: Iterable[tuple[str, str, int]], max_distance: int = NEAR_BITS) -> pa.Table:
    """Groups of keys that share a picture (:data:`~kgrec.data.schemas.SHARED`), sorted by kind, group and key.

    Groups are numbered from 0 by their first key, for each kind anew. A near group is what pairs at most ``max_distance``
    bits apart hold together; it has at least two different files, and all keys of each. Time grows with the pictures that
    have a quarter of their hash in common, memory with the pictures alone.

    :param rows: key, SHA-256 of the file, :func:`~kgrec.media.images.perceptual_hash`; in any order, keys unique
    :param max_distance: bits, from 0 to 16
    :raises ValueError: if ``max_distance`` is not in that range
    """
    if not 0 <= max_distance <= MOST_BITS:
        raise ValueError(f"max_distance is {max_distance}; it is 0 to {MOST_BITS} bits")
    table = pa.Table.from_batches(_batches(rows), _ROW).sort_by("key").combine_chunks()
    hashes = table["phash"].to_numpy()
    files = table["sha256"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    exact = _groups(table, files, np.ones(len(files), dtype=np.int64), hashes, "exact")

    distinct, place = np.unique(hashes, return_inverse=True)
    roots = _near(distinct, max_distance)[place]
    first = np.zeros(len(files), dtype=np.int64)
    first[np.unique(files, return_index=True)[1]] = 1  # each file counts once
    return pa.concat_tables([exact, _groups(table, roots, first, hashes, "near")]).combine_chunks()


_ROW = pa.schema([("key", pa.string()), ("sha256", pa.string()), ("phash", pa.uint64())])


def _batches(rows: Iterable[tuple[str, str, int]]) -> Iterator[pa.RecordBatch]:
    rows = iter(rows)
    while some := list(islice(rows, _ROWS)):
        columns = zip(*some, strict=True)
        yield pa.RecordBatch.from_arrays(
            [pa.array(c, t) for c, t in zip(columns, _ROW.types, strict=True)], schema=_ROW
        )


def _groups(
    table: pa.Table, labels: NDArray[np.int64], weights: NDArray[np.int64], hashes: NDArray[np.uint64], kind: str
) -> pa.Table:
    """Rows of ``SHARED`` for the labels whose weights add up to two or more; ``table`` is sorted by key."""
    _, begin, label = np.unique(labels, return_index=True, return_inverse=True)
    shared = np.bincount(label, weights, minlength=len(begin)) >= 2
    rows = np.flatnonzero(shared[label])
    firsts = begin[label[rows]]  # the row of the first key, which names the group
    order = np.lexsort((rows, firsts))
    rows, firsts = rows[order], firsts[order]
    columns = {
        "kind": pa.array([kind]).take(pa.array(np.zeros(len(rows), dtype=np.int64))),
        "group": np.unique(firsts, return_inverse=True)[1].astype(np.int32),
        "key": table["key"].take(pa.array(rows)),
        "sha256": table["sha256"].take(pa.array(rows)),
        "distance": np.bitwise_count(hashes[rows] ^ hashes[firsts]).astype(np.int8),
    }
    return pa.table(columns, schema=schemas.SHARED)


def _near(hashes: NDArray[np.uint64], limit: int) -> NDArray[np.int64]:
    """The connected component of each hash under "at most ``limit`` bits apart", named by its smallest index.

    :param hashes: shape (n,), distinct
    """
    parents = np.arange(len(hashes))
    bits = [1 << bit for bit in range(_QUARTER)]
    flips = np.array([sum(some) for count in range(limit // 4 + 1) for some in combinations(bits, count)])
    for quarter in range(4):
        values = (hashes >> np.uint64(_QUARTER * quarter)).astype(np.uint16).astype(np.int64)
        order = np.argsort(values, kind="stable")
        starts = np.searchsorted(values[order], np.arange(_VALUES + 1))
        _join(hashes[order], order, starts, flips, limit, parents)
    while (above := parents[parents] != parents).any():
        parents[above] = parents[parents[above]]
    return parents


@numba.njit(nogil=True, cache=True)
def _join(hashes, order, starts, flips, limit, parents):
    """Join the components of hashes that are near and whose quarters are a flip apart. ``hashes`` are sorted by their quarter:
    those with value ``v`` stand at ``starts[v]`` to ``starts[v + 1]``, and ``order`` says which they are."""
    for value in range(len(starts) - 1):
        if starts[value] == starts[value + 1]:
            continue
        for flip in flips:
            other = value ^ flip
            if other < value:
                continue
            for i in range(starts[value], starts[value + 1]):
                for j in range(i + 1 if other == value else starts[other], starts[other + 1]):
                    if _bits(hashes[i] ^ hashes[j]) <= limit:
                        a, b = _root(parents, order[i]), _root(parents, order[j])
                        parents[max(a, b)] = min(a, b)


@numba.njit(inline="always")
def _bits(word):
    """Ones of a 64-bit word."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(inline="always")
def _root(parents, node):
    while parents[node] != node:
        parents[node] = parents[parents[node]]
        node = parents[node]
    return node
