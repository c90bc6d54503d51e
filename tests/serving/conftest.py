"""A small finished run: the outputs of every stage for 40 users and 30 films, made once a session."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kgrec.data.io import sha256_file, write_json, write_parquet
from kgrec.data.schemas import ENTITIES, IMAGES, INTERACTIONS, ITEMS, LEDGER, LINKS, TEXTS, TRIPLES
from kgrec.data.split import SplitSettings

USERS, ITEMS_N = 40, 30
#: items whose poster is missing; their place on the page is taken by a card with the title
NO_POSTER = {"4", "9", "17", "30"}


@dataclass(frozen=True)
class World:
    """Paths of the run, named as the arguments of publish and report name them."""

    root: Path
    models: Path
    evaluation: Path
    graph: Path
    split: Path
    items: Path
    media: Path
    sources: Path
    reports: list[Path]

    def publish(self, model: str, out: Path, **settings: Any) -> dict[str, Any]:
        """Publish one of the trained models."""
        from kgrec.serving.publish import PublishSettings, publish_model

        return publish_model(
            self.models / model, self.evaluation, self.graph, self.split, self.items, self.media, self.sources, out,
            PublishSettings(model=model, **settings),
        )  # fmt: skip


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The finished run. Tests must not change it."""
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def published(world: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders by model name, one of each kind. Tests must not change them."""
    root = tmp_path_factory.mktemp("published")
    for name in ("bpr_mf", "ease", "popularity"):
        world.publish(name, root / name)
    return {name: root / name for name in ("bpr_mf", "ease", "popularity")}


def make_world(root: Path) -> World:
    """Write the run below ``root``."""
    from kgrec.evaluation.run import EvaluateSettings, evaluate_models
    from kgrec.graphs.build import GraphSettings, build_graph

    rng = np.random.default_rng(7)
    items, split, media, graph = root / "items.parquet", root / "08_split", root / "06_media", root / "09_graph"
    titles = [f"{a} {b}" for a in _FIRST for b in _SECOND]
    ids = [str(i) for i in range(1, ITEMS_N + 1)]
    write_parquet(
        pa.table(
            {
                "item_id": ids, "title": titles[:ITEMS_N], "year": [1980 + i for i in range(ITEMS_N)],
                "imdb_id": [None] * ITEMS_N, "genre": [["Drama"]] * ITEMS_N,
                **{name: [[]] * ITEMS_N for name in ("director", "writer", "actor", "country", "language", "isbn")},
                "tmdb_id": [None] * ITEMS_N,
            },
            schema=ITEMS,
        ),
        items,
    )  # fmt: skip
    _write_split(split, ids, rng)
    _write_media(media, ids, titles, rng)
    node = {item: "m.1" if item == "1" else f"item:{item}" for item in ids}
    links = [{"item_id": "1", "entity_id": "m.1", "method": "file", "score": 1.0}]
    triples = [{"head": node[i], "relation": "genre", "tail": f"genre:{int(i) % 3}"} for i in ids]
    entities = [{"entity_id": f"genre:{g}", "name": f"Genre {g}", "type": "genre"} for g in range(3)]
    for name, schema, rows in (
        ("links", LINKS, links),
        ("triples", TRIPLES, triples),
        ("entities", ENTITIES, entities),
    ):
        write_parquet(pa.Table.from_pylist(rows, schema=schema), root / f"{name}.parquet")
    (root / "features").mkdir()
    build_graph(
        split, items, root / "links.parquet", root / "triples.parquet", root / "entities.parquet", root / "features",
        graph, GraphSettings(),
    )  # fmt: skip
    _train(graph, root / "10_train")
    settings = EvaluateSettings(topk=(5, 10), bootstrap=100, device="cpu")
    evaluate_models(root / "10_train", graph, split, root / "11_evaluate", settings)
    sources = {
        "recipe": "demo",
        "synthetic": True,
        "sources": [
            {
                "role": "ratings", "name": "demo.zip", "origin": "generated | seed 42", "bytes": 10,
                "sha256": "ab" * 32, "licence": "Apache-2.0", "redistribute": True, "time": None,
            }
        ],
    }  # fmt: skip
    write_json(sources, root / "sources.json")
    reports = _write_reports(root)
    return World(
        root, root / "10_train", root / "11_evaluate", graph, split, items, media, root / "sources.json", reports
    )


_FIRST = ("Silent", "Crimson", "Midnight", "Paper", "Glass", "The Last")
_SECOND = ("Harbour", "Orchard", "Letters & <Dreams>", "Machine", "Winter")


def _write_split(folder: Path, ids: list[str], rng: np.random.Generator) -> None:
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "valid": [], "test": []}
    for user in range(1, USERS + 1):
        group = user % 3
        weight = np.where(np.arange(ITEMS_N) % 3 == group, 6.0, 1.0)
        size = 5 + user % 11
        chosen = rng.choice(ITEMS_N, size, replace=False, p=weight / weight.sum())
        for place, item in enumerate(chosen):
            part = "test" if place < 2 else "valid" if place == 2 else "train"
            parts[part].append({"user_id": str(user), "item_id": ids[item], "rating": 4.0, "timestamp": 1000 + place})
    for part, rows in parts.items():
        table = pa.Table.from_pylist(rows, schema=INTERACTIONS)
        write_parquet(table, folder / f"{part}.parquet", sort_by=["user_id", "item_id"])
    write_json(SplitSettings().model_dump(mode="json"), folder / "protocol.json")


def _write_media(folder: Path, ids: list[str], titles: list[str], rng: np.random.Generator) -> None:
    from PIL import Image

    images, ledger = [], []
    for place, item in enumerate(ids):
        key, ok = f"item:{item}", item not in NO_POSTER
        picture = ("ok", "") if ok else ("missing", "no file")
        ledger += [(key, "image", *picture, "posters", "", ""), (key, "text", "ok", "", "plots", "", "")]
        if ok:
            kind = "PNG" if place % 2 else "JPEG"
            buffer = io.BytesIO()
            Image.fromarray(np.full((150, 100, 3), rng.integers(40, 220, 3), np.uint8)).save(buffer, kind)
            images.append((key, "0" * 64, buffer.getvalue(), 100, 150, kind.lower(), place))
    half = len(images) // 2
    for shard, rows in enumerate((images[:half], images[half:])):
        write_parquet(_table(rows, IMAGES), folder / "images" / f"images-{shard:05d}.parquet")
    texts = [(f"item:{item}", f"{title}: a plot.", "en") for item, title in zip(ids, titles, strict=False)]
    write_parquet(_table(texts, TEXTS), folder / "texts.parquet")
    write_parquet(_table(ledger, LEDGER), folder / "ledger.parquet")


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema)


def _train(graph: Path, out: Path) -> None:
    import torch

    from kgrec.graphs.data import load_graph
    from kgrec.models.checkpoint import save_model
    from kgrec.models.registry import build_model

    data = load_graph(graph)
    torch.manual_seed(3)
    for name, settings in {
        "bpr_mf": {"embedding_size": 16},
        "ease": {"l2": 5.0},
        "item_knn": {},
        "popularity": {},
    }.items():
        model = build_model(name, data, settings)
        model.fit(data)
        by_gradient = name == "bpr_mf"
        how = {"best_epoch": 9, "epochs": 12, "ended": "early stop"} if by_gradient else {"ended": "closed form"}
        save_model(model, name, data, out / name, how)
        rows = ["epoch,bpr,l2,valid_Recall@10,valid_NDCG@10,seconds"]
        for epoch in range(1, 13) if by_gradient else ():
            watched = f"{0.2 - 0.1 / epoch:.4f},{0.15 - 0.08 / epoch:.4f}" if epoch % 3 == 0 else ","
            rows.append(f"{epoch},{0.7 / epoch**0.3:.4f},{0.01 * epoch:.4f},{watched},1.5")
        if not by_gradient:
            rows.append("0,,,0.1,0.08,0.2")
        (out / name / "history.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _write_reports(root: Path) -> list[Path]:
    def table(rows: int, **columns: str) -> dict[str, Any]:
        return {"rows": rows, "columns": {name: {"type": kind, "nulls": 0} for name, kind in columns.items()}}

    strings = {"user_id": "string", "item_id": "string"}
    contents: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "fetch": ({}, {"recipe": "demo", "synthetic": True, "roles": {"ratings": {"files": 1, "bytes": 10}}}),
        "interactions": (
            {"interactions.parquet": table(400, **strings), "items.parquet": table(30, item_id="string")},
            {"interactions": 400, "rejected": {"malformed line": 3}, "dropped": {"below_min_rating": 0}},
        ),
        "media": (
            {"images": table(26, key="string"), "texts.parquet": table(30, key="string")},
            {"image": {"ok": 26, "missing": 3, "rejected": {"truncated": 1}}, "items": 30, "items_described": 15},
        ),
        "split": ({"train.parquet": table(273, **strings)}, {"method": "random_per_user", "interactions": 400}),
        "graph": ({}, {"triples": 30, "modalities": {"image": {"items": 26, "items_missing": 4}}}),
    }
    paths = []
    for stage, (tables, metrics) in contents.items():
        path = root / "reports" / stage / "report.json"
        write_json({"stage": stage, "tables": tables, "metrics": metrics}, path)
        paths.append(path)
    return paths


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder."""
    return {path.name: sha256_file(path) for path in sorted(folder.iterdir())}
