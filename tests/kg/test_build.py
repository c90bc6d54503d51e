from pathlib import Path
from typing import Any

import pytest

from kgrec.config import parse_settings
from kgrec.data.io import read_parquet
from kgrec.data.schemas import ENTITIES, KEYS, RELATIONS, TRIPLES
from kgrec.errors import ConfigError, DataError
from kgrec.kg.build import KGSettings


def test_both_directions_and_repeats_become_one_triple(world) -> None:
    world.items(i1="Alien")
    world.dump(
        world.fact("m.i1", "film.film.directed_by", "m.d"),
        world.fact("m.i1", "film.film.directed_by", "m.d"),
        world.fact("m.d", "film.director.film", "m.i1"),
        world.fact("m.g", "film.film_genre.films_in_this_genre", "m.i1"),
        world.fact("m.i1", "film.film.subjects", "m.i1"),
        world.fact("m.far", "film.film.genre", "m.g"),
        end="\r\n",
    )
    counts = world.build(metadata=[])
    assert world.triples() == {("m.i1", "film.film.directed_by", "m.d"), ("m.i1", "film.film.genre", "m.g")}
    assert counts["sources"]["rdf"]["repeats"] == 1
    assert counts["funnel"] == {
        "facts": 4, "self_loops": 1, "repeats": 0, "inverses_merged": 1, "relations_not_wanted": 0, "below_minimum": 0,
        "triples": 2,
    }  # fmt: skip
    world.build(metadata=[], merge_inverses=False)
    assert ("m.d", "film.director.film", "m.i1") in world.triples()


def test_inverses_are_found_in_the_data(world) -> None:
    world.items(**{f"i{n}": f"Film {n}" for n in range(12)})
    both = [(f"m.i{n}", f"m.a{n % 3}") for n in range(12)]
    world.dump(
        *[world.fact(item, "x.film.stuntman", actor) for item, actor in both],
        *[world.fact(actor, "x.stuntman.film", item) for item, actor in both[:-1]],
        *[world.fact(item, "x.film.trainer", actor) for item, actor in both[:6]],  # half as many: not the same fact
        *[world.fact(f"m.i{n}", "x.film.twin", f"m.i{n ^ 1}") for n in range(12)],  # mirrors itself
    )
    counts = world.build(metadata=[])
    assert counts["inverses_detected"] == ["x.film.stuntman = x.stuntman.film", "x.film.twin = x.film.twin"]
    relations = {row["relation"]: row["triples"] for row in read_parquet(world.out / "relations.parquet").to_pylist()}
    assert relations == {"x.film.stuntman": 12, "x.film.trainer": 6, "x.film.twin": 6}


def test_relations_are_allowed_and_denied(world) -> None:
    world.items(i1="Alien")
    lines = [
        world.fact("m.i1", r, "m.x")
        for r in ("film.film.genre", "film.film.country", "type.object.key", "book.book.genre")
    ]
    world.dump(*lines)
    counts = world.build(metadata=[], relations_allow=["film.*"], relations_deny=["default", "*.country"])
    assert world.triples() == {("m.i1", "film.film.genre", "m.x")}
    assert world.counts["denied"] == 1
    assert counts["sources"]["rdf"]["facts_refused"] == 1
    assert counts["funnel"]["relations_not_wanted"] == 1


def test_rare_entities_and_relations_go_and_items_stay(world) -> None:
    world.items(i1="Alien", i2="Aliens", i3="Ghost")
    world.dump(
        world.fact("m.i1", "film.film.genre", "m.scifi"),
        world.fact("m.i2", "film.film.genre", "m.scifi"),
        world.fact("m.i3", "film.film.genre", "m.romance"),
        world.fact("m.i1", "film.film.sequel", "m.i2"),
    )
    counts = world.build(metadata=[], min_entity=2)
    assert ("m.i1", "film.film.sequel", "m.i2") in world.triples() or (
        "m.i2",
        "film.film.prequel",
        "m.i1",
    ) in world.triples()
    assert counts["funnel"]["below_minimum"] == 1
    assert "m.i3" in world.entities()
    world.build(metadata=[], min_relation=3)
    assert {relation for _, relation, _ in world.triples()} == {"film.film.genre"}


