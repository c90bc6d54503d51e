from typing import Any

from kgrec.data.io import read_parquet
from kgrec.data.schemas import KEYS

NS, WD, WDT = "http://rdf.freebase.com/", "http://www.wikidata.org/entity/", "http://www.wikidata.org/prop/direct/"


def line(subject: str, predicate: str, value: str) -> str:
    return f"<{subject}>\t<{predicate}>\t{value}\t."


def test_entities_of_the_graph_keep_what_other_catalogues_call_them(world: Any) -> None:
    world.items(i1="Alien")
    film = NS + "ns/m.i1"
    world.dump(
        world.fact("m.i1", "film.film.directed_by", "m.d"),
        line(film, NS + "key/authority.imdb.title", '"tt0078748"'),
        line(film, NS + "key/wikipedia.en_title", '"Alien_$0028film$0029"'),
        line(film, NS + "key/wikipedia.de_title", '"Alien_$2013_Das_unheimliche_Wesen"'),
        line(NS + "ns/m.d", WDT + "P18", "<http://commons.wikimedia.org/wiki/Special:FilePath/Ridley%20Scott.jpg>"),
        line(NS + "ns/m.far", NS + "key/authority.imdb.title", '"tt0000001"'),
    )
    counts = world.build(metadata=[])
    rows = read_parquet(world.out / "keys.parquet", KEYS).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("m.d", "commons", "http://commons.wikimedia.org/wiki/Special:FilePath/Ridley%20Scott.jpg"),
        ("m.i1", "imdb", "tt0078748"),
        ("m.i1", "wikipedia", "de:Alien – Das unheimliche Wesen"),
        ("m.i1", "wikipedia", "en:Alien (film)"),
    ]
    assert counts["keys"] == 4


def test_a_graph_without_a_dump_has_no_keys(world: Any) -> None:
    world.items(i1="Alien")
    (world.kg / "films.kg").write_text("head_id:token\trelation_id:token\ttail_id:token\nm.i1\tgenre\tm.g\n")
    world.build(metadata=[])
    assert read_parquet(world.out / "keys.parquet", KEYS).num_rows == 0
