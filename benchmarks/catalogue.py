"""A synthetic catalogue of any size: who met what, what the items are, and vectors for their pictures. It says nothing about
accuracy; it has the sizes and the uneven degrees of a real one.

    python benchmarks/catalogue.py FOLDER --scale 0.01

writes the tables that the graph stage reads. Scale 1 is 1 million users, 1 million items, 10 million entities, 100 million
interactions and 100 million triples, which are 200 million edges (and as many inverses), and 512 float16 per picture.

Popularity is a power law: the item at rank r of I is drawn with a chance that falls as r^-0.7, entities likewise; users are
unequal alike. Everything is drawn by blocks of users or of heads, each block from its number alone, so memory does not grow
with the catalogue. ``write_raw`` writes a small one as published files: MovieLens, KB4Rec, a Freebase dump, posters, plots.
"""

from __future__ import annotations

import argparse
import gzip
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from kgrec.data import schemas
from kgrec.data.io import PARQUET_OPTIONS, write_batches, write_parquet

_BLOCK = 1 << 20
_POPULARITY = 0.7


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    users: int = 1_000_000
    items: int = 1_000_000
    entities: int = 10_000_000
    interactions: int = 100_000_000
    triples: int = 100_000_000
    relations: int = 40
    width: int = 512

    def scaled(self, factor: float) -> Sizes:
        """The same with every count that grows multiplied by ``factor``."""
        grown = {
            name: max(60, round(getattr(self, name) * factor))
            for name in ("users", "items", "entities", "interactions", "triples")
        }
        return Sizes(**grown, relations=self.relations, width=self.width)


def draw(rng: np.random.Generator, size: int, n: int, exponent: float = _POPULARITY) -> np.ndarray:
    """``size`` ranks of ``n`` under a power law of that exponent, below 1. int64"""
    return np.minimum((n * rng.random(size) ** (1 / (1 - exponent))).astype(np.int64), n - 1)


def pairs(sizes: Sizes, seed: int = 0) -> Iterator[np.ndarray]:
    """Interactions by blocks of users. shape of each: (2, K), int64, users and items, distinct, sorted"""
    mean = sizes.interactions / sizes.users
    users = max(1, int(_BLOCK / mean))
    for number, start in enumerate(range(0, sizes.users, users)):
        rng = np.random.default_rng([seed, 1, number])
        chosen = np.arange(start, min(start + users, sizes.users))
        # a fifth of the mean for all, the rest by an exponential
        degree = np.minimum(mean * (0.2 + 0.8 * rng.standard_exponential(len(chosen))) + 1, sizes.items / 2).astype(
            np.int64
        )
        keys = np.repeat(chosen, degree) * sizes.items
        # a bijection of the ranks, so that an item's number does not tell how popular it is
        keys += draw(rng, len(keys), sizes.items) * 7_919 % sizes.items if sizes.items % 7_919 else 0
        yield np.stack(np.divmod(np.unique(keys), sizes.items))


