from kgrec.kg.store import ExtractSettings


def test_names_and_descriptions_by_preferred_language(world) -> None:
    world.extract = ExtractSettings(languages=("en", "fr"))
    world.items(i1="Alien", i2="Ran")
    world.dump(
        world.fact("m.i1", "film.film.genre", "m.g"),
        world.fact("m.i1", "film.film.country", "m.c"),
        world.fact("m.i1", "film.film.subjects", "m.s"),
        world.name("m.i1", "異星人", "ja"),
        world.name("m.i1", "Alien"),
        world.name("m.g", "Horreur", "fr"),
        world.name("m.g", 'Horror \\u2013 \\"dark\\"', "en-GB"),
        world.name("m.c", "Royaume-Uni", "fr"),
        world.fact("m.s", "type.object.name", '"space"'),
        world.fact("m.i1", "common.topic.description", '"In space\\nno one"@en'),
        world.fact("m.i1", "common.topic.description", '"Dans l’espace"@fr'),
    )
    world.build(metadata=[])
    rows = world.entities()
    assert rows["m.i1"]["name"] == "Alien"
    assert rows["m.i1"]["description"] == "In space\nno one"
    assert rows["m.g"]["name"] == 'Horror – "dark"'
    assert rows["m.c"]["name"] is None
    assert rows["m.s"]["name"] == "space"
    assert rows["m.i2"]["name"] == "Ran"  # linked, without a fact: named after the item
    world.build(metadata=[], languages=["fr", "en"])
    rows = world.entities()
    assert [rows[node]["name"] for node in ("m.i1", "m.g", "m.c")] == ["Alien", "Horreur", "Royaume-Uni"]
    assert rows["m.i1"]["description"] == "Dans l’espace"


def test_types(world) -> None:
    world.items(i1="Alien")
    stated = [("m.d", t) for t in ("common.topic", "people.person", "base.x.y")] + [
        ("m.w", "people.person"),
        ("m.w", "film.writer"),
    ]
    world.dump(
        world.fact("m.i1", "film.film.directed_by", "m.d"),
        world.fact("m.i1", "film.film.written_by", "m.w"),
        world.fact("m.i1", "film.film.genre", "m.g"),
        world.name("m.d", "Ridley Scott"),
        world.name("m.w", "Dan O'Bannon"),
        *[world.fact(node, "type.object.type", kind) for node, kind in stated],
    )
    world.build(metadata=[])
    types = {node: row["type"] for node, row in world.entities().items()}
    assert types == {"m.i1": "film.film", "m.d": "people.person", "m.w": "people.person", "m.g": "film.film_genre"}
