"""An entity id is one string per entity, however its source spells it: Freebase ids become ``m.x`` or ``g.x``."""

from __future__ import annotations

import re

FREEBASE = "http://rdf.freebase.com/ns/"

_MID = re.compile(
    r"<?(?:https?://(?:[\w-]+\.)*freebase\.com/|fb:)?/?(?:(?:ns|entity|rdf)[/.])?/?([mg])[./]([0-9a-z_]+)>?"
)


def normalise_entity(text: str) -> str:
    """One spelling per entity: ``m.x``, ``/m/x``, ``/entity/m.x``, ``fb:m.x`` and Freebase URIs become ``m.x``.

    Newer ids, ``g.x``, likewise. Any other id, such as a DBpedia URI, is returned as given, without surrounding blanks
    and angle brackets.
    """
    text = text.strip()
    match = _MID.fullmatch(text)
    if match:
        return f"{match[1]}.{match[2]}"
    return text[1:-1] if text.startswith("<") and text.endswith(">") else text


def item_node(item_id: str) -> str:
    """Id by which triples name an item that has no linked entity."""
    return f"item:{item_id}"