def facts(sizes: Sizes, seed: int = 0) -> Iterator[np.ndarray]:
    """Triples by blocks. shape of each: (3, K), int64: heads and tails below I are items, then come entities.

    Every other triple is about an item; the others take all entities in turn, so that each is a node of the graph.
    """
    for number, start in enumerate(range(0, sizes.triples, _BLOCK)):
        rng = np.random.default_rng([seed, 2, number])
        place = np.arange(start, min(start + _BLOCK, sizes.triples))
        about = draw(rng, len(place), sizes.items, 0.3)
        heads = np.where(place % 2 == 0, about, sizes.items + place // 2 % sizes.entities)
        tails = sizes.items + draw(rng, len(place), sizes.entities)
        yield np.stack([heads, draw(rng, len(place), sizes.relations, 0.5), tails])


def strings(prefix: str, numbers: np.ndarray) -> pa.Array:
    """``<prefix><number>``"""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def write_tables(folder: Path, sizes: Sizes, seed: int = 0) -> dict[str, Path]:
    """Write the tables of the catalogue; the paths are the arguments of ``build_graph``.

    One row in a hundred of each user's is for validation, one for the test.
    """
    writers = {}
    (folder / "split").mkdir(parents=True, exist_ok=True)
    for part in ("train", "valid", "test"):
        writers[part] = pq.ParquetWriter(folder / "split" / f"{part}.parquet", schemas.INTERACTIONS, **PARQUET_OPTIONS)
    for number, (users, items) in enumerate(pairs(sizes, seed)):
        lot = np.random.default_rng([seed, 3, number]).integers(0, 100, len(users))
        for part, kept in (("train", lot > 1), ("valid", lot == 0), ("test", lot == 1)):
            count = int(kept.sum())
            writers[part].write_table(
                pa.table(
                    [
                        strings("", users[kept]), strings("", items[kept]), pa.array(np.full(count, 5, np.float32)),
                        pa.nulls(count, pa.int64()),
                    ],
                    schema=schemas.INTERACTIONS,
                )
            )  # fmt: skip
    for writer in writers.values():
        writer.close()

    def nodes(codes: np.ndarray) -> pa.Array:
        is_item = pa.array(codes < sizes.items)
        return pc.if_else(is_item, strings("m.i", codes), strings("m.e", codes - sizes.items))

    triples = (
        pa.record_batch([nodes(heads), strings("relation.", rels), nodes(tails)], schema=schemas.TRIPLES)
        for heads, rels, tails in facts(sizes, seed)
    )
    write_batches(triples, schemas.TRIPLES, folder / "triples.parquet")

    def blocks(count: int) -> Iterator[np.ndarray]:
        for start in range(0, count, _BLOCK):
            yield np.arange(start, min(start + _BLOCK, count))

    entities = (
        pa.record_batch(
            [
                strings("m.e", ids),
                strings("Entity ", ids),
                pa.nulls(len(ids), pa.string()),
                pa.repeat("thing", len(ids)),
            ],
            schema=schemas.ENTITIES,
        )
        for ids in blocks(sizes.entities)
    )
    write_batches(entities, schemas.ENTITIES, folder / "entities.parquet")
    items = np.arange(sizes.items)
    empty = {
        field.name: pa.array([[]], field.type).take(pa.array(np.zeros(sizes.items, np.int64)))
        if pa.types.is_list(field.type)
        else pa.nulls(sizes.items, field.type)
        for field in schemas.ITEMS
    }
    named = {**empty, "item_id": strings("", items), "title": strings("Item ", items)}
    write_parquet(pa.table(named, schema=schemas.ITEMS), folder / "items.parquet")
    links = [
        strings("", items),
        strings("m.i", items),
        pa.repeat("file", len(items)),
        pa.array(np.ones(len(items), np.float32)),
    ]
    write_parquet(pa.table(links, schema=schemas.LINKS), folder / "links.parquet")
    _write_vectors(folder / "features" / "image.parquet", sizes, seed)
    return {
        "split": folder / "split", "features": folder / "features",
        **{name: folder / f"{name}.parquet" for name in ("items", "links", "triples", "entities")},
    }  # fmt: skip


def _write_vectors(path: Path, sizes: Sizes, seed: int) -> None:
    """A random vector for nine items in ten."""
    schema, rows = schemas.features(sizes.width), 16_384

    def batches() -> Iterator[pa.RecordBatch]:
        for number, start in enumerate(range(0, sizes.items, rows)):
            ids = np.arange(start, min(start + rows, sizes.items))
            ids = ids[ids % 10 != 9]
            rng = np.random.default_rng([seed, 4, number])
            values = rng.standard_normal((len(ids), sizes.width), np.float32).astype(np.float16)
            vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), sizes.width)
            columns = [strings("item:", ids), pa.repeat("0" * 64, len(ids)), pa.repeat("synthetic", len(ids)), vectors]
            yield pa.record_batch(columns, schema=schema)

    write_batches(batches(), schema, path, rows)


_NS = "http://rdf.freebase.com/ns/"
_PEOPLE = ("directed_by", "produced_by", "written_by", "edited_by", "music", "cinematography")


