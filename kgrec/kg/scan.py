"""Scanning reads lines of N-Triples, ``<subject> <predicate> <object> .``, into columns of codes and literals.

One pass over a block of whole lines: 64 bytes at a time for the ends of lines and the bytes beyond ASCII, then term by term.
What a predicate is for (``FACT``, ``TYPE``, ``NAME`` …) is asked once per predicate; the loop only looks it up. Every
line is checked against the grammar (W3C N-Triples 1.1: UTF-8, IRIs, escapes, language tags, final dot), whether its
predicate is wanted or not; tabs and blanks both separate. What does not fit is reported with its line and a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kgrec.kg.codes import hash_bytes, id_length, mid_code, number_code
from kgrec.kg.dumps.blocks import PAD
from kgrec.kg.simd import copy64, high64, load8, load64, match64, special64, trailing_zeros, unequal64

#: what a predicate is for; a sum of these, 0 for what is left out
FACT, TYPE, NAME, LABEL, LITERAL, _INVALID = 1, 2, 4, 8, 16, 64
# NAME keeps a literal in every language, LABEL in the chosen ones, LITERAL keeps any object as written

REASONS = (
    "", "is not UTF-8", "has no subject <…> or _:…", "has no predicate <…>", "has no object <…>, _:… or \"…\"",
    "has a character that an IRI may not have", "has a broken escape", "has a literal that does not end",
    "has a malformed language tag or datatype", "does not end in a dot", "has a literal longer than extract.max_literal",
    "has a carriage return inside", "has a predicate that is no IRI",
)  # fmt: skip
_UTF8, _SUBJECT, _PREDICATE, _OBJECT, _IRI, _ESCAPE, _OPEN, _SUFFIX, _DOT, _LONG, _RETURN, _NO_IRI = range(1, 13)

# places in the context array
_LINE, _AT, _FACTS, _TYPES, _LITERALS, _TERMS, _BAD, _TEXT, _TERM_TEXT, _ASK, _ASK_START, _ASK_END, _ASK_TYPE = range(
    13
)
_BLANK, _DENIED, _DROPPED = range(13, 16)
_CONTEXT = 16
#: lines whose ends are found at once
_WINDOW = 4096

_U = np.uint64


_FREEBASE, _WIKIDATA = (
    np.frombuffer(text.ljust(PAD, b"\0"), dtype=np.uint8)
    for text in (b"<http://rdf.freebase.com/ns/", b"<http://www.wikidata.org/entity/")
)
_K1, _K2, _K3 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53))

#: byte -> 1 in an IRI, 2 a backslash, 0 never; 1 in a blank node's label
_IRI_BYTES = np.array([0 if b <= 32 or chr(b) in '<>"{}|^`' else 2 if b == 92 else 1 for b in range(256)], np.uint8)
_LABEL_BYTES = np.array([1 if b >= 128 or chr(b).isalnum() or chr(b) in "_-.:" else 0 for b in range(256)], np.uint8)


@nb.njit(cache=True, nogil=True, inline="always")
def _flag(high: Any, slash: Any, turn: Any) -> Any:
    return np.uint8((high != _U(0)) | ((slash != _U(0)) << 1) | ((turn != _U(0)) << 2))


@nb.njit(cache=True, nogil=True)
def _find_lines(base: Any, at: Any, stop: Any, ends: Any, flags: Any) -> Any:
    """Ends of the lines from ``at`` on, at most as many as ``ends`` holds; returns their number.

    Per line, ``flags`` has 1 if it is not ASCII + 2 if it has ``\\`` + 4 if ``\\r``.
    """
    lines, most = _U(0), _U(len(ends))
    flag = np.uint8(0)
    while at < stop:
        address = base + _U(at)
        feeds = match64(address, np.uint8(10))
        special = special64(address)
        if at + 64 > stop:
            keep = (_U(1) << _U(stop - at)) - _U(1)
            feeds &= keep
            special &= keep
        if not special:
            while feeds:
                ends[lines] = at + np.int64(trailing_zeros(feeds))
                flags[lines] = flag
                flag = np.uint8(0)
                lines += _U(1)
                if lines == most:
                    return np.int64(lines)
                feeds &= feeds - _U(1)
        else:
            high, slash, turn = high64(address), match64(address, np.uint8(92)), match64(address, np.uint8(13))
            behind = ~_U(0)
            while feeds:
                here = ((feeds & (~feeds + _U(1))) - _U(1)) & behind
                ends[lines] = at + np.int64(trailing_zeros(feeds))
                flags[lines] = flag | _flag(high & here, slash & here, turn & here)
                flag = np.uint8(0)
                lines += _U(1)
                if lines == most:
                    return np.int64(lines)
                behind &= ~((feeds & (~feeds + _U(1))) | here)
                feeds &= feeds - _U(1)
            behind &= special
            flag |= _flag(high & behind, slash & behind, turn & behind)
        at += 64
    return np.int64(lines)


@nb.njit(cache=True, nogil=True, inline="always")
def _byte(base: Any, at: Any) -> Any:
    return load8(base + _U(at))


@nb.njit(cache=True, nogil=True, inline="always")
def _find(base: Any, start: Any, end: Any, byte: Any) -> Any:
    """First place of ``byte`` in ``[start, end)``, or ``end``."""
    at = start
    while at < end:
        found = match64(base + _U(at), np.uint8(byte))
        if found:
            return min(at + np.int64(trailing_zeros(found)), end)
        at += 64
    return end


@nb.njit(cache=True, nogil=True)
def _is_utf8(base: Any, start: Any, end: Any) -> Any:
    at = start
    while at < end:
        byte = _byte(base, at)
        if byte < 0x80:
            at += 1
            continue
        if 0xC2 <= byte <= 0xDF:
            more, low, high = 1, 0x80, 0xBF
        elif 0xE0 <= byte <= 0xEF:
            more, low, high = 2, 0xA0 if byte == 0xE0 else 0x80, 0x9F if byte == 0xED else 0xBF
        elif 0xF0 <= byte <= 0xF4:
            more, low, high = 3, 0x90 if byte == 0xF0 else 0x80, 0x8F if byte == 0xF4 else 0xBF
        else:
            return False
        if at + more >= end:
            return False
        if not low <= _byte(base, at + 1) <= high:
            return False
        for place in range(2, more + 1):
            if not 0x80 <= _byte(base, at + place) <= 0xBF:
                return False
        at += more + 1
    return True


@nb.njit(cache=True, nogil=True)
def _escape_end(base: Any, at: Any, end: Any, codes_only: Any) -> Any:
    """Behind the escape that starts with the backslash at ``at``; -1 where it is none (``codes_only``: only \\u, \\U)."""
    if at + 1 >= end:
        return -1
    kind = _byte(base, at + 1)
    if kind == 117 or kind == 85:
        count = 4 if kind == 117 else 8
        if at + 2 + count > end:
            return -1
        for place in range(at + 2, at + 2 + count):
            byte = _byte(base, place)
            if not (48 <= byte <= 57 or 65 <= byte <= 70 or 97 <= byte <= 102):
                return -1
        return at + 2 + count
    if not codes_only and (
        kind == 116 or kind == 98 or kind == 110 or kind == 114 or kind == 102 or kind == 34 or kind == 39 or kind == 92
    ):
        return at + 2
    return -1


@nb.njit(cache=True, nogil=True)
def _iri_fault(base: Any, start: Any, end: Any) -> Any:
    """0 if ``[start, end)`` may stand between angle brackets, else a reason."""
    at = start
    while at < end:
        kind = _IRI_BYTES[_byte(base, at)]
        if kind == 1:
            at += 1
        elif kind == 2:
            at = _escape_end(base, at, end, True)
            if at < 0:
                return _ESCAPE
        else:
            return _IRI
    return 0


@nb.njit(cache=True, nogil=True, inline="always")
def _skip_blanks(base: Any, at: Any, end: Any) -> Any:
    byte = _byte(base, at)
    while at < end and (byte == 9 or byte == 32):
        at += 1
        byte = _byte(base, at)
    return at


@nb.njit(cache=True, nogil=True)
def _other_resource(base: Any, at: Any, end: Any, found: Any) -> Any:
    """Read any ``<…>`` or ``_:…`` at ``at``: its end, or minus a reason. ``found``: code, start and end of the id's text."""
    if _byte(base, at) == 60:
        close = _find(base, at + 1, end, 62)
        if close == end:
            return -_IRI
        address = base + _U(at)
        if unequal64(address, _WIKIDATA.ctypes.data) & _U((1 << 32) - 1) == _U(0) and _byte(base, at + 32) == 81:
            code = number_code(base + _U(at + 33), close - at - 33)
            if code >= 0:
                found[0], found[1], found[2] = code, at + 32, close
                return close + 1
        fault = _iri_fault(base, at + 1, close)
        if fault:
            return -fault
        start = at + (28 if unequal64(address, _FREEBASE.ctypes.data) & _U((1 << 28) - 1) == _U(0) else 1)
        found[0], found[1], found[2] = hash_bytes(base + _U(start), close - start), start, close
        return close + 1
    if _byte(base, at) == 95 and at + 2 < end and _byte(base, at + 1) == 58:
        stop = at + 2
        while stop < end and _LABEL_BYTES[_byte(base, stop)]:
            stop += 1
        while stop > at + 2 and _byte(base, stop - 1) == 46:  # a label may hold dots but not end in one
            stop -= 1
        if stop == at + 2 or _byte(base, at + 2) == 45 or _byte(base, at + 2) == 46:
            return -_OBJECT
        found[0], found[1], found[2] = hash_bytes(base + _U(at), stop - at), at, stop
        return stop
    return -_OBJECT


