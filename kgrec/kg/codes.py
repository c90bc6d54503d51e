"""A code is an entity's id as one 64-bit integer, the same in every file and on every machine, without a dictionary.

Freebase's ``m.x`` and ``g.x`` and Wikidata's ``Q<n>`` are numbers in another base, so their codes turn back into ids by
arithmetic. Any other id gets a negative code, a 63-bit hash; a store keeps those ids in its table of terms and refuses two
that meet.

==========  =================  =================================================================
from        id                 value
==========  =================  =================================================================
0           ``m.0dyb1``        bijective base 37 over ``0-9a-z_``, at most 12 characters
6.8e18      ``g.11b7fv4k6q``   the same, at most 11 characters
7.2e18      ``Q42``            the number, at most 17 digits
negative    other              hash of the UTF-8 text
==========  =================  =================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from kgrec.kg.simd import load64

ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz_"
_LONGEST_M, _LONGEST_G = 12, 11
_G, _Q = 6_800_000_000_000_000_000, 7_200_000_000_000_000_000

#: byte -> digit from 1, or 0
DIGITS = np.zeros(256, dtype=np.int64)
for _place, _letter in enumerate(ALPHABET, start=1):
    DIGITS[ord(_letter)] = _place

_P1, _P2, _P3 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53))
_S29, _S33, _EIGHT, _ONE = (np.uint64(n) for n in (29, 33, 8, 1))
_TOP = np.uint64(1 << 63)


@nb.njit(cache=True, nogil=True, inline="always")
def hash_bytes(address: Any, length: Any) -> Any:
    """Negative hash of ``length`` bytes; up to 7 bytes behind them are read and ignored. After MurmurHash3's mixing."""
    h = np.uint64(length) * _P1
    whole = length >> 3
    for i in range(whole):
        h = (h ^ load64(address + np.uint64(i << 3))) * _P2
        h ^= h >> _S29
    rest = length & 7
    if rest:
        word = load64(address + np.uint64(whole << 3)) & ((_ONE << np.uint64(rest << 3)) - _ONE)
        h = (h ^ word) * _P2
        h ^= h >> _S29
    h ^= h >> _S33
    h *= _P3
    h ^= h >> _S33
    return np.int64(h | _TOP)


@nb.njit(cache=True, nogil=True, inline="always")
def mid_code(text: Any, start: Any, end: Any) -> Any:
    """Code of the id ``text[start:end]`` in ``m.`` or ``g.``; -1 where it is too long or has another character."""
    is_m = text[start] == 109
    start += 2
    if end <= start or end - start > (_LONGEST_M if is_m else _LONGEST_G):
        return -1
    value = 0
    for place in range(start, end):
        digit = DIGITS[text[place]]
        if digit == 0:
            return -1
        value = value * 37 + digit
    return value if is_m else value + _G


@nb.njit(cache=True, nogil=True, inline="always")
def number_code(text: Any, start: Any, end: Any) -> Any:
    """Code of ``Q<text[start:end]>``; -1 where that is no plain number."""
    if end <= start or end - start > 17 or text[start] == 48:
        return -1
    value: Any = 0
    for place in range(start, end):
        digit = np.int64(text[place]) - 48
        if digit < 0 or digit > 9:
            return -1
        value = value * 10 + digit
    return value + _Q


@nb.njit(cache=True, nogil=True)
def _encode(text: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], codes: npt.NDArray[np.int64]) -> None:
    base = np.uint64(text.ctypes.data)
    for row in range(len(codes)):
        start, end = offsets[row], offsets[row + 1]
        code = -1
        if end - start > 2 and text[start + 1] == 46 and (text[start] == 109 or text[start] == 103):
            code = mid_code(text, start, end)
        elif end - start > 1 and text[start] == 81:
            code = number_code(text, start + 1, end)
        codes[row] = code if code >= 0 else hash_bytes(base + np.uint64(start), end - start)


def encode(ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Codes of ids. shape: (len(ids),)"""
    texts = [text.encode("utf-8", "surrogatepass") for text in ids]
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    codes = np.empty(len(texts), dtype=np.int64)
    _encode(np.frombuffer(b"".join(texts) + bytes(8), dtype=np.uint8), offsets, codes)
    return codes


@nb.njit(cache=True, nogil=True)
def _decode(
    codes: npt.NDArray[np.int64],
    letters: npt.NDArray[np.uint8],
    text: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int32],
) -> None:
    digits = np.empty(20, dtype=np.uint8)
    at = 0
    for row in range(len(codes)):
        code = codes[row]
        if code >= 0:
            kind = 2 if code >= _Q else (1 if code >= _G else 0)
            value = code - (_Q if kind == 2 else (_G if kind == 1 else 0))
            count = 0
            while value > 0:
                if kind == 2:
                    digits[count] = 48 + value % 10
                    value //= 10
                else:
                    value -= 1
                    digits[count] = letters[value % 37]
                    value //= 37
                count += 1
            text[at] = 109 if kind == 0 else (103 if kind == 1 else 81)
            at += 1
            if kind < 2:
                text[at] = 46
                at += 1
            for place in range(count - 1, -1, -1):
                text[at] = digits[place]
                at += 1
        offsets[row + 1] = at


def decode(codes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Ids of codes as Arrow string buffers, ``offsets`` (int32, len + 1) and ``text``; empty for hashed codes."""
    codes = np.ascontiguousarray(codes, dtype=np.int64)
    offsets = np.zeros(len(codes) + 1, dtype=np.int32)
    text = np.empty(len(codes) * 20, dtype=np.uint8)
    _decode(codes, np.frombuffer(ALPHABET.encode(), dtype=np.uint8), text, offsets)
    return offsets, text[: offsets[-1]]
