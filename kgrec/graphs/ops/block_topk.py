"""Block top-k finds for each user the ``k`` items with the highest inner product, exactly, without ever holding all scores.

The score of a pair is defined once: the inner product of the two float32 vectors, summed in float64 from the first column
to the last, rounded once to float32. Ranks are by descending score, then ascending item: a function of the vectors alone,
not of a block size, the threads, the order of users, or of how candidates were found.

Candidates come from cheap scores. A vector is ``x = s (q + r)``: a scale, a vector that is fast to multiply, and the rest.
For a user ``s_u (p + t)`` and an item ``s_v (q + r)``, by Cauchy-Schwarz::

    |<u, v> / (s_u s_v) - <p, q>|  <=  |t| (|q| + |r|) + |p| |r|                                     (1)

with the norms of the rests as they are, not at their worst. There are two kinds of ``q``:

- ``int8``: rounded to -127 .. 127. ``<p, q>`` is an exact integer, so (1) is all there is. Where the processor has dot
  products of bytes (VNNI) this takes half the time of bfloat16 and a quarter of float32.
- ``float32``: ``s`` is a power of two, so that ``r`` is 0 but for underflow. A sum of D products in any order is off by at
  most ``gamma |p| |q|``, ``gamma = D e / (1 - D e)``, ``e = 2^-24`` (Higham, Accuracy and Stability of Numerical
  Algorithms, 2002, section 3.1); ``|r|`` is raised by ``gamma |q|`` to cover it.

Users come in blocks, items in tiles, by descending scale, so that good items come early. A scan keeps for each user the
items whose score could reach the user's threshold: the least exact score of ``k`` unseen items found so far. A full list
raises the threshold. In the end what is left is scored exactly. A user with more equal scores than a list holds is scored
against all items.

Shapes: B users of a block, I items, D width, K list length, T items of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor

from kgrec.graphs.ops.arrays import numpy_view

Kind = Literal["int8", "float32"]

#: items that one comparison lets through or not
GROUP = 64
#: users of a block and items of a tile: their scores, 4 MiB, stay in the last cache
BLOCK, TILE = 1024, 1024
#: places of a user's list of candidates, at least
_ROOM = 512
#: scale of a vector of zeros: positive, so that it divides
_NO_SCALE = 1e-300
#: widest vector whose integer products fit into 32 bits
_MAX_WIDTH = 2**31 // 127**2
#: key of an empty place
_NOBODY = np.iinfo(np.int64).max


class _Quantized(NamedTuple):
    """Rows ``x = scale (q + r)``."""

    q: np.ndarray  # (N, D), int8 or float32
    scale: np.ndarray  # (N,), float64, > 0
    norm: np.ndarray  # (N,), float64, |q|
    rest: np.ndarray  # (N,), float64, at least |r|


class _Items(NamedTuple):
    """Items in the order of the tiles, padded to whole groups. Bounds are of groups."""

    vectors: np.ndarray  # (I, D), float32, in their own order
    item: np.ndarray  # (I',), int32, -1 for padding
    scale: np.ndarray  # (I',), float64
    most: np.ndarray  # (I' / GROUP,), float64, 1 over the largest scale
    least: np.ndarray  # (I' / GROUP,), float64, 1 over the smallest scale
    reach: np.ndarray  # (I' / GROUP,), float64, largest |q| + |r|
    rest: np.ndarray  # (I' / GROUP,), float64, largest |r|


class _Users(NamedTuple):
    """Users of a block and what they have seen: ``seen[start[id]:start[id + 1]]``, ascending."""

    vectors: np.ndarray  # (B, D), float32
    scale: np.ndarray  # (B,), float64
    norm: np.ndarray  # (B,), float64
    rest: np.ndarray  # (B,), float64
    ids: np.ndarray  # (B,), int64
    start: np.ndarray  # (U + 1,), int64
    seen: np.ndarray  # (P,), int64


class _Lists(NamedTuple):
    """Candidates of each user. ``filled`` is -1 for a user who has more than fit."""

    threshold: np.ndarray  # (B,), float64, in units of the user's scale
    filled: np.ndarray  # (B,), int64
    cheap: np.ndarray  # (B, room), int32 or float32, <p, q>
    place: np.ndarray  # (B, room), int32, in the order of the tiles


@numba.njit(parallel=True, nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _quantize(x, q, scale, norm, rest, to_int8, gamma, underflow):
    for i in numba.prange(x.shape[0]):
        squares = errors = 0.0
        for j in range(x.shape[1]):
            value = np.float64(x[i, j]) / scale[i]
            kept = np.rint(value) if to_int8 else np.float64(np.float32(value))
            q[i, j] = q.dtype.type(kept)
            squares += kept * kept
            errors += (value - kept) * (value - kept)
        # norms are sums in float64: their own rounding is far below the share added here
        norm[i] = np.sqrt(squares) * (1 + 1e-9)
        rest[i] = np.sqrt(errors) * (1 + 1e-9) + gamma * norm[i] + (underflow if squares > 0 else 0.0)


def _quantized(x: Tensor, kind: Kind) -> _Quantized:
    n, d = x.shape
    top = x.abs().amax(1).double().numpy() if d else np.zeros(n)
    scale = top / 127 if kind == "int8" else np.ldexp(1.0, np.frexp(top)[1])
    # zeros up to whole vector instructions; torch's product of bytes gives garbage at width 1
    made = _Quantized(
        np.zeros((n, -(-d // 16) * 16), np.dtype(kind)), np.where(top > 0, scale, _NO_SCALE), *np.empty((2, n))
    )
    if kind == "int8":
        _quantize(numpy_view(x), *made, True, 0.0, d * 1e-12)
    else:
        _quantize(numpy_view(x), *made, False, d * 2.0**-24 / (1 - d * 2.0**-24), d * 2.0**-124)
    return made


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _dot_in_any_order(u, v):
    total = 0.0
    for j in range(len(u)):
        total += np.float64(u[j]) * np.float64(v[j])
    return total


@numba.njit(nogil=True, cache=True)
def _dot_in_order(u, v):
    total = 0.0
    for j in range(len(u)):
        total += np.float64(u[j]) * np.float64(v[j])
    return total


@numba.njit(nogil=True, cache=True, forceinline=True)
def _score(u, v, bound):
    """The exact score. Sums in two orders differ by ``D 2^-52 |u| |v|`` at most; only where a boundary between two float32
    lies that near does the order matter.

    :param bound: at least ``|u| |v|``
    """
    total = _dot_in_any_order(u, v)
    error = len(u) * 2.0**-52 * bound
    score = np.float32(total - error)
    if score != np.float32(total + error):
        score = np.float32(_dot_in_order(u, v))
    return score + np.float32(0)  # no negative zero


@numba.njit(nogil=True, cache=True, forceinline=True)
def _has_seen(users, row, item):
    low, end = users.start[users.ids[row]], users.start[users.ids[row] + 1]
    high = end
    while low < high:
        middle = (low + high) // 2
        if users.seen[middle] < item:
            low = middle + 1
        else:
            high = middle
    return low < end and users.seen[low] == item


@numba.njit(nogil=True, cache=True, forceinline=True)
def _slack(users, row, items, group):
    """Right side of (1)."""
    return users.rest[row] * items.reach[group] + users.norm[row] * items.rest[group]


@numba.njit(nogil=True, cache=True, forceinline=True)
def _candidate_score(users, row, items, place):
    length = users.scale[row] * (users.norm[row] + users.rest[row])
    bound = length * items.scale[place] * items.reach[place // GROUP]
    return _score(users.vectors[row], items.vectors[items.item[place]], bound)


@numba.njit(nogil=True, cache=True)
def _sift(heap, place, size):
    """Let a value sink to its place in a heap with the greatest on top."""
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and heap[child + 1] > heap[child]:
            child += 1
        if heap[place] >= heap[child]:
            return
        heap[place], heap[child] = heap[child], heap[place]
        place = child


@numba.njit(nogil=True, cache=True)
def _least(values, k):
    """The ``k`` least values, ascending."""
    heap = values[:k].copy()
    for place in range(k // 2 - 1, -1, -1):
        _sift(heap, place, k)
    for c in range(k, len(values) if k else 0):
        if values[c] < heap[0]:
            heap[0] = values[c]
            _sift(heap, 0, k)
    for size in range(k - 1, 0, -1):
        heap[0], heap[size] = heap[size], heap[0]
        _sift(heap, 0, size)
    return heap


@numba.njit(nogil=True, cache=True)
def _cut(users, row, items, lists, k):
    """Raise the threshold to the exact scores of the ``k`` candidates that look best, and drop who cannot reach it."""
    count = lists.filled[row]
    cheap, place = lists.cheap[row], lists.place[row]
    looks = np.empty(count)
    for c in range(count):
        looks[c] = -(cheap[c] * items.scale[place[c]])
    kth = _least(looks, k)[k - 1]
    worst = np.float32(np.inf)
    for c in range(count):
        if looks[c] <= kth:
            worst = min(worst, _candidate_score(users, row, items, place[c]))
    # scores that round to the same float32 compete by item, so the threshold lies half a unit lower
    threshold = (np.float64(worst) - abs(np.float64(worst)) * 2.0**-23 - 2.0**-149) / users.scale[row]
    lists.threshold[row] = max(lists.threshold[row], threshold)
    kept = 0
    for c in range(count):
        if (cheap[c] + _slack(users, row, items, place[c] // GROUP)) * items.scale[place[c]] >= lists.threshold[row]:
            cheap[kept], place[kept] = cheap[c], place[c]
            kept += 1
    lists.filled[row] = kept


@numba.njit(nogil=True, cache=True)
def _scan_row(tile, first_group, users, row, items, lists, k):
    """Append a user's candidates of a tile, shape: (T / GROUP, GROUP)."""
    room = lists.cheap.shape[1]
    for g in range(tile.shape[0]):
        group = first_group + g
        slack = _slack(users, row, items, group)
        threshold = lists.threshold[row]
        least = threshold * (items.most[group] if threshold > 0 else items.least[group]) - slack
        level = tile.dtype.type(min(max(least - abs(least) * 2.0**-20, -2e9), 2e9))
        found = np.int32(0)
        for j in range(GROUP):
            found |= np.int32(tile[g, j] >= level)
        if found == 0:
            continue
        for j in range(GROUP):
            cheap, place = tile[g, j], group * GROUP + j
            if cheap < level or (cheap + slack) * items.scale[place] < lists.threshold[row]:
                continue
            item = items.item[place]
            if item < 0 or _has_seen(users, row, item):
                continue
            if lists.filled[row] == room:
                _cut(users, row, items, lists, k)
                if lists.filled[row] > room - room // 8:
                    lists.filled[row] = -1
                    return
            at = lists.filled[row]
            lists.cheap[row, at], lists.place[row, at] = cheap, place
            lists.filled[row] = at + 1


