from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kgrec.data import schemas
from kgrec.data.io import read_parquet, write_parquet
from kgrec.errors import DataError
from kgrec.media.text_collection import FOUND_TEXTS, TextSettings, collect_texts
from kgrec.media.texts import clean_text

FRENCH = (
    "Une jeune femme quitte son village à la recherche de son frère et trouve une ville qui a oublié jusqu'à son nom."
)
GERMAN = "Eine junge Frau verlässt ihr Dorf, um ihren Bruder zu suchen, und findet eine Stadt, die ihren Namen vergessen hat."


class World:
    """Inputs in a folder; ``collect`` runs them and keeps the report."""

    def __init__(self, root: Path) -> None:
        self.root, self.texts, self.found = root, root / "texts", root / "found.parquet"
        self.texts.mkdir(exist_ok=True)
        self.tables([("1", "Alpha"), ("2", "Beta"), ("3", None)], [("m.1", "Alpha", None), ("m.p", "A. Person", "x")])

    def tables(
        self, items: list[tuple[str, str | None]], entities: list[tuple[str, str | None, str | None]],
        links: list[tuple[str, str]] = [("1", "m.1")],  # noqa: B006
    ) -> None:  # fmt: skip
        for name, columns, rows in (
            ("items", ["item_id", "title"], items), ("entities", ["entity_id", "name", "description"], entities),
            ("links", ["item_id", "entity_id"], links),
        ):  # fmt: skip
            table = pa.table([pa.array([row[i] for row in rows], pa.string()) for i in range(len(columns))], columns)
            write_parquet(table, self.root / f"{name}.parquet")

    def say(self, rows: list[dict[str, Any]], schema: pa.Schema = FOUND_TEXTS) -> None:
        write_parquet(pa.Table.from_pylist(rows, schema=schema), self.found)

    def collect(self, **options: Any) -> dict[str, Any]:
        return collect_texts(
            *(self.root / f"{name}.parquet" for name in ("items", "links", "entities")), self.texts,
            self.found if self.found.exists() else None, self.root / "texts.parquet", self.root / "ledger.parquet",
            TextSettings(**options),
        )  # fmt: skip

    def rows(self) -> dict[str, tuple[str, str]]:
        rows = read_parquet(self.root / "texts.parquet", schemas.TEXTS).to_pylist()
        assert [row["key"] for row in rows] == sorted({row["key"] for row in rows})
        return {row["key"]: (row["text"], row["lang"]) for row in rows}

    def ledger(self) -> dict[str, tuple[str, str, str]]:
        rows = read_parquet(self.root / "ledger.parquet", schemas.LEDGER).to_pylist()
        assert [row["key"] for row in rows] == sorted({row["key"] for row in rows})
        assert {row["modality"] for row in rows} <= {"text"}
        return {row["key"]: (row["status"], row["reason"], row["source"]) for row in rows}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_titles_and_plots_of_items_and_names_of_entities(world: World) -> None:
    (world.texts / "plots.csv").write_text("item_id,plot\n1, The  first film.\n1,again\n3,No title.\n77,Unknown\n,x\n")
    report = world.collect()
    assert world.rows() == {
        "entity:m.p": ("A. Person", "en"), "item:1": ("Alpha. The first film.", "en"), "item:2": ("Beta", "en"),
        "item:3": ("No title.", "en"),
    }  # fmt: skip
    assert world.ledger() == {
        "entity:m.p": ("ok", "", "name"), "item:1": ("ok", "", "title + plots.csv"), "item:2": ("ok", "", "title"),
        "item:3": ("ok", "", "plots.csv"),
    }  # fmt: skip
    assert report == {
        "items": {"ok": 3, "missing": 0}, "entities": {"ok": 1, "missing": 0},
        "item_texts_from": {"plots.csv": 1, "title": 1, "title + plots.csv": 1},
        "files": {"plots.csv": {
            "texts": 3, "repeated": 1, "empty": 0, "of_no_item_or_entity": 1,
            "rejected": [{"line": 6, "reason": "no key"}], "rejected_count": 1,
        }},
        "web": {}, "files_without_texts": [], "languages": {"en": 4}, "undetermined": 2,
        "contradictions": {"count": 0, "first": []},
    }  # fmt: skip
    assert not list(world.root.glob(".*"))