@nb.njit(cache=True, nogil=True, inline="always")
def _mid(base: Any, prefix: Any, at: Any, end: Any, found: Any) -> Any:
    """The fast way for ``<http://rdf.freebase.com/ns/m.…>`` and ``g.…`` at ``at``: its end, or 0 for anything else."""
    if unequal64(base + _U(at), prefix) & _U((1 << 28) - 1) == _U(0) and _byte(base, at + 29) == 46:
        letter = _byte(base, at + 28)
        if letter == 109 or letter == 103:
            address = base + _U(at + 30)
            length = id_length(address)
            stop = at + 30 + length
            if stop < end and _byte(base, stop) == 62:
                code = mid_code(address, length, letter == 109)
                if code >= 0:
                    found[0] = code
                    found[1] = at + 28
                    found[2] = stop
                    return stop + 1
    return np.int64(0)


@nb.njit(cache=True, nogil=True)
def _literal_end(base: Any, at: Any, end: Any, escapes: Any, tag: Any) -> Any:
    """Behind the literal at ``at``, or minus a reason. ``tag[0]``: its language's first part, lower case, as a number."""
    tag[0] = 0
    place = at + 1
    if escapes:
        byte = _byte(base, place)
        while place < end and byte != 34:
            if byte == 92:
                place = _escape_end(base, place, end, False)
                if place < 0:
                    return -_ESCAPE
            else:
                place += 1
            byte = _byte(base, place)
    else:
        place = _find(base, place, end, 34)
    if place >= end:
        return -_OPEN
    place += 1
    mark = _byte(base, place)
    if place < end and mark == 64:
        place += 1
        start = place
        word = np.int64(0)
        while place < end and 65 <= (_byte(base, place) & 0xDF) <= 90:
            if place - start < 8:
                word = (word << 8) | (_byte(base, place) | 0x20)
            place += 1
        if place == start:
            return -_SUFFIX
        if place - start > 7:
            word = np.int64(-1)  # longer than any language we may have been asked for
        while place < end and _byte(base, place) == 45:
            part = place + 1
            place = part
            while place < end:
                byte = _byte(base, place)
                if not (65 <= (byte & 0xDF) <= 90 or 48 <= byte <= 57):
                    break
                place += 1
            if place == part:
                return -_SUFFIX
        tag[0] = word
        return place
    if place < end and mark == 94:
        if place + 2 >= end or _byte(base, place + 1) != 94 or _byte(base, place + 2) != 60:
            return -_SUFFIX
        close = _find(base, place + 3, end, 62)
        if close == end:
            return -_SUFFIX
        fault = _iri_fault(base, place + 3, close)
        return -fault if fault else close + 1
    return place


