"""How well ``kgrec link`` finds the Freebase entities of MovieLens-1M by evidence alone, measured against KB4Rec's links.

    python benchmarks/link_ml1m.py --data DIR [--disagreements]

``DIR`` is laid out as ``pipeline/recipes/ml-1m.yaml`` says: MovieLens-1M, OMDb's records of its films (directors, writers,
actors), MovieLens' IMDb ids, a part of the Freebase dump, and KB4Rec's ``ml2fb.txt``, which serves as the truth and is not
shown to the linker. Precision counts links of items that KB4Rec links; recall counts KB4Rec's links of catalogue items whose
entity has a name in the dump: without one there is nothing to find.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import structlog

from kgrec.data.interactions import InteractionsSettings, build_interactions
from kgrec.data.io import read_parquet, write_parquet
from kgrec.data.schemas import ITEMS
from kgrec.kg.link_files import read_links
from kgrec.kg.links import LinkSettings, link_items
from kgrec.kg.profiles import read_profiles
from kgrec.kg.store import ExtractSettings, build_store

RATINGS, TRUTH, DUMP = "ml-1m/ml-1m.zip", "freebase/ml2fb.txt", "freebase/freebase-film-rdf.gz"
TEXTS = ("imdb-ml-1m/omdb_metadata.jsonl.gz", "imdb-ml-1m/links.csv")
PEOPLE = ("director", "writer", "actor")

#: setting -> columns of the items that are not shown
SETTINGS = {
    "titles and years": ("imdb_id", *PEOPLE),
    "without IMDb ids": ("imdb_id",),
    "with IMDb ids": (),
}


@dataclass(frozen=True)
class Result:
    """Links against the truth."""

    setting: str
    links: int
    #: links of items the truth has
    judged: int
    right: int
    #: links of the truth that can be found
    findable: int
    #: per judged link that is not the truth's: item id, entity, the truth's entity
    disagreements: list[tuple[str, str, str]]

    @property
    def precision(self) -> float:
        return self.right / self.judged

    @property
    def recall(self) -> float:
        return self.right / self.findable


class World:
    """MovieLens-1M's items, a store of the dump, and KB4Rec's links, prepared in ``folder``."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"
        for name, files in (("ratings", (RATINGS,)), ("texts", TEXTS)):
            (folder / name).mkdir()
            for file in files:
                (folder / name / Path(file).name).symlink_to((data / file).resolve())
        build_interactions(folder / "ratings", folder / "texts", folder / "interactions", InteractionsSettings())
        self.items = read_parquet(folder / "interactions" / "items.parquet", ITEMS)
        build_store([data / DUMP], self.store, ExtractSettings())
        catalogue = set(self.items["item_id"].to_pylist())
        rows = read_links(data / TRUTH, "kb4rec")
        self.truth = {row.item_id: row.entity_id for row in rows if row.item_id in catalogue}
        profiles = read_profiles(self.store, set(self.truth.values()))
        self.profiles = {row["entity_id"]: row for row in profiles.to_pylist()}
        self.findable = {item for item, entity in self.truth.items() if self.profiles.get(entity, {}).get("name")}

    def run(self, setting: str, settings: LinkSettings | None = None) -> Result:
        """Link by evidence alone and compare."""
        items, out = self.folder / "items.parquet", self.folder / setting.replace(" ", "_")
        hidden = SETTINGS[setting]
        columns = [
            _nothing(field, self.items.num_rows) if field.name in hidden else self.items[field.name] for field in ITEMS
        ]
        write_parquet(pa.table(columns, schema=ITEMS), items)
        link_items(items, None, self.store, out, settings or LinkSettings())
        found = read_parquet(out / "links.parquet")
        links = dict(zip(found["item_id"].to_pylist(), found["entity_id"].to_pylist(), strict=True))
        judged = {item: entity for item, entity in links.items() if item in self.truth}
        wrong = [(item, entity, self.truth[item]) for item, entity in judged.items() if entity != self.truth[item]]
        return Result(setting, len(links), len(judged), len(judged) - len(wrong), len(self.findable), sorted(wrong))


def _nothing(field: pa.Field, rows: int) -> pa.Array:
    return pa.array([[] if pa.types.is_list(field.type) else None] * rows, field.type)


def _facts(row: dict[str, Any]) -> str:
    """What tells an item or entity from others, as JSON."""
    keys = ("title", "name", "year", "years", "imdb_id", "director")
    return json.dumps({key: row[key] for key in keys if row.get(key)}, ensure_ascii=False)


def _show_disagreements(world: World, result: Result) -> None:
    items = {row["item_id"]: row for row in world.items.to_pylist()}
    found = read_profiles(world.store, {entity for _, entity, _ in result.disagreements}).to_pylist()
    profiles = world.profiles | {row["entity_id"]: row for row in found}
    for item, entity, truth in result.disagreements:
        print(f"  item {item}  {_facts(items[item])}")
        for who, one in (("found", entity), ("KB4Rec", truth)):
            print(f"    {who:6}  {one:10}  {_facts(profiles.get(one, {}))}")


def main() -> None:
    """Print a table, and what was found against KB4Rec where the two disagree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data")
    parser.add_argument("--disagreements", action="store_true", help="list them")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with TemporaryDirectory(prefix="kgrec.bench.") as folder:
        world = World(given.data, Path(folder))
        print(f"{'evidence':18}  links  judged  right  findable  precision  recall")
        for setting in SETTINGS:
            one = world.run(setting)
            print(
                f"{setting:18}  {one.links:5}  {one.judged:6}  {one.right:5}  {one.findable:8}  "
                f"{one.precision:9.4f}  {one.recall:6.4f}"
            )
            if given.disagreements:
                _show_disagreements(world, one)


if __name__ == "__main__":
    main()