@pytest.mark.parametrize(("compose", "texts", "reason"), [
    ("title_plot", {"item:1": "Alpha. One", "item:2": "Beta"}, "no title or plot"),
    ("title", {"item:1": "Alpha", "item:2": "Beta"}, "no title"),
    ("plot", {"item:1": "One"}, "no plot"),
])  # fmt: skip
def test_what_a_text_is_made_of_is_a_setting(world: World, compose: str, texts: dict[str, str], reason: str) -> None:
    (world.texts / "plots.csv").write_text("item_id,plot,lang\n1,One,de\n")
    world.collect(compose=compose)
    assert {key: text for key, (text, _) in world.rows().items() if key.startswith("item:")} == texts
    assert world.rows()["item:1"][1] == ("en" if compose == "title" else "de")
    assert world.ledger()["item:3"] == ("missing", reason, "")


def test_the_description_of_the_linked_entity_is_the_last_choice(world: World) -> None:
    world.tables([("1", "Alpha"), ("2", "Beta")], [("m.1", "Alpha", "From the graph."), ("m.2", None, " N/A ")],
                 [("1", "m.1"), ("2", "m.2")])  # fmt: skip
    report = world.collect()
    assert world.rows() == {"item:1": ("Alpha. From the graph.", "en"), "item:2": ("Beta", "en")}
    assert report["item_texts_from"] == {"title": 1, "title + entity description": 1}
    (world.texts / "zzz.csv").write_text("id,text\n1,From a file.\n")
    world.collect()
    assert world.rows()["item:1"][0] == "Alpha. From a file."


def test_files_and_web_sources_are_ranked_together(world: World) -> None:
    (world.texts / "my_omdb.csv").write_text("id,text\n1,file omdb\n")
    (world.texts / "other.csv").write_text("id,text\n1,file other\n2,file other\n")
    rows = [("item:1", "omdb", 1), ("item:1", "tmdb", 0), ("item:2", "tmdb", 0), ("item:2", "imdb", 2),
            ("item:3", "imdb", 2), ("item:3", "tmdb", 0), ("entity:m.p", "imdb", 2), ("item:9", "imdb", 2)]  # fmt: skip
    world.say([{"key": k, "text": f"web {s}", "lang": "", "source": s, "rank": r} for k, s, r in rows])

    def chosen(*order: str) -> list[str]:
        world.collect(compose="plot", order=order)
        return [world.rows()[key][0] for key in ("item:1", "item:2", "item:3")]

    assert chosen() == ["file omdb", "file other", "web tmdb"]  # files, then the web by rank
    assert chosen("*omdb*") == ["file omdb", "file other", "web tmdb"]
    assert chosen("tmdb") == ["web tmdb", "web tmdb", "web tmdb"]
    assert chosen("imdb", "omdb") == ["web omdb", "web imdb", "web imdb"]
    assert world.rows()["entity:m.p"][0] == "web imdb"
    report = world.collect()
    assert report["web"]["imdb"] == {"texts": 4, "repeated": 0, "empty": 0, "of_no_item_or_entity": 1}
    assert [*report["web"]] == ["omdb", "tmdb", "imdb"]


def test_origin_licence_and_expiry_of_a_web_text_go_to_the_ledger(world: World) -> None:
    schema = FOUND_TEXTS
    for name in ("origin", "licence", "expires"):
        schema = schema.append(pa.field(name, pa.string()))
    row = {"key": "item:1", "text": "Said.", "lang": "de", "source": "tmdb", "rank": 0, "licence": "TMDB terms"}
    world.say([row | {"origin": "https://example.org/1", "expires": "2025-01-01"}], schema)
    report = world.collect()
    first, second = read_parquet(world.root / "ledger.parquet", schemas.LEDGER).to_pylist()[1:3]
    assert (first["source"], first["licence"], first["expires"]) == (
        "title + https://example.org/1", "TMDB terms", "2025-01-01",
    )  # fmt: skip
    assert (second["source"], second["licence"], second["expires"]) == ("title", "", "")
    assert report["item_texts_from"] == {"title": 1, "title + tmdb": 1}
    assert world.rows()["item:1"] == ("Alpha. Said.", "de")


