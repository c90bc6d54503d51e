import pytest

from kgrec.kg.ids import normalise_entity


@pytest.mark.parametrize(
    "text",
    [
        "m.0dyb1", "/m/0dyb1", "/entity/m.0dyb1", "fb:m.0dyb1", " m.0dyb1\r", "<http://rdf.freebase.com/ns/m.0dyb1>",
        "http://rdf.freebase.com/ns/m.0dyb1", "https://www.freebase.com/m/0dyb1", "http://rdf.freebase.com/ns/m/0dyb1",
        "http://www.freebase.com/entity/m.0dyb1",
    ],
)  # fmt: skip
def test_every_spelling_of_a_mid_is_one_id(text: str) -> None:
    assert normalise_entity(text) == "m.0dyb1"


def test_newer_ids_keep_their_letter() -> None:
    assert normalise_entity("/g/11b7_x") == "g.11b7_x"


@pytest.mark.parametrize(
    "uri", ["http://dbpedia.org/resource/m.x", "http://dbpedia.org/resource/M/0a", "Q42", "m.", "am.x"]
)
def test_other_ids_stay_as_given(uri: str) -> None:
    assert normalise_entity(f"<{uri}>") == uri
    assert normalise_entity(uri) == uri
