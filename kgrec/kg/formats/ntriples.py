"""N-Triples: a fact a line, everything named by IRIs; and the other forms of RDF, read alike.

A triple between resources is a fact, except ``rdf:type`` and its likes, which give an entity its type. Of literals the names and
descriptions are taken and the others counted. Ids and IRIs: ``kgrec.kg.formats.spelling``. Items are not part of RDF: links
stay behind, ``item:<id>`` nodes stay. A whole Freebase or Wikidata dump is for the pipeline; this reads graphs that fit in memory.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from pyoxigraph import BlankNode, Literal, NamedNode, RdfFormat, parse

from kgrec.data.io import atomic_file
from kgrec.errors import DataError
from kgrec.kg.formats.graph import Graph, GraphBuilder, Triple, check_graph
from kgrec.kg.formats.spelling import from_iri, to_iri
from kgrec.kg.formats.text import plain_name, text_file
from kgrec.kg.vocabulary import DESCRIPTIONS, NAMES, RDF, RDFS, TYPES

FILE = "graph.nt"

ENDINGS = (".nt", ".ttl", ".nq", ".trig", ".rdf", ".n3")

#: the type that every entity has; stated of one that is in no triple and has no other text
THING = "http://www.w3.org/2002/07/owl#Thing"
_TYPE_IRIS = frozenset(to_iri(name) for name in TYPES)
_BASES = ("base.", "user.", "freebase.")


def recognise(path: Path) -> bool:
    """Whether a file or folder is in this format."""
    return bool(_files(path)) if path.is_dir() else _format(path) is not None


def _format(path: Path) -> RdfFormat | None:
    ending = Path(plain_name(path)).suffix.lower()
    return RdfFormat.from_extension(ending[1:]) if ending in ENDINGS else None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and _format(path))


def read(path: Path, builder: GraphBuilder) -> None:
    """Read one file (``.nt``, ``.ttl``, ``.nq``, ``.rdf`` …, perhaps gzipped), or all such files of a folder.

    :raises DataError: with file and line, if one is not what its ending says
    """
    texts = _Texts(builder.languages)
    types: defaultdict[str, set[str]] = defaultdict(set)
    for file in _files(path) if path.is_dir() else [path]:
        builder.add_triples(_facts(file, builder, texts, types))
    for entity, known in texts.best.items():
        builder.add_entity(entity, **{kind: text for kind, (_, text) in known.items()})
    sizes = Counter(kind for kinds in types.values() for kind in kinds)
    for entity, kinds in types.items():
        best = min(
            kinds,
            key=lambda kind: (kind == "common.topic" or kind.startswith(_BASES), -sizes[kind], kind),
            default=None,
        )
        builder.add_entity(entity, type=best)


class _Texts:
    """The best name and description of each entity: the language listed first, then the smallest text."""

    def __init__(self, languages: Sequence[str]) -> None:
        self._places = {language.lower(): place for place, language in enumerate([*languages, ""])}
        self.best: defaultdict[str, dict[str, tuple[int, str]]] = defaultdict(dict)

    def take(self, entity: str, kind: str, literal: Literal) -> None:
        known = self.best[entity]
        place = self._places.get((literal.language or "").lower().split("-")[0])
        if place is not None and literal.value:
            known[kind] = min(known.get(kind, (len(self._places), "")), (place, literal.value))


def _facts(path: Path, builder: GraphBuilder, texts: _Texts, types: dict[str, set[str]]) -> Iterator[Triple]:
    kinds = dict.fromkeys(NAMES, "name") | dict.fromkeys(DESCRIPTIONS, "description")
    counts = builder.counts
    counts.setdefault("literals_left_out", 0)
    counts.setdefault("type_statements", 0)
    with text_file(path).open() as stream:
        try:
            for quad in parse(stream, _format(path) or RdfFormat.N_TRIPLES, lenient=True):
                head, predicate, tail = _id(quad.subject, path), quad.predicate.value, quad.object
                if isinstance(tail, Literal):
                    kind = kinds.get(from_iri(predicate))
                    if kind is None:
                        counts["literals_left_out"] += 1
                    else:
                        texts.take(head, kind, tail)
                elif predicate in _TYPE_IRIS:
                    counts["type_statements"] += 1
                    types[head].update([_id(tail, path)] if tail != NamedNode(THING) else [])
                else:
                    yield head, from_iri(predicate), _id(tail, path)
        except SyntaxError as error:
            raise DataError(f"is not {_format(path)} ({error.msg})", path=path, line=error.lineno) from None


def _id(term: object, path: Path) -> str:
    if isinstance(term, NamedNode):
        return from_iri(term.value)
    if isinstance(term, BlankNode):
        return f"_:{term.value}"
    raise DataError(f"states something about a statement, which no triple of a knowledge graph can: {term}", path=path)


def write(graph: Graph, out: Path, place: Path) -> list[Path]:
    """Write ``graph.nt``: types, names and descriptions of the entities, then the facts, each sorted.

    A relation that RDF reads as a type (``type.object.type``) and is a fact here gets an IRI of its own.
    """
    check_graph(graph, place)
    nodes = {text: f"<{to_iri(text)}>" for text in graph.entities["entity_id"].to_pylist()}
    relations = {name: f"<{to_iri(name, _TYPE_IRIS)}>" for name in graph.relations["relation"].to_pylist()}
    triples = [graph.triples[name].to_pylist() for name in ("head", "relation", "tail")]
    with atomic_file(out / FILE) as temporary, open(temporary, "w", encoding="utf-8", newline="") as stream:
        alone = set(nodes).difference(*triples)
        for row in graph.entities.to_pylist():
            stream.writelines(_about(nodes[row["entity_id"]], row, row["entity_id"] in alone))
        stream.writelines(f"{nodes[h]} {relations[r]} {nodes[t]} .\n" for h, r, t in zip(*triples, strict=True))
    return [out / FILE]


def _about(node: str, row: dict[str, str | None], alone: bool) -> Iterator[str]:
    """What is known of an entity; of one without any fact or text, that it is a thing."""
    if row["type"]:
        yield f"{node} <{RDF}type> <{to_iri(row['type'], frozenset({THING}))}> .\n"
    if row["name"]:
        yield f"{node} <{RDFS}label> {Literal(row['name'])} .\n"
    if row["description"]:
        yield f"{node} <{RDFS}comment> {Literal(row['description'])} .\n"
    if alone and not (row["type"] or row["name"] or row["description"]):
        yield f"{node} <{RDF}type> <{THING}> .\n"
