"""A vocabulary says what the predicates of a knowledge base mean: which are names, types, dates, and ids elsewhere.

Freebase, Wikidata, and the common RDF vocabularies are known. Predicates are spelt as in the store: Freebase's without
namespace, its keys as ``key/<namespace>``, Wikidata's direct properties as ``wdt:P<n>``, others as URIs.
"""

from __future__ import annotations

RDFS = "http://www.w3.org/2000/01/rdf-schema#"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SKOS = "http://www.w3.org/2004/02/skos/core#"
SCHEMA = "http://schema.org/"

NAMES = ("type.object.name", RDFS + "label", SKOS + "prefLabel", SCHEMA + "name")
ALIASES = ("common.topic.alias", SKOS + "altLabel", "http://dbpedia.org/ontology/alias")
DESCRIPTIONS = (
    "common.topic.description", RDFS + "comment", SCHEMA + "description", "http://dbpedia.org/ontology/abstract",
)  # fmt: skip
TYPES = ("type.object.type", RDF + "type", "wdt:P31")

#: dates by which editions of one work are told apart; a literal begins with the year
DATES = (
    "film.film.initial_release_date", "tv.tv_program.air_date_of_first_episode", "music.release.date",
    "music.album.release_date", "book.written_work.date_of_first_publication", "book.written_work.copyright_date",
    "book.book_edition.publication_date", "wdt:P577", "wdt:P580", "http://dbpedia.org/ontology/releaseDate",
)  # fmt: skip

#: scheme -> predicates (globs) whose literal is the entity's id there
CROSS_IDS: dict[str, tuple[str, ...]] = {
    "imdb_id": ("key/authority.imdb.title", "imdb.topic.title_id", "wdt:P345"),
    "tmdb_id": ("key/authority.tmdb.movie", "wdt:P4947"),
    "isbn": (
        "key/authority.isbn", "book.isbn.isbn", "book.book_edition.ISBN",
        "media_common.cataloged_instance.isbn13", "wdt:P212", "wdt:P957",
    ),
    "asin": ("key/authority.asin", "wdt:P5749"),
    "freebase_id": ("wdt:P646",),
    "wikipedia": ("key/wikipedia.*_title",),
}  # fmt: skip

#: file names of pictures in Wikimedia Commons
PICTURES = ("wdt:P18",)

#: predicates (globs) kept with their literal, or with a URI where Wikidata writes one (P18)
LITERALS = (*DATES, *(p for group in CROSS_IDS.values() for p in group), *PICTURES)
