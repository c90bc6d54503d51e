"""What is known of entities goes into ``entities.tsv`` where a format has no room for it.

Columns ``entity_id, name, description, type`` under a header; an empty field means that nothing is known.
"""

from __future__ import annotations

from pathlib import Path

from kgrec.data.schemas import ENTITIES
from kgrec.errors import DataError
from kgrec.kg.formats.graph import Graph, GraphBuilder
from kgrec.kg.formats.text import read_rows, write_rows
from kgrec.kg.ids import normalise_entity

FILE = "entities.tsv"


def write_entities(graph: Graph, folder: Path) -> Path:
    """Write the entities of ``graph`` into ``folder``."""
    path = folder / FILE
    write_rows(graph.entities.select(ENTITIES.names), path, ENTITIES.names)
    return path


def read_entities(folder: Path, builder: GraphBuilder) -> None:
    """Take what ``entities.tsv`` in ``folder`` says, if it is there.

    :raises DataError: if its header or a row does not fit, or a row has no id or that of an earlier one
    """
    path = folder / FILE
    if not path.exists():
        return
    seen: set[str] = set()
    for line, (identifier, name, description, kind) in read_rows(path, ENTITIES.names):
        if not seen:
            if [identifier, name, description, kind] != ENTITIES.names:
                raise DataError(f"should begin with the header {', '.join(ENTITIES.names)}", path=path, line=line)
            seen.add("")
            continue
        entity = normalise_entity(identifier)
        if entity in seen:
            raise DataError(f"entity {identifier!r} is there twice" if entity else "has no id", path=path, line=line)
        seen.add(entity)
        builder.add_entity(entity, name=name, description=description, type=kind)