@numba.njit(parallel=True, nogil=True, cache=True)
def _scan(tile, first_group, users, items, lists, k):
    """Append the candidates of a tile, shape: (B, T / GROUP, GROUP)."""
    for row in numba.prange(tile.shape[0]):
        if lists.filled[row] >= 0:
            _scan_row(tile[row], first_group, users, np.int64(row), items, lists, k)


@numba.njit(nogil=True, cache=True)
def _finish_row(users, row, items, lists, scores, k):
    if lists.filled[row] > k:
        _cut(users, row, items, lists, k)
    for c in range(lists.filled[row]):
        scores[c] = _candidate_score(users, row, items, lists.place[row, c])


@numba.njit(parallel=True, nogil=True, cache=True)
def _finish(users, items, lists, scores, k):
    """Score the candidates. scores: shape: (B, room)"""
    for row in numba.prange(len(users.ids)):
        _finish_row(users, np.int64(row), items, lists, scores[row], k)


@numba.njit(parallel=True, nogil=True, cache=True)
def _select(bits, items, lists, keys):
    """Order by descending score, then ascending item, as one integer: the score's bits reversed, then the item.

    :param bits: shape: (B, room), int32, of the scores. Not in :func:`_finish`: numba holds arrays of a loop for distinct
    """
    for row in numba.prange(len(bits)):
        count = lists.filled[row]
        every = np.empty(max(count, 0), np.int64)
        for c in range(count):
            ascending = bits[row, c] ^ ((bits[row, c] >> np.int32(31)) & np.int32(0x7FFFFFFF))
            every[c] = (np.int64(~ascending) << 32) | np.int64(items.item[lists.place[row, c]])
        best = _least(every, min(keys.shape[1], len(every)))
        for c in range(len(best)):
            keys[row, c] = best[c]


