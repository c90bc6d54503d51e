"""A syntax is a way to write triples; those other than N-Triples are rewritten as N-Triples, one statement a line.

N-Quads keep their lines: the graph's name is dropped, and a line that is no quad stays as it is, for the scanner to report.
Turtle, TriG, N3, RDF/XML and JSON-LD are read as documents: where a statement cannot be read, the parser goes on at the next
and the text has a line ``!line 12: why`` in its place, which no scanner takes for a triple. Blank nodes without a label are
numbered in the order of the document.
"""

from __future__ import annotations

import io
import re
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pyoxigraph as ox

from kgrec.errors import DataError
from kgrec.kg.dumps.streams import Text, plain_name

#: suffixes of the syntaxes that are rewritten; any other name holds N-Triples
SYNTAXES = {
    ".nq": ox.RdfFormat.N_QUADS, ".ttl": ox.RdfFormat.TURTLE, ".trig": ox.RdfFormat.TRIG, ".n3": ox.RdfFormat.N3,
    ".rdf": ox.RdfFormat.RDF_XML, ".owl": ox.RdfFormat.RDF_XML, ".xml": ox.RdfFormat.RDF_XML,
    ".jsonld": ox.RdfFormat.JSON_LD,
}  # fmt: skip

#: blank nodes without a label that are remembered; a document speaks of one only while its statement lasts
_ANONYMOUS = 1 << 20
#: 128 bits, without leading zeros, that begin with a letter
_RANDOM = re.compile("_:[a-f][0-9a-f]{23,31}")
_READ = 1 << 20


def as_triples(text: Text, source: str | Path) -> Text:
    """The text of ``source`` as N-Triples; the same object if its name says that it is.

    :raises DataError: while reading, if a document ends where a statement cannot be read: the rest of it is lost
    """
    syntax = SYNTAXES.get(Path(plain_name(source)).suffix)
    if syntax is None:
        return text
    file = io.BufferedReader(_File(text), _READ)
    if syntax == ox.RdfFormat.N_QUADS:
        return _Lines(_quad_lines(file))
    return _Lines(_document_lines(file, syntax, source))


def _quad_lines(file: io.BufferedReader[Any]) -> Iterator[bytes]:
    """A line for each line of the file."""
    while lines := file.readlines(_READ):
        try:
            quads = [f"{quad.triple} .\n" for quad in ox.parse(b"".join(lines), ox.RdfFormat.N_QUADS)]
        except SyntaxError:
            quads = []
        # fewer: some line is blank, a comment, or no quad, and the others are to keep their numbers
        yield "".join(quads).encode() if len(quads) == len(lines) else b"".join(map(_quad_line, lines))


def _quad_line(line: bytes) -> bytes:
    try:
        return "".join(f"{quad.triple} ." for quad in ox.parse(line, ox.RdfFormat.N_QUADS)).encode() + b"\n"
    except SyntaxError:
        return line


def _document_lines(file: io.BufferedReader[Any], syntax: ox.RdfFormat, source: str | Path) -> Iterator[bytes]:
    """A line for each statement of the file, and for each place that is none."""
    base = str(source) if "://" in str(source) else None
    quads = ox.parse(cast(Any, file), syntax, base_iri=base)
    anonymous = _Anonymous()
    fault: SyntaxError | None = None
    while True:
        try:
            quad = next(quads)
        except StopIteration:
            break
        except SyntaxError as error:
            if fault is not None and fault.args == error.args:
                break
            fault = error
            place = "" if error.lineno is None else f"line {error.lineno}: "
            yield f"!{place}{' '.join(error.msg.split())}\n".encode()
            continue
        fault = None
        subject, predicate, object_, _ = quad
        yield f"{anonymous.label(subject)} {predicate} {anonymous.label(object_)} .\n".encode()
    if fault is not None:
        raise DataError(f"cannot be read to its end ({fault.msg}); mend it there", path=source, line=fault.lineno)


class _Anonymous:
    """Numbers for blank nodes without a label, to which the parser gives a random one."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._next = 0

    def label(self, term: Any) -> str:
        """``term`` as N-Triples writes it."""
        text = str(term)
        if type(term) is not ox.BlankNode or not _RANDOM.fullmatch(text):
            return text
        if text not in self._numbers:
            self._numbers[text] = self._next
            self._next += 1
            if len(self._numbers) > _ANONYMOUS:
                self._numbers.popitem(last=False)
        self._numbers.move_to_end(text)
        return f"_:anonymous{self._numbers[text]}"


class _File(io.RawIOBase):
    """A text as the file object parsers ask for."""

    def __init__(self, text: Text) -> None:
        self._text = text

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """See ``Text``."""
        return self._text.readinto(memoryview(buffer))


class _Lines:
    """Pieces of text as a ``Text``."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    def readinto(self, buffer: memoryview, /) -> int:
        """See ``Text``."""
        done = 0
        while done < len(buffer):
            if not self._rest:
                self._rest = next(self._pieces, b"")
                if not self._rest:
                    break
            count = min(len(self._rest), len(buffer) - done)
            buffer[done : done + count] = self._rest[:count]
            self._rest = self._rest[count:]
            done += count
        return done
