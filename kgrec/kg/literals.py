"""A literal is a text with a language or a datatype, written in quotes with escapes: ``"Alien"@en``, ``"1979"^^<…#gYear>``."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.S)
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f"}


def unescape(literal: str) -> str:
    """The text of an N-Triples literal: without quotes, language or datatype, its escapes resolved."""

    def character(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code is None:
            return _CONTROL.get(match[3], match[3])
        return chr(int(code, 16)) if int(code, 16) < 0x110000 else "\N{REPLACEMENT CHARACTER}"

    text = _ESCAPE.sub(character, literal[1 : literal.rindex('"')])
    # a pair of \u escapes may stand for one character beyond U+FFFF
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