def test_the_language_of_a_plot_is_told_where_nobody_states_it(world: World) -> None:
    world.tables([(str(i), "T") for i in range(1, 6)], [("m.1", "Alpha", None)])
    (world.texts / "plots.csv").write_text(
        f'id,text,lang\n1,"{FRENCH}",\n2,"{GERMAN}",de-AT\n3,"{FRENCH}",en\n4,Kurz und gut.,\n'
    )
    report = world.collect(lang="it")
    assert [lang for _, lang in world.rows().values()] == ["fr", "de-AT", "en", "it", "it"]
    assert report["languages"] == {"de-AT": 1, "en": 1, "fr": 1, "it": 2}
    assert report["undetermined"] == 1  # item 4; item 5 has no plot
    assert report["contradictions"] == {"count": 1, "first": [{"key": "item:3", "stated": "en", "detected": "fr"}]}
    report = world.collect(lang="it", detect=False)
    assert [lang for _, lang in world.rows().values()] == ["it", "de-AT", "en", "it", "it"]
    assert report["contradictions"]["count"] == 0


def test_files_of_one_name_in_two_folders_are_two_sources(world: World) -> None:
    for folder, text in (("a", "one"), ("b", "two")):
        (world.texts / folder).mkdir()
        (world.texts / folder / "plots.csv").write_text(f"id,text\n{1 if folder == 'a' else 2},{text}\n")
    (world.texts / "read.me").write_text("x")
    report = world.collect()
    assert {name: row["texts"] for name, row in report["files"].items()} == {"a/plots.csv": 1, "b/plots.csv": 1}
    assert report["files_without_texts"] == ["read.me"]


def test_no_texts_at_all(world: World) -> None:
    world.tables([], [], [])
    inputs = [world.root / f"{name}.parquet" for name in ("items", "links", "entities")]
    out, ledger = world.root / "new" / "texts.parquet", world.root / "new" / "ledger.parquet"
    report = collect_texts(*inputs, None, None, out, ledger, TextSettings())
    assert report["items"] == report["entities"] == {"ok": 0, "missing": 0}
    assert read_parquet(out, schemas.TEXTS).num_rows == read_parquet(ledger, schemas.LEDGER).num_rows == 0


def test_damaged_inputs_are_errors_that_name_the_file_and_leave_nothing(world: World) -> None:
    for name, content, message in (
        ("texts/a.json", b'{"1":', "is not valid JSON"), ("found.parquet", b"PAR1", "cannot be read"),
        ("entities.parquet", b"PAR1", "cannot be read"),
    ):  # fmt: skip
        path = world.root / name
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            world.collect()
        assert caught.value.path == path
        path.unlink()
    with pytest.raises(DataError, match="no such file"):
        world.collect()
    world.texts.rmdir()
    world.tables([("1", "x")], [])
    with pytest.raises(DataError, match="no such folder of texts"):
        world.collect()
    assert not (world.root / "texts.parquet").exists()
    assert not list(world.root.glob(".*"))


def test_a_damaged_page_of_a_table_is_an_error_that_names_it(world: World) -> None:
    world.tables([(str(i), f"title {i}") for i in range(1000)], [])
    path = world.root / "items.parquet"
    data = bytearray(path.read_bytes())
    data[100:400] = bytes(300)
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="cannot be read") as caught:
        world.collect()
    assert caught.value.path == path


