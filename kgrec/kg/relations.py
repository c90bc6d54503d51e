"""Relations known beforehand: those that say nothing about taste, those that leak the target, and pairs of one fact.

A fact leaks the target when it came from what users did or chose: then it says whom an item pleased instead of what the
item is, and a model that reads it is measured on its own answer. Each pattern stands with its reason; patterns are
globs over relation names as a dump or a ready-made graph spells them (``film.film.genre``, ``wdt:P444``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_TYPES = "what kind of record this is; the types of entities are read apart from the facts"
_KEYS = "keys into other catalogues, one per entity"
_UPKEEP = "upkeep of the knowledge base, not a fact about the world"
_PRIVATE = "a contributor's own drafts and lists, unchecked"
_PAGES = "pages, pictures and documents about the entity"
_CONTACT = "how to reach somebody"
_LICENCE = "terms of a text or picture"

#: pattern -> reason: says nothing about what an item is like
BOOKKEEPING: dict[str, str] = {
    "type.*": _TYPES,
    "key.*": _KEYS,
    "key/*": _KEYS,
    "http://rdf.freebase.com/key/*": _KEYS,
    "http://www.w3.org/*": _TYPES,
    "freebase.*": _UPKEEP,
    "dataworld.*": _UPKEEP,
    "kg.object_profile.*": _UPKEEP,
    "pipeline.*": _UPKEEP,
    "base.schemastaging.*": _PRIVATE,
    "base.yupgrade.*": _PRIVATE,
    "user.*": _PRIVATE,
    "common.topic.*": _PAGES,
    "common.webpage.*": _PAGES,
    "common.document.*": _PAGES,
    "common.image.*": _PAGES,
    "common.resource.*": _PAGES,
    "common.notable_for.*": "a summary of the types, for display",
    "common.licensed_object.*": _LICENCE,
    "common.phone_number.*": _CONTACT,
    "media_common.cataloged_instance.*": _KEYS,
}

_RATED = "ratings and reviews are given by those whose ratings are to be predicted"
_LIKENESS = "likeness computed from what users chose together"
_AUDIENCE = "money taken counts the audience: popularity, known only afterwards"
_PLACES = "places in lists and charts: polls and sales, known only afterwards"
_COUNTED = "how many users saw, played or liked it: popularity, known only afterwards"
_SHELVES = "shelves of a shop, arranged by what its customers take"
_LIKED = "somebody's declared taste"
_VOTED = "an award by the audience's vote"

#: pattern -> reason: known only from what users did or chose
LEAKS: dict[str, str] = {
    "*user_rating*": _RATED,
    "*viewer_rating*": _RATED,
    "*average_rating*": _RATED,
    "*aggregate_rating*": _RATED,
    "*review_score*": _RATED,
    "http://schema.org/aggregateRating": _RATED,
    "http://schema.org/review*": _RATED,
    "wdt:P444": _RATED,  # review score
    "*similar*": _LIKENESS,
    "*also_bought*": _LIKENESS,
    "*also_viewed*": _LIKENESS,
    "*bought_together*": _LIKENESS,
    "*buy_after_viewing*": _LIKENESS,
    "*gross_revenue*": _AUDIENCE,
    "*box_office*": _AUDIENCE,
    "http://dbpedia.org/*/gross": _AUDIENCE,
    "wdt:P2142": _AUDIENCE,  # box office
    "*award.ranked_item.*": _PLACES,
    "*award.ranked_list.*": _PLACES,
    "*award.ranking.*": _PLACES,
    "*chart_position*": _PLACES,
    "*best_seller*": _PLACES,
    "*bestseller*": _PLACES,
    "wdt:P1352": _PLACES,  # ranking
    "*popularity*": _COUNTED,
    "*view_count*": _COUNTED,
    "*play_count*": _COUNTED,
    "*.netflix_*": _SHELVES,
    "*favorite*": _LIKED,
    "*favourite*": _LIKED,
    "*audience_award*": _VOTED,
    "*people_s_choice*": _VOTED,
    "*viewers_choice*": _VOTED,
}

#: left out by default
DENIED: dict[str, str] = BOOKKEEPING | LEAKS

#: pattern of a name in lower case -> who votes. Juries and audiences hand out their awards through the same relations, so it
#: is the award, or its ceremony, that leaks, with every fact stated through it
VOTED_AWARDS: dict[str, str] = {
    "*audience award*": "the audience of a festival",
    "*audience choice*": "the audience",
    "*people's choice*": "the audience, or anyone in a poll",
    "*viewers' choice*": "viewers",
    "*readers' choice*": "readers of a magazine or a site",
    "*mtv movie award*": "viewers of MTV",
    "*mtv movie & tv award*": "viewers of MTV",
    "*teen choice*": "anyone between 13 and 19",
    "*kids' choice*": "children who watch Nickelodeon",
    "*blockbuster entertainment award*": "customers of a video shop",
    "*empire award*": "readers of a film magazine",
    "*scream award*": "viewers of Spike",
    "*national movie award*": "viewers of ITV",
    "*goodreads choice*": "members of Goodreads",
    "*locus award*": "readers of a magazine",
}

#: names that stand for a whole group of patterns in ``relations_deny``
GROUPS: dict[str, dict[str, str]] = {"default": DENIED, "bookkeeping": BOOKKEEPING, "leaks": LEAKS}

_ASKED = "named in kg.relations_deny"


def spell_out(deny: Iterable[str] | Mapping[str, str]) -> dict[str, str]:
    """Pattern -> reason of a deny list, group names replaced by their patterns.

    :param deny: patterns and group names, or a mapping of these to reasons; a group's patterns keep their own
    """
    given = deny if isinstance(deny, Mapping) else dict.fromkeys(deny, _ASKED)
    patterns: dict[str, str] = {}
    for name, reason in given.items():
        for pattern, why in GROUPS.get(name, {name: DENIED.get(name, reason)}).items():
            patterns.setdefault(pattern, why)
    return patterns


#: Freebase's own pairs of a property and its reverse, for the domains people recommend in
INVERSES = (
    ("film.film.directed_by", "film.director.film"),
    ("film.film.written_by", "film.writer.film"),
    ("film.film.produced_by", "film.producer.film"),
    ("film.film.executive_produced_by", "film.producer.films_executive_produced"),
    ("film.film.cinematography", "film.cinematographer.film"),
    ("film.film.edited_by", "film.editor.film"),
    ("film.film.music", "film.music_contributor.film"),
    ("film.film.story_by", "film.film_story_contributor.film_story_credits"),
    ("film.film.costume_design_by", "film.film_costumer_designer.costume_design_for_film"),
    ("film.film.film_art_direction_by", "film.film_art_director.films_art_directed"),
    ("film.film.film_casting_director", "film.film_casting_director.films_casting_directed"),
    ("film.film.film_production_design_by", "film.film_production_designer.films_production_designed"),
    ("film.film.film_set_decoration_by", "film.film_set_designer.film_sets_designed"),
    ("film.film.genre", "film.film_genre.films_in_this_genre"),
    ("film.film.subjects", "film.film_subject.films"),
    ("film.film.rating", "film.content_rating.film"),
    ("film.film.production_companies", "film.production_company.films"),
    ("film.film.featured_film_locations", "film.film_location.featured_in_films"),
    ("film.film.film_series", "film.film_series.films_in_series"),
    ("film.film.featured_song", "film.film_song.film"),
    ("film.film.film_festivals", "film.film_festival_event.films"),
    ("film.film.prequel", "film.film.sequel"),
    ("film.film.starring", "film.performance.film"),
    ("film.actor.film", "film.performance.actor"),
    ("film.film.other_crew", "film.film_crew_gig.film"),
    ("film.film_crewmember.films_crewed", "film.film_crew_gig.crewmember"),
    ("film.film_job.films_with_this_crew_job", "film.film_crew_gig.film_crew_role"),
    ("film.film.release_date_s", "film.film_regional_release_date.film"),
    ("film.film.distributors", "film.film_film_distributor_relationship.film"),
    ("film.film_distributor.films_distributed", "film.film_film_distributor_relationship.distributor"),
    ("film.film.personal_appearances", "film.personal_film_appearance.film"),
    ("film.person_or_entity_appearing_in_film.films", "film.personal_film_appearance.person"),
    ("award.award_nominated_work.award_nominations", "award.award_nomination.nominated_for"),
    ("award.award_nominee.award_nominations", "award.award_nomination.award_nominee"),
    ("award.award_category.nominees", "award.award_nomination.award"),
    ("award.award_winning_work.awards_won", "award.award_honor.honored_for"),
    ("award.award_winner.awards_won", "award.award_honor.award_winner"),
    ("award.award_category.winners", "award.award_honor.award"),
    ("award.award_ceremony.awards_presented", "award.award_honor.ceremony"),
    ("book.written_work.author", "book.author.works_written"),
    ("book.written_work.subjects", "book.book_subject.works"),
    ("book.book.genre", "media_common.literary_genre.books_in_this_genre"),
    ("book.book.characters", "book.book_character.appears_in_book"),
    ("book.written_work.part_of_series", "book.literary_series.works_in_this_series"),
    ("book.written_work.previous_in_series", "book.written_work.next_in_series"),
    ("book.book.editions", "book.book_edition.book"),
    ("music.album.artist", "music.artist.album"),
    ("music.recording.artist", "music.artist.track"),
    ("music.artist.genre", "music.genre.artists"),
    ("music.album.genre", "music.genre.albums"),
    ("people.person.place_of_birth", "location.location.people_born_here"),
    ("people.person.profession", "people.profession.people_with_this_profession"),
    ("people.person.ethnicity", "people.ethnicity.people"),
    ("people.person.parents", "people.person.children"),
    ("location.location.containedby", "location.location.contains"),
)  # fmt: skip
