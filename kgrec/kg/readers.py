"""Ready-made graphs: RecBole ``.kg`` files, KGAT's ``kg_final`` with its maps, and metadata columns of items."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa

from kgrec.errors import DataError
from kgrec.kg.ids import item_node, normalise_entity

#: metadata column -> prefix of the entities its values become
METADATA = {
    "director": "person", "actor": "person", "writer": "person",
    "genre": "genre", "country": "country", "language": "language",
}  # fmt: skip

#: the two names each of KGAT's maps goes by: relations, entities, items
KGAT_MAPS = ("r_map.txt", "relation_list.txt", "e_map.txt", "entity_list.txt", "i2kg_map.txt", "item_list.txt")

Triple = tuple[str, str, str]


def read_recbole_kg(path: Path) -> Iterator[Triple]:
    """Triples of a RecBole ``.kg`` file, ids normalised.

    Its header is ``head_id:token<TAB>relation_id:token<TAB>tail_id:token``, in any order.

    :raises DataError: if the header or a line does not fit
    """
    with open(path, encoding="utf-8-sig", newline="") as stream:
        names = [name.split(":")[0] for name in stream.readline().rstrip("\r\n").split("\t")]
        if sorted(names) != ["head_id", "relation_id", "tail_id"]:
            raise DataError(f"has the header {names}, expected head_id, relation_id, tail_id", path=path, line=1)
        order = [names.index(name) for name in ("head_id", "relation_id", "tail_id")]
        for number, line in enumerate(stream, start=2):
            fields = line.rstrip("\r\n").split("\t")
            if fields == [""]:
                continue
            if len(fields) != 3 or not all(fields):
                raise DataError(f"has {len([f for f in fields if f])} fields, expected 3", path=path, line=number)
            head, relation, tail = (fields[place] for place in order)
            yield normalise_entity(head), relation_name(relation), normalise_entity(tail)


def relation_name(text: str) -> str:
    """Freebase properties as ``film.film.genre``; other names and URIs as given."""
    text = text.strip().strip("<>")
    return re.sub(r"^https?://rdf\.freebase\.com/ns/", "", text)


class KgatFolder:
    """One KGAT-style graph: ``kg_final.txt`` and, beside it, the maps that turn its integers into names.

    Maps: ``entity_list.txt`` or ``e_map.txt``, ``relation_list.txt`` or ``r_map.txt``, ``item_list.txt`` or
    ``i2kg_map.txt``. An entity that the item map gives to an item becomes that item's node, so the graph joins the
    catalogue even where the linked entities come from another knowledge base.

    :raises DataError: if a map is missing or malformed, or a triple names a number no map has
    """

    def __init__(self, path: Path, nodes: Mapping[str, str]) -> None:
        self.path = path
        self.relations = {row[0]: name for row, name in self._map(KGAT_MAPS[:2], relation=True)}
        self.names: dict[str, str] = {}
        self.entities: dict[str, str] = {}
        for row, identifier in self._map(KGAT_MAPS[2:4]):
            self.entities[row[0]] = identifier
            if len(row) > 2:
                self.names[identifier] = unquote(row[1]).replace("_", " ")
        #: entity numbers that are items of the catalogue
        self.items = 0
        for number, item in self._items():
            if item in nodes:
                self.entities[number] = nodes[item]
                self.items += 1

    def triples(self) -> Iterator[Triple]:
        """Triples in file order, repeats included."""
        for number, fields in _rows(self.path):
            if number == 1 and not fields[0].lstrip("-").isdigit():
                continue
            try:
                head, relation, tail = fields
                yield self.entities[head], self.relations[relation], self.entities[tail]
            except (KeyError, ValueError):
                raise DataError(
                    f"{' '.join(fields)!r} is not head, relation, tail in the numbers of the maps beside it",
                    path=self.path, line=number,
                ) from None  # fmt: skip

    def _find(self, names: tuple[str, ...]) -> Path:
        for name in names:
            if (self.path.parent / name).exists():
                return self.path.parent / name
        raise DataError(f"needs {' or '.join(names)} beside it to name its numbers", path=self.path)

    def _map(self, files: tuple[str, ...], relation: bool = False) -> Iterator[tuple[list[str], str]]:
        """``([number, …], id)`` per line: KGAT's lists hold ``org_id remap_id``; e_map, r_map begin with the number."""
        path = self._find(files)
        for number, fields in _rows(path):
            if number == 1:
                kgat = fields[0] == "org_id"
                continue
            if len(fields) < 2:
                raise DataError("has one field, expected an id and a number", path=path, line=number)
            if kgat:
                yield [fields[-1]], (relation_name if relation else normalise_entity)(" ".join(fields[:-1]))
            else:
                yield fields, fields[2] if relation and len(fields) > 2 else normalise_entity(fields[-1])

    def _items(self) -> Iterator[tuple[str, str]]:
        path = self._find(KGAT_MAPS[4:])
        for number, fields in _rows(path):
            if number == 1:
                order = (1, 0) if fields[0] == "org_id" else (0, 1)
                continue
            if len(fields) < 2:
                raise DataError("has one field, expected an item and a number", path=path, line=number)
            yield fields[order[0]], fields[order[1]]


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """``(1-based line, fields)``, split at tabs where the first line has any, else at blanks; without empty lines."""
    with open(path, encoding="utf-8-sig") as stream:
        tabs = None
        for number, line in enumerate(stream, start=1):
            tabs = "\t" in line if tabs is None else tabs
            fields = line.rstrip("\r\n").split("\t") if tabs else line.split()
            if any(fields):
                yield number, fields


def metadata_triples(items: pa.Table, columns: Sequence[str], nodes: Mapping[str, str]) -> Iterator[Triple]:
    """``(item, metadata.<column>, <prefix>:<value>)`` for each value of the list columns of items.parquet."""
    identifiers = items["item_id"].to_pylist()
    for column in columns:
        prefix = METADATA[column]
        for item, values in zip(identifiers, items[column].to_pylist(), strict=True):
            for value in values or ():
                text = " ".join(value.split())
                if text and text != "N/A":
                    yield nodes.get(item, item_node(item)), f"metadata.{column}", f"{prefix}:{text}"
