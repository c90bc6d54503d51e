"""A film world small enough to check by hand: three users, four catalogue items, one item nobody met."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from kgrec.data import schemas
from kgrec.data.io import write_json, write_parquet
from kgrec.data.split import SplitSettings


@dataclass(frozen=True)
class World:
    """Rows of every table the graph stage reads."""

    train: list[tuple[str, str]]
    valid: list[tuple[str, str]]
    test: list[tuple[str, str]]
    items: dict[str, str]
    links: dict[str, str]
    triples: list[tuple[str, str, str]]
    entities: dict[str, str]
    #: modality -> key -> vector
    features: dict[str, dict[str, list[float]]]

    def but(self, **changes: object) -> World:
        """The same world with some tables replaced."""
        assert set(changes) <= {field.name for field in fields(self)}
        return replace(self, **changes)  # type: ignore[arg-type]

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the tables; the paths are the arguments of ``build_graph``."""
        for name in ("train", "valid", "test"):
            rows = getattr(self, name)
            write_parquet(
                pa.table(
                    {
                        "user_id": [u for u, _ in rows],
                        "item_id": [i for _, i in rows],
                        "rating": [4.0] * len(rows),
                        "timestamp": [None] * len(rows),
                    },
                    schema=schemas.INTERACTIONS,
                ),
                folder / "split" / f"{name}.parquet",
            )
        write_json(SplitSettings().model_dump(mode="json"), folder / "split" / "protocol.json")
        lists = {field.name: [[]] * len(self.items) for field in schemas.ITEMS if pa.types.is_list(field.type)}
        none = [None] * len(self.items)
        _write(
            folder / "items.parquet",
            schemas.ITEMS,
            {
                "item_id": list(self.items),
                "title": list(self.items.values()),
                "year": none,
                "imdb_id": none,
                "tmdb_id": none,
                **lists,
            },
        )
        _write(
            folder / "links.parquet",
            schemas.LINKS,
            {
                "item_id": list(self.links),
                "entity_id": list(self.links.values()),
                "method": ["file"] * len(self.links),
                "score": [1.0] * len(self.links),
            },
        )
        columns = zip(*self.triples, strict=True) if self.triples else ([], [], [])
        _write(
            folder / "triples.parquet",
            schemas.TRIPLES,
            dict(zip(schemas.TRIPLES.names, map(list, columns), strict=True)),
        )
        empty = [None] * len(self.entities)
        _write(
            folder / "entities.parquet",
            schemas.ENTITIES,
            {
                "entity_id": list(self.entities),
                "name": list(self.entities.values()),
                "description": empty,
                "type": empty,
            },
        )
        (folder / "features").mkdir(exist_ok=True)
        for name, vectors in self.features.items():
            write_features(folder / "features" / f"{name}.parquet", list(vectors), np.array(list(vectors.values())))
        return {
            "split": folder / "split",
            **{name: folder / f"{name}.parquet" for name in ("items", "links", "triples", "entities")},
            "features": folder / "features",
        }


def write_features(path: Path, keys: list[str], vectors: np.ndarray) -> None:
    width = vectors.shape[1]
    values = pa.array(vectors.astype(np.float16).ravel())
    _write(
        path,
        schemas.features(width),
        {
            "key": keys,
            "content_sha256": keys,
            "encoder": ["test"] * len(keys),
            "vector": pa.FixedSizeListArray.from_arrays(values, width),
        },
    )


def _write(path: Path, schema: pa.Schema, columns: dict) -> None:
    write_parquet(pa.table(columns, schema=schema), path)


def films() -> World:
    """Items ``2``, ``9``, ``10`` and ``11``; ``11`` is unlinked; ``50`` is linked but has no interaction."""
    return World(
        train=[("1", "2"), ("1", "9"), ("2", "2"), ("2", "10"), ("10", "9")],
        valid=[("1", "10")],
        test=[("2", "11"), ("10", "2")],
        items={"2": "Two", "9": "Nine", "10": "Ten", "11": "Eleven", "50": "Fifty"},
        links={"2": "m.two", "9": "m.nine", "10": "m.ten", "50": "m.fifty"},
        triples=[
            ("m.two", "directed_by", "m.ann"),
            ("m.two", "directed_by", "m.ann"),
            ("m.two", "written_by", "m.ann"),
            ("m.nine", "directed_by", "m.ann"),
            ("m.ann", "born_in", "m.city"),
            ("m.ten", "sequel", "m.fifty"),
            ("item:11", "genre", "genre:Drama"),
            ("m.nine", "sequel", "m.two"),
        ],
        entities={
            "m.ann": "Ann",
            "m.city": "City",
            "m.two": "Two (entity)",
            "genre:Drama": "Drama",
        },
        features={
            "image": {"item:2": [1, 2], "item:50": [3, 4], "item:77": [9, 9]},
            "text": {
                "item:2": [1, 0, 0],
                "item:9": [0, 1, 0],
                "item:11": [0, 0, 1],
                "entity:m.ann": [1, 1, 1],
            },
        },
    )
