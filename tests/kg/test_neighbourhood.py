"""Mediators, hops and directions, seen through the triples that come out."""

STARRING = "film.film.starring..film.performance.actor"
FILM, ACTOR = "film.performance.film", "film.performance.actor"


def performance(world, *edges: tuple[str, str, str]) -> list[str]:
    """The mediator ``m.p…`` of the edges, with its type."""
    node = next(end for end in (edges[0][0], edges[0][2]) if end.startswith("m.p"))
    return world.cvt(node, "film.performance", *edges)


def test_a_performance_becomes_one_relation(world) -> None:
    world.items(i1="Alien")
    world.dump(
        world.name("m.actor", "Sigourney Weaver"),
        *performance(world, ("m.p1", FILM, "m.i1"), ("m.p1", ACTOR, "m.actor")),
        world.fact("m.i1", "film.film.starring", "m.p1"),
        world.fact("m.actor", "film.actor.film", "m.p1"),
    )
    counts = world.build(metadata=[])
    assert world.triples() == {("m.i1", STARRING, "m.actor")}
    assert counts["sources"]["rdf"]["mediators"] == 1
    assert "m.p1" not in world.entities()


def test_whichever_end_states_the_fact_the_relation_is_the_same(world) -> None:
    world.items(i1="Alien", i2="Aliens", i3="Ghost")
    world.dump(
        *performance(world, ("m.i1", "film.film.starring", "m.p1"), ("m.p1", ACTOR, "m.a")),
        *performance(world, ("m.p2", FILM, "m.i2"), ("m.a", "film.actor.film", "m.p2")),
        *performance(world, ("m.p3", FILM, "m.i3"), ("m.p3", ACTOR, "m.a")),
    )
    world.build(metadata=[])
    assert world.triples() == {(f"m.i{n}", STARRING, "m.a") for n in (1, 2, 3)}


def test_a_property_whose_reverse_is_unknown_gets_a_tilde(world) -> None:
    world.items(i1="Alien")
    world.dump(*world.cvt("m.p1", "x.prize", ("m.p1", "x.prize.work", "m.i1"), ("m.p1", "x.prize.giver", "m.g")))
    world.build(metadata=[])
    # the pair is read from the item, as ~x.prize.work, to the giver
    assert world.triples() == {("m.i1", "~x.prize.work..x.prize.giver", "m.g")}


def test_a_mediator_of_three_parties_gives_two_facts_of_the_item(world) -> None:
    world.items(i1="Alien")
    edges = [
        ("m.i1", "film.film.starring", "m.p"),
        ("m.p", "film.performance.actor", "m.a"),
        ("m.p", "film.performance.character", "m.c"),
    ]
    world.dump(*world.cvt("m.p", "film.performance", *edges))
    world.build(metadata=[])
    assert world.triples() == {
        ("m.i1", STARRING, "m.a"),
        ("m.i1", "film.film.starring..film.performance.character", "m.c"),
    }


def test_two_items_of_one_mediator_are_joined_once(world) -> None:
    world.items(i1="Alien", i2="Aliens")
    edges = [
        ("m.n", "award.award_nomination.nominated_for", "m.i1"),
        ("m.n", "award.award_nomination.nominated_for", "m.i2"),
    ]
    world.dump(*world.cvt("m.n", "award.award_nomination", *edges))
    world.build(metadata=[])
    relation = "award.award_nominated_work.award_nominations..award.award_nomination.nominated_for"
    assert world.triples() == {("m.i1", relation, "m.i2")}


def test_topics_are_no_mediators(world) -> None:
    """A node with a name, a common.topic, and one of a type whose nodes have names stay entities."""
    world.items(i1="Alien")
    world.dump(
        *[world.fact("m.i1", "film.film.directed_by", node) for node in ("m.named", "m.topic", "m.person", "m.bare")],
        world.name("m.named", "Ridley Scott", "ja"),
        world.fact("m.named", "type.object.type", "people.person"),
        world.fact("m.topic", "type.object.type", "common.topic"),
        world.fact("m.person", "type.object.type", "people.person"),
    )
    counts = world.build(metadata=[])
    assert {tail for _, _, tail in world.triples()} == {"m.named", "m.topic", "m.person", "m.bare"}
    assert counts["sources"]["rdf"]["mediators"] == 0


def test_mediators_can_be_kept(world) -> None:
    world.items(i1="Alien")
    world.dump(
        *world.cvt(
            "m.p", "film.performance", ("m.i1", "film.film.starring", "m.p"), ("m.p", "film.performance.actor", "m.a")
        )
    )
    world.build(metadata=[], collapse_mediators=False)
    assert world.triples() == {("m.i1", "film.film.starring", "m.p")}


def test_hops(world) -> None:
    world.items(i1="Alien")
    world.dump(
        world.fact("m.i1", "film.film.directed_by", "m.d"),
        world.fact("m.d", "people.person.nationality", "m.uk"),
        world.fact("m.uk", "location.country.capital", "m.london"),
        world.fact("m.other", "film.film.directed_by", "m.d"),
        *world.cvt(
            "m.w",
            "award.award_honor",
            ("m.d", "award.award_winner.awards_won", "m.w"),
            ("m.w", "award.award_honor.award", "m.oscar"),
        ),
    )
    world.build(metadata=[])
    one = {("m.i1", "film.film.directed_by", "m.d")}
    assert world.triples() == one
    world.build(metadata=[], hops=2)
    two = one | {
        ("m.d", "people.person.nationality", "m.uk"),
        ("m.other", "film.film.directed_by", "m.d"),
        ("m.oscar", "award.award_category.winners..award.award_honor.award_winner", "m.d"),
    }
    assert world.triples() == two
    counts = world.build(metadata=[], hops=2, hub_degree=2)
    assert world.triples() == one
    assert counts["sources"]["rdf"]["hubs_not_expanded"] == 1