def test_metadata_joins_the_entity_of_that_name_beside_the_item(world, write_items) -> None:
    rows = [
        {"item_id": "i1", "title": "Alien", "director": ["Ridley Scott"], "genre": ["Horror"], "actor": ["John Hurt"]},
        {"item_id": "i2", "title": "Unlinked", "director": ["Ridley Scott"], "genre": ["Horror"]},
    ]
    write_items(world.folder / "items.parquet", rows)
    world.links({"i1": "m.i1"})
    world.dump(
        world.fact("m.i1", "film.film.directed_by", "m.rs"),
        world.name("m.rs", "Ridley Scott"),
        world.fact("m.i1", "film.film.starring_x", "m.j1"),
        world.fact("m.i1", "film.film.edited_by", "m.j2"),
        world.name("m.j1", "John Hurt"),
        world.name("m.j2", "John Hurt"),  # two of that name: neither
        world.name("m.elsewhere", "Horror"),  # no fact ties it to the item
    )
    counts = world.build()
    assert world.triples() >= {
        ("m.i1", "metadata.director", "m.rs"), ("item:i2", "metadata.director", "m.rs"),
        ("m.i1", "metadata.actor", "person:John Hurt"), ("item:i2", "metadata.genre", "genre:Horror"),
    }  # fmt: skip
    assert counts["sources"]["metadata"] == {"triples": 5, "entities": 3, "entities_joined": 1}
    rows_by_id = world.entities()
    assert (rows_by_id["genre:Horror"]["name"], rows_by_id["genre:Horror"]["type"]) == ("Horror", "genre")
    assert rows_by_id["item:i2"]["name"] == "Unlinked"
    world.build(join_metadata=False)
    assert ("item:i2", "metadata.director", "person:Ridley Scott") in world.triples()


def test_sources_are_combined_and_named(world) -> None:
    world.items(i1="Alien")
    world.dump(world.fact("m.i1", "film.film.genre", "m.g"))
    (world.kg / "x.kg").write_text(
        "head_id:token\trelation_id:token\ttail_id:token\nm.i1\tfilm.film.genre\tm.g\n"
        "m.g\tfilm.film_genre.films_in_this_genre\tm.i1\nm.i1\tfilm.film.country\tm.us\n"
    )
    counts = world.build()
    relations = {row["relation"]: row["source"] for row in read_parquet(world.out / "relations.parquet").to_pylist()}
    assert relations == {"film.film.genre": "rdf+recbole", "film.film.country": "recbole"}
    assert (counts["funnel"]["repeats"], counts["funnel"]["inverses_merged"]) == (1, 1)


def test_tables_keep_their_schemas_and_a_rerun_gives_equal_bytes(world) -> None:
    world.items(i1="Alien", i2="Aliens")
    world.dump(
        *[world.fact(f"m.i{n % 2 + 1}", f"film.film.r{n % 5}", f"m.e{n * 7 % 40}") for n in range(200)],
        *[world.name(f"m.e{n}", f"Entity {n % 9}") for n in range(40)],
    )
    files = ("triples.parquet", "entities.parquet", "relations.parquet", "keys.parquet")
    runs = []
    for memory in (4.0, 0.5):
        world.build(memory_gb=memory)
        runs.append([(world.out / name).read_bytes() for name in files])
    assert runs[0] == runs[1]
    for name, schema in zip(files, (TRIPLES, ENTITIES, RELATIONS, KEYS), strict=True):
        assert read_parquet(world.out / name).schema == schema
    assert sorted(path.name for path in world.out.iterdir()) == sorted([*files, "quality"])
    assert not list(world.folder.glob(".out*"))


def test_a_graph_of_other_ids_is_refused(world) -> None:
    world.items(i1="Alien")
    (world.kg / "x.kg").write_text("head_id:token\trelation_id:token\ttail_id:token\nm.a\tr\tm.b\n")
    with pytest.raises(DataError, match=r"x\.kg: holds no triple of any item"):
        world.build()


