"""The benchmark's graph is the paper's MovieLens-1M as near as the data at hand allow, made by kgrec's own stages in half a minute
and kept: ``python benchmarks/train_step_data.py`` builds it and tells its size.

MovieLens-1M with ratings of at least 3 of linked films (834,268 interactions, split 8:1:1 per user), and the facts of two hops in
the Freebase extract, RecBole's ``films.kg`` and the films' metadata, of relations with at least 300 facts. The paper has 66,444
nodes, 273,547 triples of 49 relations and so 1.89 M edges with inverses. Without the data a small synthetic film world stands in.

The folder holds ``graph`` (every edge has its inverse under a relation of its own: what kgrec trains on), ``graph_one_way``
(triples one way, interactions both ways under one relation: what RecBole trains on), ``split``, and ``atomic/<name>``, the same
as RecBole's files.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from kgrec.data.io import atomic_folder, read_json, write_json
from kgrec.errors import DataError
from kgrec.evaluation.protocol import read_pairs
from kgrec.graphs.data import GraphData, ModalityData, load_graph
from kgrec.graphs.vocab import read_vocabulary

if TYPE_CHECKING:
    from kgrec.data.demo import DemoSettings
    from kgrec.kg.build import KGSettings

PROJECT = Path(__file__).resolve().parent.parent
BENCH = PROJECT / ".kgrec" / "bench"
REAL = PROJECT.parent / "shared" / "data"

#: role -> files of the real data that are read
FILES = {
    "ratings": ["ml-1m/ml-1m.zip"],
    "texts": ["imdb-ml-1m/omdb_metadata.jsonl.gz"],
    "links": ["freebase/ml2fb.txt"],
    "kg": ["freebase/freebase-film-rdf.gz", "recbole/films.kg"],
}
GRAPHS = {"graph": True, "graph_one_way": False}


def build(data: Path | None = None, *, name: str | None = None, demo: DemoSettings | None = None) -> Path:
    """Build the benchmark's folder unless it is there.

    :param data: folder of the real data; None: ``../shared/data`` if there, else the demo
    :param name: of the folder; None: ``ml-1m`` or ``demo``
    :param demo: size of the demo world, which then takes the place of the data
    :return: the folder
    """
    # imported here, so that a side that only reads the folder holds none of it in memory
    from kgrec.data.demo import DemoSettings, generate
    from kgrec.kg.build import KGSettings

    if data is None and demo is None and REAL.exists():
        data = REAL
    real = data is not None and demo is None
    name = name or ("ml-1m" if real else "demo")
    kg = KGSettings(hops=2, min_relation=300) if real else KGSettings()
    demo = demo or DemoSettings.model_validate({})
    made_of: dict[str, Any] = {
        "version": 1,
        "kg": kg.model_dump(mode="json"),
        "files": FILES if real else demo.model_dump(mode="json"),
    }
    folder = BENCH / name
    if (folder / "made_of.json").exists() and read_json(folder / "made_of.json") == made_of:
        return folder
    with atomic_folder(folder) as out:
        if real and data is not None:
            _link_files(Path(data), out / "raw")
        else:
            generate(out / "raw", demo)
        _build(out, kg)
        write_atomic(out, name)
        write_json(made_of, out / "made_of.json")
    return folder


def _link_files(data: Path, raw: Path) -> None:
    for role, names in FILES.items():
        (raw / role).mkdir(parents=True)
        for one in names:
            if not (data / one).exists():
                raise DataError("no such file; name the folder of the real data with --data", path=data / one)
            (raw / role / Path(one).name).symlink_to((data / one).resolve())


def _build(out: Path, kg: KGSettings) -> None:
    """The stages from interactions to graph, without pictures, texts and their vectors."""
    from kgrec.data.interactions import InteractionsSettings, build_interactions
    from kgrec.data.split import SplitSettings, split_interactions
    from kgrec.graphs.build import GraphSettings, build_graph
    from kgrec.kg.build import build_kg
    from kgrec.kg.links import LinkSettings, link_items
    from kgrec.kg.store import ExtractSettings, build_store, dump_files

    raw, interactions, items, links = (
        out / "raw",
        out / "interactions",
        out / "interactions/items.parquet",
        out / "link/links.parquet",
    )
    build_interactions(raw / "ratings", raw / "texts", interactions, InteractionsSettings(min_rating=3))
    build_store(dump_files(raw / "kg"), out / "store", ExtractSettings(languages=("en",)), out / "work")
    link_items(items, raw / "links", out / "store", out / "link", LinkSettings(methods=("file",)))
    split_interactions(interactions / "interactions.parquet", links, out / "split", SplitSettings())
    build_kg(items, links, out / "store", raw / "kg", out / "kg", kg)
    (out / "features").mkdir()
    for graph, inverse in GRAPHS.items():
        build_graph(
            out / "split", items, links, out / "kg/triples.parquet", out / "kg/entities.parquet", out / "features",
            out / graph, GraphSettings(inverse_edges=inverse),
        )  # fmt: skip


def write_atomic(folder: Path, name: str) -> None:
    """Write split and triples as RecBole's atomic files; a user's token is its index, an item's and an entity's its node."""
    data = load_graph(folder / "graph_one_way")
    out = folder / "atomic" / name
    out.mkdir(parents=True)
    for part, (users, items) in read_split(folder).items():
        _write_table(out / f"{name}.{part}.inter", ("user_id:token", "item_id:token"), users, items + data.n_users)
    own = data.rels > 0
    fields = ("head_id:token", "relation_id:token", "tail_id:token")
    _write_table(out / f"{name}.kg", fields, data.heads[own].numpy(), data.rels[own].numpy(), data.tails[own].numpy())
    nodes = np.arange(data.n_users, data.n_users + data.n_items)
    _write_table(out / f"{name}.link", ("item_id:token", "entity_id:token"), nodes, nodes)


def _write_table(path: Path, fields: tuple[str, ...], *columns: np.ndarray) -> None:
    np.savetxt(path, np.stack(columns, 1), fmt="%d", delimiter="\t", header="\t".join(fields), comments="")


def read_split(folder: Path, parts: Sequence[str] = ("train", "valid", "test")) -> dict[str, np.ndarray]:
    """Users and items of train, valid and test. shape of each: (2, P), int64"""
    vocabulary = read_vocabulary(folder / "graph" / "vocab.parquet")
    return {part: read_pairs(folder / "split" / f"{part}.parquet", vocabulary) for part in parts}


def with_random_features(data: GraphData, width: int = 512) -> GraphData:
    """The graph with random vectors of CLIP's width: a text for every item and entity, an image for every item.

    They cost what real ones cost, and say nothing of accuracy.
    """
    draw = torch.Generator().manual_seed(0)
    n = data.n_items + data.n_entities
    modalities = {}
    for name, rows in (("image", data.n_items), ("text", n)):
        present = torch.arange(n) < rows
        modalities[name] = ModalityData(torch.randn(n, width, generator=draw) * present[:, None], present)
    return replace(data, modalities=modalities)


def size(folder: Path) -> dict[str, int]:
    """How large the graph with inverses is."""
    data = load_graph(folder / "graph")
    return {
        "users": data.n_users, "items": data.n_items, "entities": data.n_entities, "nodes": data.n_nodes,
        "relation ids": data.n_relations, "edges": len(data.heads), "train interactions": len(data.train_users),
        "triples": len(data.heads) // 2 - len(data.train_users),
    }  # fmt: skip


def main() -> None:
    """Build and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the real data; default ../shared/data, else the demo")
    began = time.perf_counter()
    folder = build(parser.parse_args().data)
    print(folder, f"{time.perf_counter() - began:.1f} s", json.dumps(size(folder)), sep="\n")


if __name__ == "__main__":
    main()
