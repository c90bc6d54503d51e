"""A code is an entity's id as one 64-bit integer, the same in every file and on every machine, without a dictionary.

Freebase's ``m.x`` and ``g.x`` and Wikidata's ``Q<n>`` fit into an integer and come back out of it. Any other id gets a
negative code, a 63-bit hash; a store keeps those ids in its table of terms and refuses two that meet.

==========  =====================  ===============================================================
from        id                     value
==========  =====================  ===============================================================
0           ``m.0dyb1``            up to 8 of ``0-9a-z_``, 7 bits each, first letter highest
2^56        ``g.1213ts_l``         the same
2^58        ``m.0zfdb00d6d80``     9 to 12 letters, bijective base 37
7.1e18      ``g.11b7fv4k6q``       9 to 11 letters, the same
7.4e18      ``Q42``                up to 17 digits
negative    other                  hash of the UTF-8 text
==========  =====================  ===============================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from kgrec.kg.simd import load8, load64, reversed_bytes, trailing_zeros, word64

ALPHABET = b"0123456789abcdefghijklmnopqrstuvwxyz_"
_G, _LONG_M, _LONG_G, _Q = 1 << 56, 1 << 58, 7_100_000_000_000_000_000, 7_400_000_000_000_000_000
_SHORT, _LONGEST_M, _LONGEST_G, _LONGEST_Q = 8, 12, 11, 17
#: bytes of the longest id that is no hash
_LONGEST = 20

#: byte -> digit from 1
_DIGITS = np.zeros(256, dtype=np.int64)
_DIGITS[np.frombuffer(ALPHABET, dtype=np.uint8)] = np.arange(1, 38)
_LETTERS = np.frombuffer(ALPHABET, dtype=np.uint8)

_U = np.uint64
_P1, _P2, _P3 = (_U(n) for n in (0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53))
_ONE = _U(1)
_TOP = _U(1 << 63)


@nb.njit(cache=True, nogil=True, inline="always")
def hash_bytes(address: Any, length: Any) -> Any:
    """Negative hash of ``length`` bytes; up to 7 bytes behind them are read and ignored. After MurmurHash3's mixing."""
    h = _U(length) * _P1
    whole = length >> 3
    for i in range(whole):
        h = (h ^ load64(address + _U(i << 3))) * _P2
        h ^= h >> _U(29)
    rest = length & 7
    if rest:
        word = load64(address + _U(whole << 3)) & ((_ONE << _U(rest << 3)) - _ONE)
        h = (h ^ word) * _P2
        h ^= h >> _U(29)
    h ^= h >> _U(33)
    h *= _P3
    h ^= h >> _U(33)
    return np.int64(h | _TOP)


@nb.njit(cache=True, nogil=True, inline="always")
def id_length(address: Any) -> Any:
    """How many letters of an id follow one another from ``address`` on; at most 64."""
    return np.int64(trailing_zeros(~word64(address)))


@nb.njit(cache=True, nogil=True, inline="always")
def mid_code(address: Any, length: Any, is_m: Any) -> Any:
    """Code of ``m.`` or ``g.`` and the ``length`` letters at ``address``; -1 where they are none or too many."""
    if 0 < length <= _SHORT:
        x = reversed_bytes(load64(address))
        if length < _SHORT:
            x &= ~((_ONE << _U((_SHORT - length) << 3)) - _ONE)
        x = ((x & _U(0x7F007F007F007F00)) >> _ONE) | (x & _U(0x007F007F007F007F))
        x = ((x & _U(0x3FFF00003FFF0000)) >> _U(2)) | (x & _U(0x00003FFF00003FFF))
        x = ((x & _U(0x0FFFFFFF00000000)) >> _U(4)) | (x & _U(0x000000000FFFFFFF))
        return np.int64(x) if is_m else np.int64(x) + _G
    if length == 0 or length > (_LONGEST_M if is_m else _LONGEST_G):
        return np.int64(-1)
    value = np.int64(0)
    for place in range(length):
        value = value * 37 + _DIGITS[load8(address + _U(place))]
    return value + (_LONG_M if is_m else _LONG_G)


@nb.njit(cache=True, nogil=True, inline="always")
def number_code(address: Any, length: Any) -> Any:
    """Code of ``Q`` and the ``length`` digits at ``address``; -1 where they are no plain number, or too long."""
    if length <= 0 or length > _LONGEST_Q or load8(address) == 48:
        return np.int64(-1)
    value = np.int64(0)
    for place in range(length):
        digit = load8(address + _U(place)) - 48
        if digit < 0 or digit > 9:
            return np.int64(-1)
        value = value * 10 + digit
    return value + _Q


@nb.njit(cache=True, nogil=True)
def _encode(text: Any, offsets: Any, codes: Any) -> None:
    base = _U(text.ctypes.data)
    for row in range(len(codes)):
        address, length = base + _U(offsets[row]), offsets[row + 1] - offsets[row]
        first = load8(address)
        code = np.int64(-1)
        if length > 2 and load8(address + _U(1)) == 46 and (first == 109 or first == 103):
            if id_length(address + _U(2)) >= length - 2:
                code = mid_code(address + _U(2), length - 2, first == 109)
        elif length > 1 and first == 81:
            code = number_code(address + _U(1), length - 1)
        codes[row] = code if code >= 0 else hash_bytes(address, length)


def encode(ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """Codes of ids. shape: (len(ids),)"""
    texts = [text.encode("utf-8", "surrogatepass") for text in ids]
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    codes = np.empty(len(texts), dtype=np.int64)
    _encode(np.frombuffer(b"".join(texts) + bytes(128), dtype=np.uint8), offsets, codes)
    return codes


@nb.njit(cache=True, nogil=True)
def _decode(codes: Any, text: Any, offsets: Any) -> None:
    digits = np.empty(_LONGEST, dtype=np.uint8)
    at = 0
    for row in range(len(codes)):
        code = codes[row]
        if code >= 0:
            is_q = code >= _Q
            is_g = not is_q and (code >= _LONG_G or _G <= code < _LONG_M)
            text[at] = 81 if is_q else (103 if is_g else 109)
            at += 1
            if not is_q:
                text[at] = 46
                at += 1
            if code < _LONG_M:
                value = code - _G if is_g else code
                for shift in range(49, -1, -7):
                    letter = (value >> shift) & 127
                    if letter:
                        text[at] = letter
                        at += 1
            else:
                value = code - (_Q if is_q else (_LONG_G if is_g else _LONG_M))
                count = 0
                while value > 0:
                    if is_q:
                        digits[count] = 48 + value % 10
                        value //= 10
                    else:
                        value -= 1
                        digits[count] = _LETTERS[value % 37]
                        value //= 37
                    count += 1
                for place in range(count - 1, -1, -1):
                    text[at] = digits[place]
                    at += 1
        offsets[row + 1] = at


def decode(codes: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Ids of codes as Arrow string buffers, ``offsets`` (int32, len + 1) and ``text``; empty for hashed codes."""
    codes = np.ascontiguousarray(codes, dtype=np.int64)
    offsets = np.zeros(len(codes) + 1, dtype=np.int32)
    text = np.empty(len(codes) * _LONGEST, dtype=np.uint8)
    _decode(codes, text, offsets)
    return offsets, text[: offsets[-1]]
