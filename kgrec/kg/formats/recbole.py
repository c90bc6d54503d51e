"""RecBole's atomic files: ``<name>.kg`` with the triples and ``<name>.link`` with the entity of each item.

Tab-separated, under headers of ``field:type``. RecBole reads them through pandas, which takes some words (``NA``, ``null``) for
missing values; those are refused as ids. An item without an entity of its own is linked to its node ``item:<id>``, so that
RecBole sees the triples about it. Names go to ``entities.tsv``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from kgrec.errors import DataError
from kgrec.kg.formats.entity_file import read_entities, write_entities
from kgrec.kg.formats.graph import Graph, GraphBuilder, Triple, check_graph
from kgrec.kg.formats.spelling import relation_name
from kgrec.kg.formats.text import plain_name, read_rows, write_rows
from kgrec.kg.ids import normalise_entity

TRIPLE = ("head_id", "relation_id", "tail_id")
LINK = ("item_id", "entity_id")

#: what pandas reads as missing, and two tokens RecBole makes itself
RESERVED = frozenset(
    [
        "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
        "NaN", "None", "n/a", "nan", "null", "[PAD]", "[UI-Relation]",
    ]
)  # fmt: skip


def recognise(path: Path) -> bool:
    """Whether a file or folder is in this format."""
    return bool(list(path.glob("*.kg"))) if path.is_dir() else plain_name(path).endswith(".kg")


def read(path: Path, builder: GraphBuilder) -> None:
    """Read a ``.kg`` file, and beside it the ``.link`` file of its name and ``entities.tsv``.

    In a folder with one ``.kg`` and one ``.link`` file their names may differ.

    :raises DataError: if a folder has several of either, or a header or a row does not fit
    """
    triples = _only(path, ".kg") if path.is_dir() else path
    links = triples.with_name(plain_name(triples).removesuffix(".kg") + ".link")
    if path.is_dir() and not links.exists() and list(path.glob("*.link")):
        links = _only(path, ".link")
    builder.add_triples(read_recbole_kg(triples))
    if links.exists():
        for line, (item, entity) in _fields(links, LINK):
            if not builder.add_link(item, normalise_entity(entity)):
                raise DataError(f"links item {item!r} a second time, to another entity", path=links, line=line)
    read_entities(triples.parent, builder)


def _only(folder: Path, suffix: str) -> Path:
    found = sorted(folder.glob(f"*{suffix}"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataError(f"should have one {suffix} file, has {names}; name the .kg file to read", path=folder)
    return found[0]


def read_recbole_kg(path: Path) -> Iterator[Triple]:
    """Triples of a RecBole ``.kg`` file, ids normalised.

    Its header is ``head_id:token<TAB>relation_id:token<TAB>tail_id:token``, in any order.

    :raises DataError: if the header or a line does not fit
    """
    for _, (head, relation, tail) in _fields(path, TRIPLE):
        yield normalise_entity(head), relation_name(relation), normalise_entity(tail)


def _fields(path: Path, names: tuple[str, ...]) -> Iterator[tuple[int, list[str]]]:
    """``(line, fields in the order of names)``."""
    order: list[int] = []
    for line, fields in read_rows(path, names):
        if not order:
            header = [field.split(":")[0] for field in fields]
            if sorted(header) != sorted(names):
                raise DataError(f"has the header {header}, expected {', '.join(names)}", path=path, line=line)
            order = [header.index(name) for name in names]
        elif not all(field.strip() for field in fields):
            raise DataError(f"has {sum(bool(f.strip()) for f in fields)} of {len(names)} fields", path=path, line=line)
        else:
            yield line, [fields[place] for place in order]
    if not order:
        raise DataError("is empty; RecBole's files begin with a header", path=path)


def write(graph: Graph, out: Path, place: Path) -> list[Path]:
    """Write the dataset ``out.name``: ``.kg``, ``.link`` where there are items, and ``entities.tsv``.

    :raises DataError: if an id is a word pandas takes for a missing value
    """
    check_graph(graph, place, _refuse)
    files = [out / f"{out.name}.kg"]
    write_rows(graph.triples, files[0], [f"{name}:token" for name in TRIPLE])
    nodes = graph.nodes()
    if nodes:
        files.append(out / f"{out.name}.link")
        columns = [pa.array(column, pa.string()) for column in zip(*nodes, strict=True)]
        write_rows(pa.Table.from_arrays(columns, names=LINK), files[1], [f"{name}:token" for name in LINK])
    return [*files, write_entities(graph, out)]


def _refuse(what: str, text: str) -> str | None:
    if what != "text" and text in RESERVED:
        return "is a word that RecBole would not read as an id (pandas takes it for a missing value)"
    return "is blank" if what == "item" and text != text.strip() else None