def write_raw(folder: Path, interactions: int, seed: int = 0) -> None:
    """Write a small catalogue as published files: ``<role>/...`` of every role of a recipe that is not empty.

    Of n interactions n / 20 are users' number, n / 25 items', n / 50 people's who made them; about 14 facts per item.
    """
    n_items, n_people = max(40, interactions // 25), max(20, interactions // 50)
    sizes = Sizes(max(50, interactions // 20), n_items, 1, interactions, 1)
    roles = {role: folder / role for role in ("ratings", "links", "kg", "posters", "texts")}
    for role in roles.values():
        role.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 5])
    items = range(1, n_items + 1)
    titles = [f"The {a:x} of {b:x}" for a, b in rng.integers(4096, 1 << 20, (n_items, 2)).tolist()]
    years = rng.integers(1930, 2020, n_items).tolist()
    genres = ["Drama", "Comedy", "Action", "Horror", "Musical", "Western", "War", "Romance"]

    with zipfile.ZipFile(roles["ratings"] / "ml.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("ml/ratings.dat", "w") as stream:
            for users, rated in pairs(sizes, seed):
                lines = zip(users.tolist(), rated.tolist(), rng.integers(3, 6, len(users)).tolist(), strict=True)
                stream.write(
                    "".join(
                        f"{u + 1}::{i + 1}::{stars}::{900_000_000 + u * 60 + i}\n" for u, i, stars in lines
                    ).encode()
                )
        archive.writestr(
            "ml/movies.dat",
            "".join(f"{i}::{titles[i - 1]} ({years[i - 1]})::{genres[i % 8]}|{genres[i * 3 % 8]}\n" for i in items),
        )
        archive.writestr("ml/users.dat", "".join(f"{u}::F::25::1::00000\n" for u in range(1, sizes.users + 1)))
    # a fiftieth has no line and is linked by its title and year
    (roles["links"] / "ml2fb.txt").write_text("".join(f"{i}\tm.0f{i}\r\n" for i in items if i % 50))

    def line(subject: str, predicate: str, value: str) -> str:
        return f"<{_NS}{subject}>\t<{_NS}{predicate}>\t{value}\t.\n"

    with gzip.open(roles["kg"] / "dump.gz", "wt", compresslevel=1, encoding="utf-8") as dump:
        people = draw(rng, n_items * len(_PEOPLE), n_people, 0.5).reshape(n_items, -1)
        for i in items:
            film = f"m.0f{i}"
            dump.write(line(film, "type.object.name", f'"{titles[i - 1]}"@en'))
            dump.write(line(film, "type.object.type", f"<{_NS}film.film>"))
            dump.write(line(film, "film.film.initial_release_date", f'"{years[i - 1]}"'))
            for role, person in zip(_PEOPLE, people[i - 1].tolist(), strict=True):
                dump.write(line(film, f"film.film.{role}", f"<{_NS}m.0p{person}>"))
            for number in {i % 40, i * 7 % 40}:
                dump.write(line(film, "film.film.genre", f"<{_NS}m.0g{number}>"))
            dump.write(line(film, "film.film.country", f"<{_NS}m.0c{i % 30}>"))
        for kind, count, type_ in (
            ("p", n_people, "people.person"),
            ("g", 40, "film.film_genre"),
            ("c", 30, "location.country"),
        ):
            for number in range(count):
                dump.write(line(f"m.0{kind}{number}", "type.object.name", f'"Name {kind} {number}"@en'))
                dump.write(line(f"m.0{kind}{number}", "type.object.type", f"<{_NS}{type_}>"))

    with zipfile.ZipFile(roles["posters"] / "posters.zip", "w", zipfile.ZIP_STORED) as archive:
        for i in items:
            picture = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8))  # the side of the small encoder
            picture.save(file := io.BytesIO(), "JPEG")
            archive.writestr(f"{i}.jpg", file.getvalue())
    with open(roles["texts"] / "movies_extrainfos.dat", "w", encoding="utf-8") as stream:
        for i in items:
            about = f"{titles[i - 1]}::{years[i - 1]}::PG::01 Jan {years[i - 1]}::{genres[i % 8]}::Name p {i % n_people}::::"
            stream.write(f"{i}::{about}::A story number {i} about {titles[i - 1]}.::\n")


def main() -> None:
    """Write the tables and say how long they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    paths = write_tables(given.folder, Sizes().scaled(given.scale), given.seed)
    for path in sorted(path for one in paths.values() for path in ([one] if one.is_file() else one.glob("*.parquet"))):
        rows, size = pq.read_metadata(path).num_rows, path.stat().st_size / 2**20
        print(f"{path.relative_to(given.folder)!s:24}  {rows:12,} rows  {size:8.1f} MiB")


if __name__ == "__main__":
    main()
