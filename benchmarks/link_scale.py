"""Time and memory of finding the candidates of a catalogue in a knowledge base of millions of generated books.

    python benchmarks/link_scale.py --books 3000000 --items 25000

Titles are two to four words of a Zipf-like vocabulary of 30,000, a fifth as many authors as books write them; the items are
books drawn from them. Prints seconds of each step and the peak of memory. It says nothing about precision: random
titles are not titles.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from kgrec.data.schemas import ITEMS
from kgrec.kg.linking.blocking import BlockingSettings, candidate_pairs
from kgrec.kg.linking.evidence import EvidenceSettings, score_pairs
from kgrec.kg.profiles import entity_profiles

_WORD = "'w' || exp(random() * 10.3)::INTEGER || 'x'"
_LETTER = "chr((97 + author // {} % 26)::INTEGER)"
_SYLLABLE = " || ".join(_LETTER.format(26**at) for at in range(3))
_SURNAME = " || ".join(_LETTER.format(26**at) for at in range(3, 5))

#: the views of a store, as tables; ids are numbers
_WORLD = f"""
CREATE MACRO node(x) AS 'n' || x;
CREATE MACRO code(x) AS x[2:]::BIGINT;
SELECT setseed(0.5);
CREATE TABLE books AS
SELECT number, {_WORD} || ' ' || {_WORD} || CASE WHEN random() < 0.7 THEN ' ' || {_WORD} ELSE '' END
    || CASE WHEN random() < 0.5 THEN ' of ' || {_WORD} ELSE '' END AS title,
    1900 + (random() * 120)::INTEGER AS year, (random() * $books / 5)::BIGINT AS author
FROM range($books) t(number);
CREATE TABLE types AS SELECT number AS s, 'book.book' AS o FROM books;
CREATE TABLE facts AS SELECT number AS s, 'book.written_work.author' AS p, -1 - author AS o FROM books;
CREATE TABLE literals AS
SELECT number AS s, 'type.object.name' AS p, '"' || title || '"@en' AS o FROM books
UNION ALL SELECT number, 'book.written_work.date_of_first_publication', '"' || year || '"' FROM books
UNION ALL SELECT -1 - author, 'type.object.name',
    '"Au' || {_SYLLABLE} || ' Nym' || {_SURNAME} || '"@en'
FROM (SELECT DISTINCT author FROM books);
"""


def make_items(connection: duckdb.DuckDBPyConnection, count: int) -> pa.Table:
    """Items that are books of the world: title and year."""
    rows = connection.execute(
        f"SELECT number, title, year FROM books USING SAMPLE {count} ROWS (reservoir, 1)"
    ).fetchall()
    empty = {field.name: [] if pa.types.is_list(field.type) else None for field in ITEMS}
    items = [{**empty, "item_id": f"i{number}", "title": title, "year": year} for number, title, year in rows]
    return pa.Table.from_pylist(items, schema=ITEMS)


def main() -> None:
    """Print a line per step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--books", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--memory-gb", type=float, default=1.0, help="as link.memory_gb")
    given = parser.parse_args()
    with (
        TemporaryDirectory(prefix="kgrec.bench.") as folder,
        duckdb.connect(str(Path(folder) / "work.db")) as connection,
    ):
        connection.execute(f"SET memory_limit = '{given.memory_gb}GB'")
        connection.execute(f"SET temp_directory = '{folder}/spill'")
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(_WORLD.replace("$books", str(given.books)))
        items = make_items(connection, given.items)
        started = time.perf_counter()

        def told(step: str, rows: int) -> None:
            nonlocal started
            now, peak = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(f"{step:10}  {rows:10,} rows  {now - started:7.1f} s  peak {peak:.2f} GiB")
            started = time.perf_counter()

        candidate_pairs(connection, items, ("book.book",), BlockingSettings())
        pairs = connection.sql(
            "SELECT item_id, node(entity) AS entity_id FROM link_candidates ORDER BY ALL"
        ).to_arrow_table()
        told("blocking", pairs.num_rows)
        profiles = entity_profiles(connection)
        told("profiles", profiles.num_rows)
        scored = score_pairs(items, profiles, pairs, EvidenceSettings(types=("book.book",), editions=True))
        told("scoring", scored.num_rows)


if __name__ == "__main__":
    main()