@nb.njit(cache=True, nogil=True, inline="always")
def _equal(left: Any, right: Any, length: Any) -> Any:
    """Whether ``length`` bytes are the same; up to 63 more are read."""
    while length >= 64:
        if unequal64(left, right):
            return False
        left += _U(64)
        right += _U(64)
        length -= 64
    return unequal64(left, right) & ((_U(1) << _U(length)) - _U(1)) == _U(0)


@nb.njit(cache=True, nogil=True, inline="always")
def _quick_hash(end: Any, length: Any) -> Any:
    """Hash of a term by its length and its last 16 bytes; up to 16 bytes before ``end`` are read."""
    h = _U(length) * _K1
    last = load64(end - _U(8))
    if length < 8:
        last = last >> _U((8 - length) << 3) if length else _U(0)
    h ^= last * _K2
    if length >= 16:
        h ^= load64(end - _U(16)) * _K3
    h ^= h >> _U(32)
    return np.int64(h >> _U(1))


@nb.njit(cache=True, nogil=True, inline="always")
def _look_up(base: Any, start: Any, end: Any, slots: Any, known: Any, keys: Any) -> Any:
    """Number of the term ``[start, end)`` in a table, or -1."""
    length = end - start
    mask = _U(len(slots) - 1)
    hashed = _quick_hash(base + _U(end), length)
    key_base = _U(keys.ctypes.data)
    slot = _U(hashed) & mask
    number = slots[slot]
    while number >= 0:
        row = _U(number)  # an unsigned index needs no look at its sign
        like = known[row, _U(0)] == hashed and known[row, _U(2)] == length
        if like and _equal(base + _U(start), key_base + _U(known[row, _U(1)]), length):
            break
        slot = (slot + _U(1)) & mask
        number = slots[slot]
    return number