def test_files_no_source_reads_are_listed(world) -> None:
    world.items(i1="Alien")
    world.dump(world.fact("m.i1", "film.film.genre", "m.g"))
    (world.kg / "more.xlsx").write_text("")
    assert world.build()["files_ignored"] == ["more.xlsx"]


@pytest.mark.parametrize("source", ["rdf", "recbole", "kgat"])
def test_a_source_asked_for_must_be_there(world, source: str) -> None:
    world.items(i1="Alien")
    with pytest.raises(DataError, match=f"kg.sources '{source}'"):
        world.build(sources=[source])


def test_a_dump_without_any_linked_entity_is_refused(world) -> None:
    world.items(i1="Alien")
    world.dump(world.fact("m.x", "film.film.genre", "m.y"))
    with pytest.raises(DataError, match="no fact of any item's entity"):
        world.build()
    assert not list(world.out.iterdir())


def test_links_to_other_films_are_refused(world) -> None:
    world.items(**{f"i{n}": f"Alpha{n}" for n in range(25)})
    lines = [world.fact(f"m.i{n}", "film.film.genre", "m.g") for n in range(25)]
    world.dump(*lines, *[world.name(f"m.i{n}", f"Beta{n}") for n in range(25)])
    with pytest.raises(DataError, match=r"only 0 of 25 linked entities.*'Alpha0' is 'Beta0'"):
        world.build()
    world.build(min_title_agreement=0)


def test_filters_that_leave_nothing_are_an_error(world) -> None:
    world.items(i1="Alien")
    world.dump(world.fact("m.i1", "film.film.genre", "m.g"))
    with pytest.raises(DataError, match="no triple is left"):
        world.build(min_relation=10)


def test_an_empty_folder_without_metadata_is_an_error(world) -> None:
    world.items(i1="Alien")
    with pytest.raises(DataError, match=r"gives no fact.*\*\.gz"):
        world.build()


def test_a_truncated_dump_leaves_the_old_tables(world) -> None:
    world.items(i1="Alien")
    path = world.dump(*[world.fact("m.i1", "film.film.genre", f"m.{n * 2654435761 % 2**32}") for n in range(2000)])
    world.build()
    before = (world.out / "triples.parquet").read_bytes()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="truncated"):
        world.build()
    assert (world.out / "triples.parquet").read_bytes() == before
    assert not list(world.folder.glob(".out*"))


def test_a_misspelt_setting() -> None:
    with pytest.raises(ConfigError, match="did you mean 'min_entity'"):
        parse_settings(KGSettings, {"min_entitty": 2})


@pytest.mark.slow
def test_movielens_1m(real_data: Path, tmp_path: Path, write_items, world) -> None:
    """The dump sample and the films' genres cover every linked film."""
    import zipfile

    with zipfile.ZipFile(real_data / "ml-1m" / "ml-1m.zip") as archive:
        movies = [line.split("::") for line in archive.read("ml-1m/movies.dat").decode("latin-1").splitlines()]
    rows: list[dict[str, Any]] = [{"item_id": i, "title": t, "genre": g.split("|")} for i, t, g in movies]
    write_items(world.folder / "items.parquet", rows)
    with open(real_data / "freebase" / "ml2fb.txt", newline="") as stream:
        entity_of = dict(line.strip().split("\t") for line in stream)
    world.links({row["item_id"]: entity_of[row["item_id"]] for row in rows if row["item_id"] in entity_of})
    (world.kg / "dump.gz").symlink_to(real_data / "freebase" / "freebase-film-rdf.gz")
    counts = world.build(min_entity=2, min_relation=10)
    dump = counts["sources"]["rdf"]
    assert (world.counts["lines"], world.counts["malformed"]) == (950_869, 0)
    assert dump["titles_agreeing"] > 0.95 * dump["titles_compared"] > 3_000
    assert counts["linked_items_with_triples"] == counts["items_linked"] == 3_811
    assert 60_000 < counts["triples"] < 100_000
    assert 30 < counts["relations"] < 60
    directors = {tail for _, relation, tail in world.triples() if relation == "film.film.directed_by"}
    assert world.entities()["m.06pj8"]["name"] == "Steven Spielberg"
    assert "m.06pj8" in directors
