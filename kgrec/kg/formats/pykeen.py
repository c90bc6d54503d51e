"""PyKEEN's tab-separated triples: ``head<TAB>relation<TAB>tail`` without a header, as ``TriplesFactory.from_path`` takes them.

Items are not part of it: links stay behind. Names go to ``entities.tsv`` beside the triples, which PyKEEN does not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kgrec.errors import DataError
from kgrec.kg.formats import entity_file
from kgrec.kg.formats.entity_file import read_entities, write_entities
from kgrec.kg.formats.graph import Graph, GraphBuilder, Triple, check_graph
from kgrec.kg.formats.spelling import relation_name
from kgrec.kg.formats.text import plain_name, read_rows, write_rows
from kgrec.kg.ids import normalise_entity

FILE = "triples.tsv"
_ENDS = (".tsv", ".txt")


def recognise(path: Path) -> bool:
    """Whether a file or folder is in this format."""
    return (
        bool(_files(path)) if path.is_dir() else plain_name(path).endswith(_ENDS) and plain_name(path) != "kg_final.txt"
    )


def read(path: Path, builder: GraphBuilder) -> None:
    """Read a file of triples, and ``entities.tsv`` beside it.

    :raises DataError: if a folder has several such files, or a row does not have three fields
    """
    if path.is_dir():
        found = _files(path)
        if len(found) > 1:
            raise DataError(f"has several .tsv files ({', '.join(one.name for one in found)}); name one", path=path)
        path = found[0]
    builder.add_triples(_triples(path))
    read_entities(path.parent, builder)


def _files(folder: Path) -> list[Path]:
    named = [path for path in (folder / FILE, folder / f"{FILE}.gz") if path.exists()]
    return named or sorted(path for path in folder.glob("*.tsv*") if path.name != entity_file.FILE)


def _triples(path: Path) -> Iterator[Triple]:
    for line, fields in read_rows(path, ("head", "relation", "tail")):
        if not all(field.strip() for field in fields):
            raise DataError("has an empty field, expected head, relation, tail", path=path, line=line)
        head, relation, tail = fields
        yield normalise_entity(head), relation_name(relation), normalise_entity(tail)


def write(graph: Graph, out: Path, place: Path) -> list[Path]:
    """Write ``triples.tsv`` and ``entities.tsv``."""
    check_graph(graph, place)
    write_rows(graph.triples, out / FILE)
    return [out / FILE, write_entities(graph, out)]
