"""A million damaged lines through the scanner, against a slow reader written down from the grammar of N-Triples.

https://www.w3.org/TR/n-triples/#n-triples-grammar; a regular expression is its production of the same name. Three things the
scanner takes more liberally, and the reader with it: an IRI may be relative, the label of a blank node may have any character
beyond ASCII, and a carriage return ends a line only before a line feed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kgrec.kg.codes import decode
from kgrec.kg.scan import FACT, LITERAL, Rows, Scanner

HEX = "[0-9A-Fa-f]"
UCHAR = rf"\\u{HEX}{{4}}|\\U{HEX}{{8}}"
ECHAR = r"\\[tbnrf\"'\\]"
IRIREF = rf"<(?:[^\x00-\x20<>\"{{}}|^`\\]|{UCHAR})*>"
PN_CHARS_U = r"A-Za-z_:\x80-\U0010ffff"
PN_CHARS = rf"{PN_CHARS_U}0-9\-"
BLANK_NODE_LABEL = rf"_:[{PN_CHARS_U}0-9](?:[{PN_CHARS}.]*[{PN_CHARS}])?"
STRING_LITERAL_QUOTE = rf"\"(?:[^\"\\\n\r]|{ECHAR}|{UCHAR})*\""
LANGTAG = r"@[a-zA-Z]+(?:-[a-zA-Z0-9]+)*"
LITERAL_TERM = rf"{STRING_LITERAL_QUOTE}(?:\^\^{IRIREF}|{LANGTAG})?"
WS = r"[\t ]*"
TRIPLE = rf"({IRIREF}|{BLANK_NODE_LABEL}){WS}({IRIREF}){WS}({IRIREF}|{BLANK_NODE_LABEL}|{LITERAL_TERM}){WS}\.{WS}"
LINE = re.compile(rf"{WS}(?:{TRIPLE})?(?:#[^\r]*)?\r?")


@dataclass
class Read:
    """What the reader makes of a text."""

    #: (0-based line, subject, predicate, object) as written
    triples: list[tuple[int, str, str, str]]
    blank: list[int]
    bad: list[int]


def read(text: bytes) -> Read:
    result = Read([], [], [])
    for number, line in enumerate(text.removesuffix(b"\n").split(b"\n") if text else []):
        try:
            match = LINE.fullmatch(line.decode("utf-8"))
        except UnicodeDecodeError:
            match = None
        if match is None:
            result.bad.append(number)
        elif match[1] is None:
            result.blank.append(number)
        else:
            result.triples.append((number, match[1], match[2], match[3]))
    return result


NAMESPACES = (("http://rdf.freebase.com/ns/", ""), ("http://rdf.freebase.com/key/", "key/"))
ENTITY, PROPERTY = "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/direct/"


def identifier(term: str) -> str:
    """The id of a subject or object in a store."""
    if term.startswith("_:"):
        return term
    iri = term[1:-1]
    if iri.startswith(ENTITY) and re.fullmatch("Q[1-9][0-9]{0,16}", iri[len(ENTITY) :]):
        return iri[len(ENTITY) :]
    return iri.removeprefix("http://rdf.freebase.com/ns/")


def predicate(term: str) -> str:
    """The name of a predicate in a store."""
    for namespace, short in (*NAMESPACES, (PROPERTY, "wdt:")):
        if term.startswith("<" + namespace):
            return short + term[1 + len(namespace) : -1]
    return term[1:-1]


def decoded(codes: npt.NDArray[np.int64], terms: dict[int, str]) -> list[str]:
    offsets, letters = decode(codes)
    texts = [letters[a:b].tobytes().decode() for a, b in pairwise(offsets)]
    return [text if code >= 0 else terms[code] for code, text in zip(codes.tolist(), texts, strict=True)]


def check(rows: Rows, text: bytes) -> Read:
    """Compare the rows of a text, scanned with every predicate in use, with what the reader makes of it."""
    result = read(text)
    lines, bad = text.split(b"\n"), rows.malformed["line"].to_pylist()
    assert [lines[n] for n in sorted(set(bad) - set(result.bad))] == [], "good lines are lost"
    assert [lines[n] for n in sorted(set(result.bad) - set(bad))] == [], "bad lines are taken"
    assert bad == result.bad
    assert all(rows.malformed["reason"].to_pylist())
    assert rows.counts["blank"] == len(result.blank)
    assert rows.lines == len(result.bad) + len(result.blank) + len(result.triples)
    terms: dict[int, str] = {}
    for code, term in zip(rows.terms["code"].to_pylist(), rows.terms["term"].to_pylist(), strict=True):
        assert terms.setdefault(code, term) == term
    names = np.array([*rows.predicates, ""], dtype=object)
    found = zip(
        decoded(rows.literals["s"].to_numpy(), terms),
        names[rows.literals["p"].to_numpy()],
        rows.literals["o"].to_pylist(),
        strict=True,
    )
    assert list(found) == [(identifier(s), predicate(p), o) for _, s, p, o in result.triples]
    found = zip(
        decoded(rows.facts["s"].to_numpy(), terms),
        names[rows.facts["p"].to_numpy()],
        decoded(rows.facts["o"].to_numpy(), terms),
        strict=True,
    )
    facts = [(identifier(s), predicate(p), identifier(o)) for _, s, p, o in result.triples if not o.startswith('"')]
    assert list(found) == facts
    return result


@pytest.fixture(scope="module")
def scanner() -> Scanner:
    return Scanner(lambda name: FACT | LITERAL)


GOOD = (Path(__file__).parent / "good_lines.nt").read_bytes()


def test_every_good_line_is_read(scanner: Scanner) -> None:
    result = check(scanner.scan(GOOD), GOOD)
    assert not result.bad
    assert (len(result.triples), len(result.blank)) == (27, 2)
    crlf = GOOD.replace(b"\n", b"\r\n")
    assert not check(scanner.scan(crlf), crlf).bad


@pytest.mark.parametrize(
    "line",
    [
        rb"<http://e/s> <http://e/p> <http://e/o>",
        rb"<http://e/s> <http://e/p> <http://e/o> . .",
        rb"<http://e/s> <http://e/p> <http://e/o> <http://e/g> .",
        rb"<http://e/s> <http://e/p> .",
        rb"<http://e/s> .",
        rb".",
        rb"<http://e/s <http://e/p> <http://e/o> .",
        rb"<http://e/a b> <http://e/p> <http://e/o> .",
        rb"<http://e/s> <http://e/a|b> <http://e/o> .",
        rb"<http://e/s> <http://e/p> <http://e/\n> .",
        rb"<http://e/s> <http://e/p> <http://e/\u00g0> .",
        rb'"s" <http://e/p> <http://e/o> .',
        rb"<http://e/s> _:p <http://e/o> .",
        rb'<http://e/s> "p" <http://e/o> .',
        rb'<http://e/s> <http://e/p> "x .',
        rb'<http://e/s> <http://e/p> "x\" .',
        rb'<http://e/s> <http://e/p> "\x" .',
        rb'<http://e/s> <http://e/p> "\u12" .',
        rb'<http://e/s> <http://e/p> "\U0000004" .',
        rb'<http://e/s> <http://e/p> "x"@ .',
        rb'<http://e/s> <http://e/p> "x"@1 .',
        rb'<http://e/s> <http://e/p> "x"@en- .',
        rb'<http://e/s> <http://e/p> "x"@en_GB .',
        rb'<http://e/s> <http://e/p> "x"^<http://e/t> .',
        rb'<http://e/s> <http://e/p> "x"^^http://e/t .',
        rb'<http://e/s> <http://e/p> "x"^^<http://e/ t> .',
        rb"_:-a <http://e/p> <http://e/o> .",
        rb"_:.a <http://e/p> <http://e/o> .",
        rb"_: <http://e/p> <http://e/o> .",
        rb"_:a/b <http://e/p> <http://e/o> .",
        rb"<http://e/s> <http://e/p> _:a.. ",
        b'<http://e/s> <http://e/p> "\xff" .',
        b'<http://e/s> <http://e/p> "\xc0\x80" .',
        b'<http://e/s> <http://e/p> "\xed\xa0\x80" .',
        b'<http://e/s> <http://e/p> "\xf4\x90\x80\x80" .',
        b'<http://e/s> <http://e/p> "\xe9" .',
        b'<http://e/s> <http://e/p> "a\rb" .',
        b"# \xff",
        b"<http://e/s\0> <http://e/p> <http://e/o> .",
    ],
)
def test_every_bad_line_is_reported(scanner: Scanner, line: bytes) -> None:
    before, after = GOOD.splitlines(keepends=True)[0], GOOD.splitlines(keepends=True)[1]
    text = before + line + b"\n" + after
    assert check(scanner.scan(text), text).bad == [1]


#: what damage is made of: the grammar's own marks, letters that begin something, and bytes of broken UTF-8
MARKS = np.frombuffer(
    b'<<>>""\\\\__::@^^..#--\t\t  \n\r\0\x7fuUmgQ0129aefzAFZ/%|{}`\'\x80\xa0\xbf\xc2\xc3\xe9\xed\xf0\xf4\xff', np.uint8
)
LINES = 1_000_000
BLOCK = 100_000


def damaged(rng: np.random.Generator, lines: int) -> bytes:
    """Good lines in random order with bytes changed, left out, put in, exchanged, and lines torn: about one a line."""
    pool = GOOD.splitlines(keepends=True)
    text = np.frombuffer(b"".join(pool[i] for i in rng.integers(0, len(pool), lines)), np.uint8).copy()
    size = len(text)
    places = rng.integers(0, size, lines // 3)
    text[places] = rng.choice(MARKS, len(places))
    places = rng.integers(0, size - 8, lines // 10)
    text[places + rng.integers(1, 8, len(places))] = text[places]
    text[rng.integers(0, size, lines // 50)] = rng.integers(0, 256, lines // 50)
    text = np.insert(text, rng.integers(0, size, lines // 3), rng.choice(MARKS, lines // 3))
    keep = np.ones(len(text), bool)
    keep[rng.integers(0, len(text), lines // 4)] = False
    torn = rng.integers(0, len(text) - 30, lines // 50)
    for back in range(30):
        keep[(torn + back)[rng.random(len(torn)) < 0.9]] = False
    return text[keep].tobytes()


def test_a_million_damaged_lines(scanner: Scanner) -> None:
    good = bad = lines = 0
    for seed in range(LINES // BLOCK + 1):
        text = damaged(np.random.default_rng(seed), BLOCK)
        result = check(scanner.scan(text), text)
        good, bad = good + len(result.triples), bad + len(result.bad)
        lines += len(result.triples) + len(result.bad) + len(result.blank)
    assert lines >= LINES
    assert good > lines / 4
    assert bad > lines / 4


UCHARS = st.one_of(st.integers(0, 0xFFFF).map("\\u{:04X}".format), st.integers(0, 0xFFFFFFFF).map("\\U{:08x}".format))
ECHARS = st.sampled_from([f"\\{letter}" for letter in "tbnrf\"'\\"])
IRIS = st.lists(
    st.one_of(st.characters(codec="utf-8", min_codepoint=33, exclude_characters='<>"{}|^`\\'), UCHARS), max_size=9
).map(lambda parts: f"<{''.join(parts)}>")
STRINGS = st.lists(
    st.one_of(st.characters(codec="utf-8", exclude_characters='"\\\n\r'), UCHARS, ECHARS), max_size=9
).map(lambda parts: f'"{"".join(parts)}"')
LABELS = st.from_regex(re.compile("_:[a-z:_0-9](?:[-.a-z0-9é]{0,5}[-a-z0-9é])?"), fullmatch=True)
TAGS = st.from_regex(re.compile(LANGTAG), fullmatch=True)
LITERALS = st.one_of(STRINGS, st.tuples(STRINGS, TAGS).map("".join), st.tuples(STRINGS, IRIS).map("^^".join))
BLANKS = st.text("\t ", max_size=2)
TRIPLES = st.tuples(
    BLANKS, st.one_of(IRIS, LABELS), BLANKS, IRIS, BLANKS, st.one_of(IRIS, LABELS, LITERALS), BLANKS, st.just("."), BLANKS,
    st.one_of(st.just(""), st.text(st.characters(codec="utf-8", exclude_characters="\n\r")).map("#{}".format)),
).map("".join)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(lines=st.lists(TRIPLES, max_size=8))
def test_whatever_the_grammar_makes_is_read(scanner: Scanner, lines: list[str]) -> None:
    text = "\n".join(lines).encode()
    assert len(check(scanner.scan(text), text).triples) == len(lines)


PIECES = st.one_of(
    st.sampled_from(
        ["<", ">", '"', "\\", "_:", "@", "^^", ".", "#", " ", "\t", "\r", "\\u0041", "<http://e/p>", '"x"', "@en"]
    ),
    st.characters(codec="utf-8"),
)


@settings(max_examples=1000, deadline=None)
@given(pieces=st.lists(st.one_of(PIECES.map(str.encode), st.binary(max_size=3)), max_size=30))
@example(pieces=[b"\n", b"\n"])
@example(pieces=[b"_:a<b>_:a"])
def test_whatever_else_is_reported(scanner: Scanner, pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    check(scanner.scan(text), text)


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, len(GOOD.splitlines())), max_size=6).map(sorted))
def test_blocks_do_not_matter(scanner: Scanner, cuts: list[int]) -> None:
    lines = GOOD.splitlines(keepends=True)
    for start, end in pairwise([0, *cuts, len(lines)]):
        text = b"".join(lines[start:end])
        check(scanner.scan(text), text)


def test_lengths_around_the_width_of_a_vector(scanner: Scanner) -> None:
    lines = []
    for length in range(140):
        x = "x" * length
        lines += [
            f"<http://e/{x}> <{x}> <{x}é> .",
            f"_:{x}y <p{x}> _:{x}z .",
            f'<s> <p> "{x}" .',
            f'{x} <p> "\\u00e9{x}é"',
        ]
        lines += [f"{' ' * length}<s>{' ' * length}<p>{' ' * length}<o>{' ' * length}.{' ' * length}#{x}"]
        lines += [f"<http://rdf.freebase.com/ns/m.{x}> <p> <http://rdf.freebase.com/ns/g.{x}> ."]
        lines += [f'<http://www.wikidata.org/entity/Q{"1" * length}> <p> "{x}"^^<{x}> .', f'<s> <p> "{x}"@{x}y-{x}0 .']
    text = "\n".join(lines).encode()
    result = check(scanner.scan(text), text)
    assert len(result.bad) == 140


def test_too_long_literals_are_reported() -> None:
    scanner = Scanner(lambda name: FACT | LITERAL, longest=50)
    text = b"".join(b'<s> <p> "%s"@en .\n' % (b"x" * n) for n in range(40, 60))
    rows = scanner.scan(text)
    assert rows.malformed["line"].to_pylist() == list(range(6, 20))
    assert rows.counts["literals"] == 6
