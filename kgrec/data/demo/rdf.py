"""The world as lines of a Freebase dump: ``<subject>\\t<predicate>\\t<object>\\t.``, grouped by subject in the order
of ids.

As in the published dump, a performance is a mediator node (a CVT) between film, actor and character; some facts are
stored in both directions and some only in one, by either end; a few lines repeat; some entities have no name; and
most subjects are about things no film touches.
"""

from __future__ import annotations

from kgrec.data.demo.words import person_name, pick, place_name, translated
from kgrec.data.demo.world import CERTIFICATES, COUNTRIES, GENRES, Film, World, demo_mid, stream

_NS = "http://rdf.freebase.com/ns/"
_TYPE = "http://www.w3.org/1999/02/22-rdf-syntax-ns#type"
_XSD = "http://www.w3.org/2001/XMLSchema#"
_IMDB_KEY = "http://rdf.freebase.com/key/authority.imdb.title"


def dump_lines(world: World) -> list[str]:
    """All lines of the dump, without line ends."""
    dump = _Dump(world)
    dump.vocabulary()
    dump.people()
    for i, film in enumerate(world.films[:-1]):  # the last film is another one under a second id
        dump.film(i, film)
    dump.outside_films()
    dump.noise()
    return dump.lines()


class _Dump:
    """Facts collected so far, as (subject, rest of the line)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = stream(world.settings.seed, "rdf")
        self.facts: list[tuple[str, str]] = []
        self.ids: dict[str, str] = {}

    def lines(self) -> list[str]:
        """Sorted by subject, facts of one subject in the order they came, every 97th line twice."""
        ordered = sorted(self.facts, key=lambda fact: fact[0])
        lines = [f"<{_NS}{subject}>\t{rest}\t." for subject, rest in ordered]
        return [line for i, line in enumerate(lines) for _ in range(2 if i % 97 == 50 else 1)]

    def add(self, subject: str, predicate: str, value: str) -> None:
        """A fact whose object is an entity."""
        self.facts.append((subject, f"<{_NS}{predicate}>\t<{_NS}{value}>"))

    def both(self, subject: str, predicate: str, value: str, inverse: str) -> None:
        """A fact stored in both directions three times of five, else by one end alone."""
        draw = self.random.rand()
        if draw < 0.8:
            self.add(subject, predicate, value)
        if draw >= 0.8 or draw < 0.6:
            self.add(value, inverse, subject)

    def text(self, subject: str, predicate: str, value: str, language: str) -> None:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        self.facts.append((subject, f'<{_NS}{predicate}>\t"{escaped}"@{language}'))

    def kind(self, subject: str, *types: str) -> None:
        for name in types:
            self.add(subject, "type.object.type", name)
        self.facts.append((subject, f"<{_TYPE}>\t<{_NS}{types[0]}>"))

    def name(self, subject: str, name: str, *types: str) -> None:
        self.text(subject, "type.object.name", name, "en")
        self.kind(subject, *types)

    def node(self, group: str, name: str) -> str:
        """The id of a thing that is known by its name, e.g. a genre."""
        return self.ids.setdefault(f"{group}/{name}", demo_mid(group, sum(k.startswith(f"{group}/") for k in self.ids)))

    def vocabulary(self) -> None:
        """Genres, countries, languages, certificates and companies."""
        for genre in GENRES:
            self.name(self.node("g", genre), genre, "film.film_genre", "common.topic")
        for country in COUNTRIES:
            self.name(self.node("c", country), country, "location.country", "common.topic")
        for language in sorted(set(COUNTRIES.values())):
            self.name(self.node("l", language), f"{language} Language", "language.human_language", "common.topic")
        for certificate in CERTIFICATES:
            self.name(self.node("r", certificate), f"{certificate} (invented board)", "film.content_rating")
        self.companies = [f"{place_name(self.random)} Pictures" for _ in range(max(4, len(self.world.films) // 25))]
        for company in self.companies:
            self.name(self.node("o", company), company, "film.production_company", "common.topic")

    def people(self) -> None:
        directors = {film.director for film in self.world.films}
        producers = {film.producer for film in self.world.films}
        for i, person in enumerate(self.world.people):
            role = "director" if i in directors else "producer" if i in producers else "actor"
            if person.named:
                self.text(person.mid, "type.object.name", person.name, "en")
                if i % 6 == 0:
                    self.text(person.mid, "type.object.name", translated(person.name, "ja", self.random), "ja")
            self.kind(person.mid, "people.person", f"film.{role}", "common.topic")
            self.add(person.mid, "people.person.nationality", self.node("c", person.country))
            self.add(person.mid, "people.person.gender", self.node("x", person.gender))
            if i % 4 == 0:
                self.text(
                    person.mid, "common.topic.description",
                    f'{person.name}, called "{person.name.split()[0]}", is an invented {role} from {person.country}.'
                    "\nNo such person exists.", "en",
                )  # fmt: skip
        for gender in ("Female", "Male"):
            self.name(self.node("x", gender), gender, "people.gender")

    def film(self, i: int, film: Film) -> None:
        mid, random = film.mid, self.random
        if i % 60 == 33:  # linked, but the dump says nothing of it
            return
        self.text(mid, "type.object.name", film.title, "en")
        for language in ("fr", "de", "sv", "ja"):
            if random.rand() < 0.2:
                self.text(mid, "type.object.name", translated(film.title, language, random), language)
        self.kind(mid, "film.film", "common.topic")
        self.both(mid, "film.film.directed_by", self.world.people[film.director].mid, "film.director.film")
        self.both(mid, "film.film.produced_by", self.world.people[film.producer].mid, "film.producer.film")
        for genre in film.genres:
            self.both(mid, "film.film.genre", self.node("g", genre), "film.film_genre.films_in_this_genre")
        self.add(mid, "film.film.country", self.node("c", film.country))
        self.add(mid, "film.film.language", self.node("l", COUNTRIES[film.country]))
        self.both(mid, "film.film.rating", self.node("r", film.certificate), "film.content_rating.film")
        company = self.node("o", pick(random, self.companies))
        self.both(mid, "film.film.production_companies", company, "film.production_company.films")
        if i % 23 == 4:
            self.both(mid, "film.film.sequel", self.world.films[i + 1].mid, "film.film.prequel")
        for k, (actor, character) in enumerate(zip(film.actors, film.characters, strict=True)):
            self._performance(i, k, film, self.world.people[actor].mid, character)
        date, form = (film.released, "date") if i % 3 == 0 else (str(film.year), "gYear")
        self.facts.append((mid, f'<{_NS}film.film.initial_release_date>\t"{date}"^^<{_XSD}{form}>'))
        if i % 2 == 0:
            self._regional_release(i, film)
        if random.rand() < 0.7:
            self.facts.append((mid, f'<{_IMDB_KEY}>\t"{film.imdb_id}"'))
        if random.rand() < 0.3:
            director = self.world.people[film.director].name
            self.text(
                mid, "common.topic.description",
                f'"{film.title}" is an invented {film.year} film from {film.country}, directed by {director}.', "en",
            )  # fmt: skip

    def _performance(self, i: int, k: int, film: Film, actor: str, character: str) -> None:
        node = demo_mid("v", 10 * i + k)
        self.kind(node, "film.performance")
        self.add(film.mid, "film.film.starring", node)
        self.add(node, "film.performance.film", film.mid)
        self.add(node, "film.performance.actor", actor)
        self.add(actor, "film.actor.film", node)
        part = f"g.11demo_h{10 * i + k:04d}"
        self.add(node, "film.performance.character", part)
        self.add(part, "film.film_character.portrayed_in_films", node)
        if character:
            self.name(part, character, "film.film_character", "common.topic")
        else:
            self.kind(part, "film.film_character")

    def _regional_release(self, i: int, film: Film) -> None:
        node = demo_mid("d", i)
        self.kind(node, "film.film_regional_release_date")
        self.add(film.mid, "film.film.release_date_s", node)
        self.add(node, "film.film_regional_release_date.film", film.mid)
        self.add(node, "film.film_regional_release_date.film_release_region", self.node("c", film.country))
        self.facts.append(
            (node, f'<{_NS}film.film_regional_release_date.release_date>\t"{film.released}"^^<{_XSD}date>')
        )  # fmt: skip

    def outside_films(self) -> None:
        """Films of the dump that the catalogue does not have."""
        for i in range(len(self.world.films) // 10):
            mid = demo_mid("q", i)
            self.name(mid, f"Lost Film of {place_name(self.random)}", "film.film", "common.topic")
            self.add(mid, "film.film.directed_by", self.world.people[i % 5].mid)

    def noise(self) -> None:
        """Bands, records and football teams."""
        n = 2 * len(self.world.films)
        for i in range(n):
            band, record = demo_mid("b", i), demo_mid("a", i)
            self.name(band, f"The {place_name(self.random)}s", "music.artist", "common.topic")
            self.name(record, f"{place_name(self.random)} Sessions", "music.album")
            self.both(band, "music.artist.album", record, "music.album.artist")
            if i % 3 == 0:
                team = demo_mid("t", i)
                self.name(
                    team, f"{place_name(self.random)} {person_name(self.random).split()[1]}", "soccer.football_team"
                )
                self.add(team, "sports.sports_team.location", demo_mid("t", (i + 3) % n // 3 * 3))
