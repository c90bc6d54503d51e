import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from kgrec.errors import DataError
from kgrec.kg.readers import KgatFolder, metadata_triples, read_recbole_kg


def test_recbole_columns_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "x.kg"
    path.write_text(
        "tail_id:token\trelation_id:token\thead_id:token\n/m/b\thttp://rdf.freebase.com/ns/film.film.genre\tm.a\n\n"
    )
    assert list(read_recbole_kg(path)) == [("m.a", "film.film.genre", "m.b")]


@pytest.mark.parametrize(
    ("text", "line"),
    [("head\trel\ttail\n", 1), ("head_id:token\trelation_id:token\ttail_id:token\nm.a\tr\tm.b\nm.a\tr\n", 3)],
)
def test_recbole_names_the_line_at_fault(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "x.kg"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        list(read_recbole_kg(path))
    assert error.value.line == line


def kgat(folder: Path, triples: str) -> Path:
    (folder / "entity_list.txt").write_text("org_id remap_id\nm.045wq1q 0\nm.03_28m 1\nm.x 2\n")
    (folder / "relation_list.txt").write_text(
        "org_id remap_id\nhttp://rdf.freebase.com/ns/book.written_work.author 0\n"
    )
    (folder / "item_list.txt").write_text("org_id remap_id freebase_id\nB1 0 m.045wq1q\nB2 1 m.03_28m\n")
    path = folder / "kg_final.txt"
    path.write_text(triples)
    return path


def test_kgat_lists(tmp_path: Path) -> None:
    graph = KgatFolder(kgat(tmp_path, "0 0 2\n1 0 2\n"), {"B1": "m.045wq1q"})
    author = "book.written_work.author"
    assert list(graph.triples()) == [("m.045wq1q", author, "m.x"), ("m.03_28m", author, "m.x")]
    assert graph.items == 1


def test_kgat_zipped_as_published(tmp_path: Path) -> None:
    path = kgat(tmp_path, "0 0 2\n1 0 2\n")
    plain = list(KgatFolder(path, {}).triples())
    with zipfile.ZipFile(tmp_path / "kg_final.txt.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "kg_final.txt")
    path.unlink()
    assert list(KgatFolder(tmp_path / "kg_final.txt.zip", {}).triples()) == plain


def test_kgat_number_without_a_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"kg_final\.txt, line 2: '0 0 9'"):
        list(KgatFolder(kgat(tmp_path, "0 0 2\n0 0 9\n"), {}).triples())


def test_kgat_without_its_maps(tmp_path: Path) -> None:
    path = kgat(tmp_path, "0 0 2\n")
    (tmp_path / "relation_list.txt").unlink()
    with pytest.raises(DataError, match=r"needs r_map\.txt or relation_list\.txt"):
        KgatFolder(path, {})


def test_metadata_columns() -> None:
    items = pa.table(
        {"item_id": ["1", "2"], "genre": [["Drama", "N/A", ""], ["Drama"]], "actor": [[" Tom  Hanks "], []]}
    )
    assert list(metadata_triples(items, ["genre", "actor"], {"1": "m.a"})) == [
        ("m.a", "metadata.genre", "genre:Drama"),
        ("item:2", "metadata.genre", "genre:Drama"),
        ("m.a", "metadata.actor", "person:Tom Hanks"),
    ]


def test_published_graphs(real_data: Path) -> None:
    assert sum(1 for _ in read_recbole_kg(real_data / "recbole" / "films.kg")) == 91_631
    graph = KgatFolder(real_data / "dbpedia-ml-1m" / "kg_final.txt", {"761": "m.phantom"})
    triples = list(graph.triples())
    assert len(triples) == 205_521
    assert len(triples) - len(set(triples)) == 12_432
    assert graph.items == 1
    assert Counter(head for head, _, _ in triples)["m.phantom"] > 10
    assert "Monty Python's Life of Brian" in graph.names.values()