@numba.njit(parallel=True, nogil=True, cache=True)
def _score_all(users, row, items, scores):
    for place in numba.prange(len(items.item)):
        if items.item[place] >= 0:
            scores[items.item[place]] = _candidate_score(users, row, items, np.int64(place))


@lru_cache
def fast_kind() -> Kind:
    """``int8`` where the processor multiplies bytes fast and without saturation, else ``float32``."""
    has = getattr(torch.cpu, "_is_vnni_supported", None)
    if has is None or not has() or not hasattr(torch, "_int_mm"):
        return "float32"
    extreme = torch.tensor([[127], [-127]], dtype=torch.int8).repeat(GROUP // 2, 256)
    wanted = extreme.int() @ extreme.int().T
    return "int8" if torch.equal(torch._int_mm(extreme, extreme.T), wanted) else "float32"


@contextmanager
def _full_precision() -> Iterator[None]:
    """The bound of the float32 product holds for float32: not for what a user may have asked to replace it."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


class BlockTopK:
    """Items made ready for ranking.

    :param items: shape: (I, D), float32, finite, on the CPU
    :param kind: of the cheap scores; the faster one if None. It does not change the result
    :param tile: items whose scores are held at once, rounded up to whole groups
    """

    def __init__(self, items: Tensor, kind: Kind | None = None, tile: int = TILE) -> None:
        vectors = items.detach().float().contiguous()
        n, width = vectors.shape
        self.kind: Kind = "float32" if width > _MAX_WIDTH else kind or fast_kind()
        made = _quantized(vectors, self.kind)
        order = np.argsort(-made.scale, kind="stable")
        groups = -(-n // GROUP)
        index = np.full(groups * GROUP, -1, np.int32)
        index[:n] = order
        last = order[np.minimum(np.arange(groups * GROUP), n - 1)] if n else index  # padding repeats the last item

        def of_groups(values: np.ndarray) -> np.ndarray:
            return values[last].reshape(groups, GROUP)

        scale = of_groups(made.scale)
        self._items = _Items(
            numpy_view(vectors), index, scale.reshape(-1), 1 / scale.max(1), 1 / scale.min(1),
            of_groups(made.norm + made.rest).max(1), of_groups(made.rest).max(1),
        )  # fmt: skip
        self._q = torch.from_numpy(made.q[last])
        self._tile = min(max(1, groups), -(-tile // GROUP)) * GROUP

    def __call__(
        self, vectors: Tensor, users: np.ndarray, start: np.ndarray, seen: np.ndarray, k: int, room: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rank a block of users.

        :param vectors: shape: (B, D), float32, finite
        :param users: shape: (B,), int64, rows of ``start``
        :param start: shape: (U + 1,), int64; user u has seen ``seen[start[u]:start[u + 1]]``, ascending
        :param seen: shape: (P,), int64, items left out
        :param room: candidates a list holds, chosen by ``k`` if None
        :return: items, int64, -1 where fewer than ``k`` are left, and scores, float32, -inf there. shape: (B, k) each
        """
        vectors = vectors.detach().float().contiguous()
        n_users, n_items = len(vectors), len(self._items.vectors)
        keys = np.full((n_users, k), _NOBODY)
        if not n_users:
            return keys, np.zeros((0, k), np.float32)
        made = _quantized(vectors, self.kind)
        block = _Users(numpy_view(vectors), made.scale, made.norm, made.rest, users, start, seen)
        room = min(n_items, max(room or _ROOM, 4 * k))
        dtype = torch.int32 if self.kind == "int8" else torch.float32
        tile = torch.empty(n_users * self._tile, dtype=dtype)
        lists = _Lists(
            np.full(n_users, -np.inf), np.zeros(n_users, np.int64),
            np.empty((n_users, room), numpy_view(tile).dtype), np.empty((n_users, room), np.int32),
        )  # fmt: skip
        left = torch.from_numpy(made.q)
        with _full_precision():
            for first in range(0, len(self._q), self._tile):
                right = self._q[first : first + self._tile].T
                out = tile[: n_users * right.shape[1]].view(n_users, -1)
                torch._int_mm(left, right, out=out) if self.kind == "int8" else torch.mm(left, right, out=out)
                _scan(numpy_view(out.view(n_users, -1, GROUP)), first // GROUP, block, self._items, lists, k)
        scores = np.empty((n_users, room), np.float32)
        _finish(block, self._items, lists, scores, k)
        _select(scores.view(np.int32), self._items, lists, keys)
        for row in np.flatnonzero(lists.filled < 0).tolist():
            keys[row] = self._rank_all(block, row, k)
        none = keys == _NOBODY
        bits = ~(keys >> 32).astype(np.int32)
        scores = (bits ^ ((bits >> 31) & 0x7FFFFFFF)).view(np.float32)
        return np.where(none, -1, keys & 0xFFFFFFFF), np.where(none, np.float32(-np.inf), scores)

    def _rank_all(self, block: _Users, row: int, k: int) -> np.ndarray:
        """Best items of one user out of all of them, as keys. shape: (K,)"""
        scores = np.empty(len(self._items.vectors), np.float32)
        _score_all(block, row, self._items, scores)
        bits = scores.view(np.int32)
        keys = (~(bits ^ ((bits >> 31) & 0x7FFFFFFF))).astype(np.int64) << 32 | np.arange(len(bits))
        keys[block.seen[slice(*block.start[block.ids[row] :][:2])]] = _NOBODY
        best = np.full(k, _NOBODY)
        least = np.sort(np.partition(keys, min(k, len(keys)) - 1)[:k])
        best[: len(least)] = least
        return best