def test_two_runs_give_equal_bytes_however_many_threads(world: World) -> None:
    n = 20_000
    world.tables([(str(i), f"Title {i}") for i in range(n)], [(f"m.{i}", f"Name {i}", f"About {i}") for i in range(n)],
                 [(str(i), f"m.{i}") for i in range(0, n, 2)])  # fmt: skip
    for name in ("a", "b"):
        rows = [{"id": str(i * 7 % n), "text": f"plot {name} {i} " + "x" * (i % 50)} for i in range(0, n, 3)]
        (world.texts / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run() -> tuple[bytes, bytes, dict[str, Any]]:
        report = world.collect(detect=False)
        return (world.root / "texts.parquet").read_bytes(), (world.root / "ledger.parquet").read_bytes(), report

    assert run() == run()
    assert pq.read_metadata(world.root / "texts.parquet").num_rows == n + n // 2


names = st.sampled_from(["1", "2", "3", "4", "5"])
words = st.none() | st.sampled_from(["", "N/A", " one  two ", "three", "four"])
files = st.lists(st.tuples(names, words, st.sampled_from([None, "de"])), max_size=6)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    titles=st.dictionaries(names, words, max_size=5),
    entities=st.dictionaries(names, st.tuples(words, words), max_size=5),
    links=st.dictionaries(names, names, max_size=3).filter(lambda links: len({*links.values()}) == len(links)),
    sources=st.lists(files, max_size=3),
    compose=st.sampled_from(["title_plot", "title", "plot"]),
)
def test_the_same_as_composing_one_key_at_a_time(
    tmp_path: Path, titles: Any, entities: Any, links: dict[str, str], sources: list[Any], compose: str
) -> None:
    world = World(tmp_path)
    world.tables([*titles.items()], [(e, *texts) for e, texts in entities.items()], [(i, e) for e, i in links.items()])
    for path in world.texts.iterdir():
        path.unlink()
    for number, source in enumerate(sources):
        rows = [{"key": f"item:{key}", "text": text, "lang": lang} for key, text, lang in source]
        (world.texts / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = world.collect(compose=compose, separator=" | ")

    want: dict[str, tuple[str, str]] = {}
    for item, title in titles.items():
        said = [(clean_text(text), lang or "en") for source in sources for key, text, lang in source if key == item]
        said += [(clean_text(entities[e][1]), "en") for e in sorted(entities) if links.get(e) == item]
        plot, lang = next((text for text in said if text[0]), ("", "en"))
        parts = {"title_plot": [clean_text(title), plot], "title": [clean_text(title)], "plot": [plot]}[compose]
        if any(parts):
            want[f"item:{item}"] = " | ".join(filter(None, parts)), lang if compose != "title" else "en"
    for entity, (name, _) in entities.items():
        if entity not in links and clean_text(name):
            want[f"entity:{entity}"] = clean_text(name), "en"
    assert world.rows() == want
    ledger = world.ledger()
    assert {key for key, row in ledger.items() if row[0] == "ok"} == {*want}
    assert {*ledger} == {f"item:{item}" for item in titles} | {f"entity:{e}" for e in entities if e not in links}
    assert report["items"]["ok"] + report["entities"]["ok"] == len(want)


MEASURE = """
import sys
from pathlib import Path
from kgrec.media.text_collection import TextSettings, collect_texts
root, folder = Path(sys.argv[1]), Path(sys.argv[2])
collect_texts(root / "items.parquet", root / "links.parquet", root / "entities.parquet", folder, None,
              root / "texts.parquet", root / "ledger.parquet", TextSettings(detect=False))
# getrusage would tell the peak of the process that started this one, if it is larger
print(int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_texts(world: World) -> None:
    """60,000 plots of 4 kB take hardly more than 20,000, though they are 160 MB more."""
    peaks = []
    for n in (20_000, 60_000):
        world.tables([(str(i), f"Title {i}") for i in range(n)], [], [])
        folder = world.root / f"texts{n}"
        folder.mkdir()
        with (folder / "plots.jsonl").open("w") as stream:
            for i in range(n):
                stream.write(f'{{"id": "{i}", "text": "{i:04000d}"}}\n')
        command = [sys.executable, "-c", MEASURE, str(world.root), str(folder)]
        peaks.append(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert peaks[1] - peaks[0] < 50, peaks  # MiB
    assert peaks[1] < 600, peaks