@nb.njit(cache=True, nogil=True, inline="always")
def _copy(target: Any, source: Any, length: Any) -> None:
    """Copy ``length`` bytes; up to 63 more are read and written."""
    for at in range(0, length, 64):
        copy64(target + _U(at), source + _U(at))


@nb.njit(cache=True, nogil=True)
def _emit_term(base: Any, found: Any, recent: Any, ctx: Any, term_code: Any, term_end: Any, term_text: Any) -> None:
    """Keep the text of a hashed id, unless this block kept it a moment ago."""
    place = found[0] & (len(recent) - 1)
    if recent[place] != found[0]:
        recent[place] = found[0]
        at, length = ctx[_TERM_TEXT], found[2] - found[1]
        _copy(_U(term_text.ctypes.data) + _U(at), base + _U(found[1]), length)
        ctx[_TERM_TEXT] = at + length
        term_code[ctx[_TERMS]] = found[0]
        term_end[ctx[_TERMS] + 1] = at + length
        ctx[_TERMS] += 1


@nb.njit(cache=True, nogil=True)
def _scan(
    text: Any, prefix: Any, stop: Any, ends: Any, flags: Any, longest: Any, languages: Any,
    p_slots: Any, p_known: Any, p_keys: Any, p_use: Any, t_slots: Any, t_known: Any, t_keys: Any,
    recent: Any, ctx: Any, fact_s: Any, fact_p: Any, fact_o: Any, type_s: Any, type_o: Any,
    lit_s: Any, lit_p: Any, lit_end: Any, lit_text: Any, term_code: Any, term_end: Any, term_text: Any,
    bad_line: Any, bad_start: Any, bad_reason: Any,
) -> Any:  # fmt: skip
    """Scan from ``ctx[_AT]`` on. Returns 0 at the end, 1 to ask for the predicate or type at ``ctx[_ASK_START]``.

    Lines are found a window at a time, so that they are still in the processor's cache when they are read.
    """
    base = _U(text.ctypes.data)
    freebase = _U(prefix.ctypes.data)
    subject = np.zeros(3, dtype=np.int64)
    thing = np.zeros(3, dtype=np.int64)
    tag = np.zeros(1, dtype=np.int64)
    last, last_length = _U(0), np.int64(0)
    facts, kinds = _U(ctx[_FACTS]), _U(ctx[_TYPES])
    ask = 0
    at: Any = 0
    start = ctx[_AT]
    line = ctx[_LINE] - 1
    found = place_in_window = 0
    while start < stop:
        if place_in_window == found:
            found = _find_lines(base, start, stop, ends, flags)
            place_in_window = 0
        ctx[_AT] = start
        line += 1
        end = np.int64(ends[_U(place_in_window)])
        flag = flags[_U(place_in_window)]
        place_in_window += 1
        first_byte = start
        start = end + 1
        reason = 0
        if flag:
            if _byte(base, end - 1) == 13 and end > first_byte:
                end -= 1
            if flag & 1 and not _is_utf8(base, first_byte, end):
                reason = _UTF8
            elif flag & 4 and _find(base, first_byte, end, 13) < end:
                reason = _RETURN
        at = first_byte
        # subject
        if reason == 0:
            if last_length > 0 and at + last_length < end and _equal(base + _U(at), last, last_length):
                at += last_length
            else:
                last_length = np.int64(0)
                at = _skip_blanks(base, at, end)
                if at == end or _byte(base, at) == 35:
                    ctx[_BLANK] += 1
                    continue
                behind = _mid(base, freebase, at, end, subject)
                if behind == 0:
                    behind = _other_resource(base, at, end, subject)
                if behind < 0:
                    reason = _SUBJECT if -behind == _OBJECT else -behind
                else:
                    if _byte(base, at) == 60:  # a blank node has no closing mark, so equal beginnings prove nothing
                        last, last_length = base + _U(at), behind - at
                    at = behind
        # predicate
        predicate = np.int64(-1)
        use = np.int64(0)
        if reason == 0:
            at = _skip_blanks(base, at, end)
            close = _find(base, at + 1, end, 62) if at < end and _byte(base, at) == 60 else end
            if close == end:
                reason = _PREDICATE
            else:
                predicate = _look_up(base, at + 1, close, p_slots, p_known, p_keys)
                if predicate < 0:
                    ctx[_LINE], ctx[_ASK_START], ctx[_ASK_END], ctx[_ASK_TYPE] = line, at + 1, close, 0
                    ask = 1
                    break
                use = p_use[_U(predicate)]
                if use == _INVALID:
                    reason = _NO_IRI
                at = close + 1
        # object
        literal = False
        kind = np.int64(-1)
        first = np.int64(at)
        if reason == 0:
            at = _skip_blanks(base, at, end)
            first = at
            if at >= end:
                reason = _OBJECT
            elif _byte(base, at) == 34:
                literal = True
                at = _literal_end(base, at, end, flag & 2 != 0, tag)
                if at > 0 and at - first > longest:
                    at = np.int64(-_LONG)
            else:
                behind = _mid(base, freebase, at, end, thing)
                if behind == 0 and use & 3 == 2:  # a type that was met before needs neither a code nor a check
                    thing[1] = at + (28 if unequal64(base + _U(at), freebase) & _U((1 << 28) - 1) == _U(0) else 1)
                    thing[2] = _find(base, thing[1], end, 62)
                    kind = _look_up(base, thing[1], thing[2], t_slots, t_known, t_keys)
                    behind = thing[2] + 1 if kind >= 0 else behind
                at = behind if behind > 0 else _other_resource(base, at, end, thing)
            if at < 0:
                reason = -at
        if reason == 0:
            at_dot = at + 1 if _byte(base, at) == 9 else _skip_blanks(base, at, end)
            if at_dot >= end or _byte(base, at_dot) != 46:
                at_dot = _skip_blanks(base, at, end)
            if at_dot >= end or _byte(base, at_dot) != 46:
                reason = _DOT
            elif at_dot + 1 != end:
                behind = _skip_blanks(base, at_dot + 1, end)
                if behind < end and _byte(base, behind) != 35:
                    reason = _DOT
        if reason:
            bad_line[ctx[_BAD]] = line
            bad_start[ctx[_BAD]] = first_byte
            bad_reason[ctx[_BAD]] = reason
            ctx[_BAD] += 1
            continue
        # rows
        keep = False
        if not literal:
            if use & 2:
                if kind < 0:
                    kind = _look_up(base, thing[1], thing[2], t_slots, t_known, t_keys)
                if kind < 0:
                    ctx[_LINE], ctx[_ASK_START], ctx[_ASK_END], ctx[_ASK_TYPE] = line, thing[1], thing[2], 1
                    ask = 1
                    break
                type_s[kinds] = subject[0]
                type_o[kinds] = kind
                kinds += _U(1)
            if use & 1:
                fact_s[facts] = subject[0]
                fact_p[facts] = predicate
                fact_o[facts] = thing[0]
                facts += _U(1)
                if thing[0] < 0:
                    _emit_term(base, thing, recent, ctx, term_code, term_end, term_text)
            if use & (1 | 2 | 16) == 0:
                ctx[_DENIED] += 1
            keep = use & 16 != 0
        else:
            if use & (4 | 16):
                keep = True
            elif use & 8:
                keep = tag[0] == 0
                for language in languages:
                    keep = keep or language == tag[0]
            if not keep:
                ctx[_DROPPED] += 1
        if keep:
            row, place = ctx[_LITERALS], ctx[_TEXT]
            lit_s[row] = subject[0]
            lit_p[row] = predicate
            _copy(_U(lit_text.ctypes.data) + _U(place), base + _U(first), at - first)
            ctx[_TEXT] = place + at - first
            lit_end[row + 1] = place + at - first
            ctx[_LITERALS] = row + 1
        if subject[0] < 0 and (keep or (not literal and use & 3)):
            _emit_term(base, subject, recent, ctx, term_code, term_end, term_text)
    ctx[_FACTS], ctx[_TYPES] = np.int64(facts), np.int64(kinds)
    if not ask:
        ctx[_LINE] = line + 1
    return ask


