"""One entity or relation, one spelling: here for relations, and between our ids and the IRIs of N-Triples.

Freebase and Wikidata are shortened (``m.0dyb1``, ``film.film.genre``, ``Q42``, ``wdt:P57``), other IRIs are ids as they are. An
id that is neither, such as ``item:5`` or one that N-Triples could not hold, becomes ``urn:kgrec:`` and its characters
percent-encoded.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from pyoxigraph import NamedNode

from kgrec.kg.ids import FREEBASE

OURS = "urn:kgrec:"

#: namespace, what of it is shortened, prefix of the short form, ids that are taken to be such short forms
_NAMESPACES = tuple(
    (namespace, re.compile(rest), prefix, re.compile(short))
    for namespace, rest, prefix, short in (
        (FREEBASE, r".+", "", r"[mg]\.[0-9a-z_]+|(?!metadata\.)[a-z0-9_]+(?:\.[a-z0-9_]+)+"),
        ("http://rdf.freebase.com/key/", r".+", "key/", r"key/[\w.]+"),
        ("http://www.wikidata.org/entity/", r"[QPL][0-9]+", "", r"[QPL][0-9]+"),
        ("http://www.wikidata.org/prop/direct/", r"P[0-9]+", "wdt:", r"wdt:P[0-9]+"),
    )
)
_ABSOLUTE = re.compile(r"(?:https?://|urn:).+")
_PATH = re.compile(r"/\w+(?:/\w+)+(?:\./\w+(?:/\w+)+)*", re.ASCII)


def relation_name(text: str) -> str:
    """One spelling per relation: Freebase properties as ``film.film.genre``, other names and URIs as given.

    Freebase's paths, ``/film/film/genre``, and those FB15k joins across a mediator, ``/a/b/c./d/e/f``, become
    ``film.film.genre`` and ``a.b.c..d.e.f``.
    """
    text = re.sub(r"^https?://rdf\.freebase\.com/ns/", "", text.strip().strip("<>"))
    return "..".join(part.strip("/").replace("/", ".") for part in text.split("./")) if _PATH.fullmatch(text) else text


def from_iri(iri: str) -> str:
    """Our id for an IRI."""
    if iri.startswith(OURS):
        return unquote(iri[len(OURS) :])
    for namespace, rest, prefix, _ in _NAMESPACES:
        if iri.startswith(namespace) and rest.fullmatch(iri, len(namespace)):
            return prefix + iri[len(namespace) :]
    return iri


def to_iri(identifier: str, reserved: frozenset[str] = frozenset()) -> str:
    """An IRI that :func:`from_iri` turns back into ``identifier``: the published one, where there is one.

    :param reserved: IRIs that mean something else and are not to be used
    """
    for namespace, _, prefix, short in _NAMESPACES:
        iri = namespace + identifier[len(prefix) :]
        if short.fullmatch(identifier) and iri not in reserved and from_iri(iri) == identifier:
            return iri
    if _ABSOLUTE.match(identifier) and identifier not in reserved and from_iri(identifier) == identifier:
        try:
            return NamedNode(identifier).value
        except ValueError:
            pass
    return OURS + quote(identifier, safe="")
