"""A media key names an item or an entity: ``item:<item_id>`` or ``entity:<entity_id>``."""

from __future__ import annotations


def media_key(name: str) -> str:
    """``item:<name>``, unless ``name`` is a key already."""
    return name if name.startswith(("item:", "entity:")) else f"item:{name}"
