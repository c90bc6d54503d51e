"""KGAT's set: ``kg_final.txt`` with triples of numbers, and lists beside it that say what the numbers are.

``entity_list.txt`` and ``relation_list.txt`` hold ``org_id remap_id``, ``item_list.txt`` holds ``org_id remap_id freebase_id``; an
item's number is its entity's, and items come first. The triples may lie in ``kg_final.txt.zip``, as KGAT publishes them. A second
form names the lists ``e_map.txt`` (number, name, URI), ``r_map.txt`` (number, URI, name) and ``i2kg_map.txt`` (entity number, item,
name, URI). The lists separate by single blanks and quote nothing, so an id may hold blanks inside but no line end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from kgrec.data.io import atomic_file
from kgrec.errors import DataError
from kgrec.kg.formats.entity_file import read_entities, write_entities
from kgrec.kg.formats.graph import Graph, GraphBuilder, Triple, check_graph
from kgrec.kg.formats.spelling import relation_name
from kgrec.kg.formats.text import numbered_lines
from kgrec.kg.ids import normalise_entity

#: the two names each list goes by: relations, entities, items
KGAT_MAPS = ("r_map.txt", "relation_list.txt", "e_map.txt", "entity_list.txt", "i2kg_map.txt", "item_list.txt")

#: the triples, plain and as KGAT publishes them
KGAT_TRIPLES = ("kg_final.txt", "kg_final.txt.gz", "kg_final.txt.zip")


class KgatFolder:
    """One graph: the file of its triples, and the lists beside it.

    :param path: ``kg_final.txt``, or the zip archive that holds it
    :param nodes: what items are called in the graph to be built; an entity the item list gives to one of these becomes it, so
        that the graph joins the catalogue even where the linked entities come from another knowledge base
    :raises DataError: if a list is missing or malformed, gives a number twice, or the item list names an unknown entity
    """

    def __init__(self, path: Path, nodes: Mapping[str, str]) -> None:
        self.path = path
        self.relations = dict(self._relations())
        #: entities the entity list gives a number but no id (Amazon-Book has one); they are called ``kgat:<number>``
        self.nameless = 0
        #: what the entity list calls an entity, where it does
        self.names: dict[str, str] = {}
        self.entities = dict(self._entities())
        #: ``(item, entity number, line)`` as the item list says
        self.item_list = self._find(KGAT_MAPS[4:])
        self.links = list(self._links())
        #: entity numbers that are items of the catalogue
        self.items = 0
        for item, number, _ in self.links:
            if item in nodes:
                self.entities[number] = nodes[item]
                self.items += 1

    def triples(self) -> Iterator[Triple]:
        """Triples in file order, repeats included. :raises DataError: if one names a number that no list has"""
        entities, relations = self.entities, self.relations
        for line, text in numbered_lines(self.path):
            fields = text.split()
            if not fields or (line == 1 and not fields[0].lstrip("-").isdigit()):
                continue
            try:
                head, relation, tail = fields
                yield entities[head], relations[relation], entities[tail]
            except (KeyError, ValueError):
                raise DataError(
                    f"{' '.join(fields)!r} is not head, relation, tail in the numbers of the lists beside it",
                    path=self.path, line=line,
                ) from None  # fmt: skip

    def _relations(self) -> Iterator[tuple[str, str]]:
        for path, line, kgat, fields in self._rows(KGAT_MAPS[:2]):
            number, name = (fields[1], fields[0]) if kgat else (fields[0], fields[2] if len(fields) > 2 else fields[1])
            yield self._new(number, path, line), relation_name(name)

    def _entities(self) -> Iterator[tuple[str, str]]:
        for path, line, kgat, fields in self._rows(KGAT_MAPS[2:4]):
            number, identifier = (fields[1], fields[0]) if kgat else (fields[0], fields[-1])
            entity = normalise_entity(identifier) or f"kgat:{number}"
            self.nameless += not identifier.strip()
            if not kgat and len(fields) > 2:
                self.names[entity] = unquote(fields[1]).replace("_", " ")
            yield self._new(number, path, line), entity

    def _links(self) -> Iterator[tuple[str, str, int]]:
        for path, line, kgat, fields in self._rows(KGAT_MAPS[4:]):
            item, number = (fields[0], fields[1]) if kgat else (fields[1], fields[0])
            if number not in self.entities:
                raise DataError(f"gives item {item!r} the number {number}, which no entity has", path=path, line=line)
            yield item, number, line

    def _rows(self, names: tuple[str, ...]) -> Iterator[tuple[Path, int, bool, list[str]]]:
        """``(file, line, whether it is of KGAT's form, fields)`` of a list, its header left out."""
        path = self._find(names)
        self._numbers: set[str] = set()
        header: list[str] = []
        for line, text in numbered_lines(path):
            text = text.rstrip("\r\n")
            if not text:
                continue
            if not header:
                tab = "\t" in text
                header = text.split("\t" if tab else " ")
                kgat = header[0] == "org_id"
                items = kgat and len(header) > 2
                continue
            if tab:
                fields = text.split("\t")
            else:  # an item, a number, and an entity; or an entity and a number. The entity may hold blanks
                fields = text.split(" ", 2) if items else text.rsplit(" ", 1)
            ids = fields[1:] if names == KGAT_MAPS[2:4] and kgat else fields
            if len(fields) != len(header) or not all(field.strip() for field in ids):
                raise DataError(f"{text[:80]!r} does not have the fields {', '.join(header)}", path=path, line=line)
            yield path, line, kgat, fields

    def _new(self, number: str, path: Path, line: int) -> str:
        if number in self._numbers or not number.isdigit():
            raise DataError(f"gives the number {number!r} " + ("twice" if number.isdigit() else "to something"),
                            path=path, line=line)  # fmt: skip
        self._numbers.add(number)
        return number

    def _find(self, names: tuple[str, ...]) -> Path:
        for name in names:
            if (self.path.parent / name).exists():
                return self.path.parent / name
        raise DataError(f"needs {' or '.join(names)} beside it to name its numbers", path=self.path)


def recognise(path: Path) -> bool:
    """Whether a file or folder is in this format."""
    return _triples_file(path) is not None if path.is_dir() else path.name in KGAT_TRIPLES


def read(path: Path, builder: GraphBuilder) -> None:
    """Read ``kg_final.txt``, plain or zipped, the lists beside it, and ``entities.tsv`` if it is there.

    :raises DataError: if a list is missing, a line does not fit, or the item list gives an item two entities
    """
    file = _triples_file(path) if path.is_dir() else path
    if file is None:
        raise DataError(f"has none of {', '.join(KGAT_TRIPLES)}", path=path)
    folder = KgatFolder(file, {})
    builder.add_triples(folder.triples())
    for entity in folder.entities.values():
        builder.add_entity(entity, name=folder.names.get(entity))
    for item, number, line in folder.links:
        if not builder.add_link(item, folder.entities[number]):
            raise DataError(f"gives item {item!r} a second entity", path=folder.item_list, line=line)
    builder.counts |= {"entities_listed": len(folder.entities), "entities_without_id": folder.nameless}
    read_entities(file.parent, builder)


def _triples_file(folder: Path) -> Path | None:
    return next((folder / name for name in KGAT_TRIPLES if (folder / name).exists()), None)


def write(graph: Graph, out: Path, place: Path) -> list[Path]:
    """Write ``kg_final.txt``, the three lists, and ``entities.tsv``. Numbers: items by id, then other entities by id.

    An item without an entity of its own is in ``item_list.txt`` with its node ``item:<id>``.

    :raises DataError: if an id holds a line end, an item id holds a blank, or two items share an entity
    """
    check_graph(graph, place, _refuse)
    nodes = graph.nodes()
    number: dict[str, int] = {}
    for item, entity in nodes:
        if reason := _refuse("item", item):  # an item without a link is known by its node alone
            raise DataError(f"item {item!r} {reason}", path=place)
        if entity in number:
            raise DataError(f"item {item!r} and another item are both {entity!r}; KGAT numbers each once", path=place)
        number[entity] = len(number)
    for entity in graph.entities["entity_id"].to_pylist():
        number.setdefault(entity, len(number))
    relations = {name: at for at, name in enumerate(graph.relations["relation"].to_pylist())}
    lists = {
        "entity_list.txt": ["org_id remap_id", *(f"{entity} {at}" for entity, at in number.items())],
        "relation_list.txt": ["org_id remap_id", *(f"{name} {at}" for name, at in relations.items())],
        "item_list.txt": ["org_id remap_id freebase_id", *(f"{item} {number[e]} {e}" for item, e in nodes)],
    }
    for name, lines in lists.items():
        with atomic_file(out / name) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")
    triples = [graph.triples[name].to_pylist() for name in ("head", "relation", "tail")]
    with atomic_file(out / KGAT_TRIPLES[0]) as temporary, open(temporary, "w", encoding="ascii") as stream:
        stream.writelines(f"{number[h]} {relations[r]} {number[t]}\n" for h, r, t in zip(*triples, strict=True))
    return [out / KGAT_TRIPLES[0], *(out / name for name in lists), write_entities(graph, out)]


def _refuse(what: str, text: str) -> str | None:
    if what == "text":
        return None
    if "\n" in text or "\r" in text:
        return "holds a line end, which KGAT's lists cannot"
    return "holds a blank, which KGAT's item list cannot" if what == "item" and text.split() != [text] else None