class _Terms:
    """A growing table of texts for ``_look_up``."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.uses = np.zeros(64, dtype=np.int64)
        self.slots = np.full(256, -1, dtype=np.int64)
        self.known = np.zeros((64, 3), dtype=np.int64)
        self.keys = np.zeros(4096, dtype=np.uint8)
        self._filled = 0

    def add(self, text: bytes, name: str, use: int) -> None:
        number = len(self.names)
        if number == len(self.uses):
            self.uses = np.concatenate([self.uses, np.zeros_like(self.uses)])
            self.known = np.concatenate([self.known, np.zeros_like(self.known)])
        while self._filled + len(text) + PAD > len(self.keys):
            self.keys = np.concatenate([self.keys, np.zeros_like(self.keys)])
        self.names.append(name)
        self.uses[number] = use
        self.keys[self._filled : self._filled + len(text)] = np.frombuffer(text, dtype=np.uint8)
        self.known[number] = _hash(np.frombuffer(bytes(16) + text, dtype=np.uint8), len(text)), self._filled, len(text)
        self._filled += len(text)
        if 2 * (number + 1) > len(self.slots):
            self.slots = np.full(4 * len(self.slots), -1, dtype=np.int64)
            for row in range(number + 1):
                self._place(row)
        else:
            self._place(number)

    def _place(self, number: int) -> None:
        mask = len(self.slots) - 1
        slot = int(self.known[number, 0]) & mask
        while self.slots[slot] >= 0:
            slot = (slot + 1) & mask
        self.slots[slot] = number


@nb.njit(cache=True)
def _hash(text: Any, length: int) -> Any:
    return _quick_hash(_U(text.ctypes.data) + _U(len(text)), length)


_IRI_TEXT = re.compile(r"(?:[^\x00-\x20<>\"{}|^`\\]|\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8})*")


def predicate_name(text: str) -> str:
    """The IRI of a predicate as the store spells it: ``film.film.genre``, ``key/wikipedia.en``, ``wdt:P345``."""
    for prefix, short in (
        ("http://rdf.freebase.com/ns/", ""), ("http://rdf.freebase.com/key/", "key/"),
        ("http://www.wikidata.org/prop/direct/", "wdt:"),
    ):  # fmt: skip
        if text.startswith(prefix):
            return short + text[len(prefix) :]
    return text


@dataclass
class Rows:
    """What a block holds. ``p`` and the ``o`` of types are numbers into ``predicates`` and ``kinds``."""

    lines: int
    #: s int64, p int32, o int64
    facts: pa.Table
    #: s int64, o int32
    types: pa.Table
    #: s int64, p int32, o string
    literals: pa.Table
    #: code int64, term string: ids of hashed codes, not distinct
    terms: pa.Table
    #: line int64 (0-based in the block), reason string, text string (the beginning of the line)
    malformed: pa.Table
    counts: dict[str, int]
    #: names the numbers stand for; they may grow behind
    predicates: list[str]
    kinds: list[str]
    _space: Any = None
    _spare: Any = None

    def release(self) -> None:
        """Give the memory of the tables back once they are written; a later block uses it again. They are void then."""
        if self._space is not None:
            self._spare.append(self._space)
            self._space = None


class _Space:
    """Memory that one block's columns are written to. Pages that are never written take none."""

    def __init__(self) -> None:
        self._arrays: dict[str, npt.NDArray[Any]] = {}

    def array(self, name: str, kind: Any, length: int) -> npt.NDArray[Any]:
        held = self._arrays.get(name)
        if held is None or len(held) < length:
            held = self._arrays[name] = np.empty(length + length // 8 + 16, dtype=kind)
        return held


class Scanner:
    """Scans blocks; it learns predicates and types as they come and keeps no other state, so any block may be next.

    One thread at a time; rows may be released by another.

    :param use: what a predicate, spelt as in the store, is for
    :param languages: primary language tags whose ``LABEL`` literals are kept, beside those without a language
    :param longest: bytes of the longest literal
    """

    _SHOWN = 200

    def __init__(self, use: Callable[[str], int], languages: Sequence[str] = ("en",), longest: int = 1 << 20) -> None:
        self._use = use
        self._languages = np.array([_tag(name) for name in languages], dtype=np.int64)
        self._longest = longest
        self._predicates, self._types = _Terms(), _Terms()
        self._window = np.empty(_WINDOW, np.int32), np.empty(_WINDOW, np.uint8)
        self._recent = np.zeros(1 << 14, np.int64)
        self._spare: list[_Space] = []

    def scan(self, block: bytes | memoryview | npt.NDArray[np.uint8]) -> Rows:
        """Rows of a block of whole lines (the last one may lack its line feed)."""
        text = np.frombuffer(block, dtype=np.uint8)
        padded = np.zeros(len(text) + 1 + 2 * PAD, dtype=np.uint8)
        padded[PAD : PAD + len(text)] = text
        padded[PAD + len(text)] = 10
        return self.scan_padded(padded if len(text) and text[-1] != 10 else padded[:-1])

    def scan_padded(self, text: npt.NDArray[np.uint8]) -> Rows:
        """``scan`` without a copy: the lines stand between ``PAD`` bytes that mean nothing, and end in a line feed."""
        return self._rows(text, len(text) - PAD)

    def _rows(self, text: Any, stop: int) -> Rows:
        ctx = np.zeros(_CONTEXT, dtype=np.int64)
        ctx[_AT] = PAD
        size = stop - PAD
        # the shortest statement, <><><>. and a line feed, has eight bytes, the shortest malformed line two; pages that are never
        # written take no memory
        most, most_bad = size // 8 + 1, size // 2 + 1
        ends, flags = self._window
        recent = self._recent
        space = self._spare.pop() if self._spare else _Space()
        recent[:] = 0
        i64, i32 = np.int64, np.int32
        columns = {
            name: space.array(name, kind, most + 1)
            for name, kind in (
                ("fact_s", i64), ("fact_p", i32), ("fact_o", i64), ("type_s", i64), ("type_o", i32),
                ("lit_s", i64), ("lit_p", i32), ("lit_end", i32),
            )
        }  # fmt: skip
        bad_line, bad_start = space.array("bad_line", i32, most_bad), space.array("bad_start", i32, most_bad)
        bad_reason = space.array("bad_reason", np.uint8, most_bad)
        term_code, term_end = space.array("term_code", i64, 2 * most), space.array("term_end", i32, 2 * most + 1)
        lit_text = space.array("lit_text", np.uint8, size + PAD)
        term_text = space.array("term_text", np.uint8, size + PAD)
        columns["lit_end"][0] = term_end[0] = 0
        while True:
            p, t = self._predicates, self._types
            ask = _scan(
                text, _FREEBASE, stop, ends, flags, self._longest, self._languages,
                p.slots, p.known, p.keys, p.uses, t.slots, t.known, t.keys, recent, ctx,
                columns["fact_s"], columns["fact_p"], columns["fact_o"], columns["type_s"], columns["type_o"],
                columns["lit_s"], columns["lit_p"], columns["lit_end"], lit_text, term_code, term_end, term_text,
                bad_line, bad_start, bad_reason,
            )  # fmt: skip
            if not ask:
                break
            self._learn(bytes(text[ctx[_ASK_START] : ctx[_ASK_END]]), bool(ctx[_ASK_TYPE]))
        facts, kinds, literals, terms, bad = (int(ctx[i]) for i in (_FACTS, _TYPES, _LITERALS, _TERMS, _BAD))
        lines = int(ctx[_LINE])
        beginnings = (bytes(text[start : start + self._SHOWN]).split(b"\n", 1)[0] for start in bad_start[:bad].tolist())
        shown = [beginning.decode("utf-8", "backslashreplace") for beginning in beginnings]
        reasons = [REASONS[reason] for reason in bad_reason[:bad]]
        malformed = pa.table(
            {
                "line": bad_line[:bad].astype(i64),
                "reason": pa.array(reasons, pa.string()),
                "text": pa.array(shown, pa.string()),
            }
        )
        return Rows(
            lines,
            pa.table({name: _numbers(columns[f"fact_{name}"][:facts]) for name in ("s", "p", "o")}),
            pa.table({name: _numbers(columns[f"type_{name}"][:kinds]) for name in ("s", "o")}),
            pa.table(
                {
                    "s": _numbers(columns["lit_s"][:literals]), "p": _numbers(columns["lit_p"][:literals]),
                    "o": _strings(columns["lit_end"][: literals + 1], lit_text),
                }
            ),
            pa.table({"code": _numbers(term_code[:terms]), "term": _strings(term_end[: terms + 1], term_text)}),
            malformed,
            {
                "lines": lines, "facts": facts, "types": kinds, "literals": literals, "malformed": bad,
                "blank": int(ctx[_BLANK]), "denied": int(ctx[_DENIED]), "literals_dropped": int(ctx[_DROPPED]),
            },
            self._predicates.names,
            self._types.names,
            space,
            self._spare,
        )  # fmt: skip

    def _learn(self, text: bytes, is_type: bool) -> None:
        name = text.decode("utf-8")
        if is_type:
            self._types.add(text, name, 0)
        elif not _IRI_TEXT.fullmatch(name):
            self._predicates.add(text, name, _INVALID)
        else:
            name = predicate_name(name)
            self._predicates.add(text, name, self._use(name))


def _numbers(values: npt.NDArray[Any]) -> pa.Array:
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _strings(ends: npt.NDArray[np.int32], text: npt.NDArray[np.uint8]) -> pa.Array:
    return pa.StringArray.from_buffers(len(ends) - 1, pa.py_buffer(ends), pa.py_buffer(text[: int(ends[-1])]))


def _tag(name: str) -> Any:
    """A language as ``_literal_end`` writes it."""
    word = 0
    for byte in name.lower().encode():
        word = (word << 8) | byte
    return word if 0 < len(name) < 8 else -2
