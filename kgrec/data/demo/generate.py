"""Writing the demo world as the files that real sources publish, so that the demo runs the same readers as real data.

===================================  ==================================================================
``ratings/ml-demo.zip``              MovieLens-1M's layout: ``ratings.dat``, ``movies.dat``, ``users.dat``
                                     (``::``, latin-1) and a ``README``
``links/ml2fb-demo.txt``             KB4Rec's ``id<TAB>mid`` with CRLF; a few films are missing, two share
                                     an entity, one id is unknown
``kg/freebase-demo.gz``              Freebase's RDF dump, see :mod:`kgrec.data.demo.rdf`
``posters/posters.zip``              ``<movieId>.jpg``; some missing, damaged or alike
``texts/omdb_metadata.jsonl.gz``     one OMDb record per film, with a one-sentence plot
``texts/movies_extrainfos.dat.gz``   full plots (``::``, UTF-8, CRLF)
===================================  ==================================================================

Equal settings give equal bytes; only JPEG and compression may differ between versions of Pillow and zlib.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

from PIL import Image

from kgrec.data.demo import words
from kgrec.data.demo.posters import LOOKS, PLACEHOLDER, draw_poster, jpeg
from kgrec.data.demo.rdf import dump_lines
from kgrec.data.demo.world import COUNTRIES, DemoSettings, Film, World, make_world, stream
from kgrec.data.io import atomic_file
from kgrec.progress import item_progress

_README = """\
SYNTHETIC DATA
================================================================================

This archive was generated (seed {seed}). No film, person, user or rating in it
exists. It has the layout of MovieLens-1M and none of its content, and it serves
to run a pipeline, never as evidence of a model's accuracy.

{ratings} ratings of {items} films by {users} users.

RATINGS FILE  UserID::MovieID::Rating::Timestamp   1 to 5 stars, seconds since 1970 UTC
USERS FILE    UserID::Gender::Age::Occupation::Zip-code
MOVIES FILE   MovieID::Title (year)::Genres        genres separated by |, latin-1

No rights are reserved (CC0 1.0).
"""
_GENDERS = ("F", "M")
_AGES = ("1", "18", "25", "35", "45", "50", "56")


def generate(raw: Path, settings: DemoSettings) -> dict[str, Any]:
    """Write the demo world under ``raw/<role>/`` in published formats.

    :param raw: folder of the roles ``ratings``, ``links``, ``kg``, ``posters`` and ``texts``; made where absent
    :returns: counts of what was written and planted, and the SHA-256 of the placeholder poster
    """
    world = make_world(settings)
    written = {role: raw / role for role in ("ratings", "links", "kg", "posters", "texts")}
    for folder in written.values():
        folder.mkdir(parents=True, exist_ok=True)
    _write_ratings(world, written["ratings"] / "ml-demo.zip")
    links = _link_lines(world)
    with atomic_file(written["links"] / "ml2fb-demo.txt") as path:
        path.write_bytes(_text(links, end="\r\n").encode())
    dump = dump_lines(world)
    _write_gzip(_text(dump).encode(), written["kg"] / "freebase-demo.gz")
    posters = _write_posters(world, written["posters"] / "posters.zip")
    records = [json.dumps(_omdb(world, film), ensure_ascii=False) for film in world.films]
    _write_gzip(_text(records).encode(), written["texts"] / "omdb_metadata.jsonl.gz")
    extras = [_extra(world, film) for film in world.films]
    _write_gzip(_text(extras, end="\r\n").encode(), written["texts"] / "movies_extrainfos.dat.gz")
    stars, taste = Counter(world.rating.tolist()), Counter(user.kind for user in world.users)
    follows = world.liked[world.rating_user, world.rating_film]
    return {
        "synthetic": True,
        "seed": settings.seed,
        "users": len(world.users),
        "items": len(world.films),
        "ratings": len(world.rating),
        "ratings_by_stars": {str(star): stars[star] for star in range(1, 6)},
        "users_by_taste": dict(sorted(taste.items())),
        "positive_ratings_that_follow_taste": round(float(follows[world.rating >= 3].mean()), 4),
        "late_items": sum(film.late for film in world.films),
        "links": len(links),
        "kg_lines": len(dump),
        "posters": posters,
        "items_without_plot": sum(not film.short_plot and not film.full_plot for film in world.films),
        "placeholder_sha256": hashlib.sha256(PLACEHOLDER).hexdigest(),
    }


def _text(lines: Iterable[str], end: str = "\n") -> str:
    return "".join(f"{line}{end}" for line in lines)


def _write_gzip(content: bytes, target: Path) -> None:
    """No name and no time in the header."""
    with atomic_file(target) as path:
        path.write_bytes(gzip.compress(content, compresslevel=6, mtime=0))


def _write_zip(members: Iterable[tuple[str, bytes]], target: Path, compression: int) -> None:
    """In the given order, dated 1 January 1980."""
    with atomic_file(target) as path, zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"Synthetic demo data. Nothing in it exists."
        for name, content in members:
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.external_attr, member.create_system = 0o644 << 16, 3
            archive.writestr(member, content, compress_type=compression)


def _write_ratings(world: World, target: Path) -> None:
    random = stream(world.settings.seed, "demographics")
    ratings = _text(
        f"{world.users[u].user_id}::{world.films[f].item_id}::{stars}::{seconds}"
        for u, f, stars, seconds in zip(
            world.rating_user, world.rating_film, world.rating, world.timestamp, strict=True
        )
    )
    movies = _text(
        f"{film.item_id}::{words.catalogue_title(film.title, film.year)}::{'|'.join(film.genres)}"
        for film in world.films
    )
    users = _text(
        f"{user.user_id}::{words.pick(random, _GENDERS)}::{words.pick(random, _AGES)}"
        f"::{random.randint(21)}::{random.randint(100_000):05d}"
        for user in world.users
    )
    readme = _README.format(
        seed=world.settings.seed, ratings=len(world.rating), items=len(world.films), users=len(world.users)
    )
    members = {"README": readme, "movies.dat": movies, "ratings.dat": ratings, "users.dat": users}
    _write_zip(
        ((f"ml-demo/{name}", content.encode("latin-1")) for name, content in members.items()),
        target,
        zipfile.ZIP_DEFLATED,
    )


def _link_lines(world: World) -> list[str]:
    """As in KB4Rec, which covers more films than one catalogue, the last line is about an id the catalogue lacks."""
    lines = [f"{film.item_id}\t{film.mid}" for film in world.films if film.linked]
    return [*lines, f"{world.films[-1].item_id + 100}\tm.0demo_q0000"]


def _write_posters(world: World, target: Path) -> dict[str, int]:
    shown = [film for film in world.films if film.poster != "missing"]
    with item_progress("draw posters", total=len(shown)) as bar:

        def members() -> Iterator[tuple[str, bytes]]:
            for film in shown:
                yield f"{film.item_id}.jpg", _poster(world, film)
                bar.advance()

        _write_zip(members(), target, zipfile.ZIP_STORED)
    return dict(sorted(Counter(film.poster for film in world.films).items()))


def _poster(world: World, film: Film) -> bytes:
    if film.poster == "placeholder":
        return PLACEHOLDER
    random = stream(world.settings.seed, "poster", film.art)
    image: Image.Image = draw_poster(LOOKS[film.look], film.title, random)
    content = jpeg(image.convert("L") if film.poster == "grey" else image)
    return content[: len(content) // 2] if film.poster == "truncated" else content


def _omdb(world: World, film: Film) -> dict[str, Any]:
    """An OMDb record with the two ids of the catalogue in front; what is unknown is ``N/A``, as OMDb writes it."""
    random = stream(world.settings.seed, "omdb", film.item_id)
    score = f"{random.randint(40, 91) / 10:.1f}"
    people = world.people
    return {
        "movie_id": film.item_id, "ml_title": words.catalogue_title(film.title, film.year),
        "ml_imdbId": film.imdb_id[2:],
        "Title": film.title, "Year": str(film.year), "Rated": film.certificate, "Released": _day(film.released),
        "Runtime": f"{film.runtime} min", "Genre": ", ".join(film.genres), "Director": people[film.director].name,
        "Writer": f"{people[film.director].name} (screenplay by)" if random.rand() < 0.6 else "N/A",
        "Actors": ", ".join(people[actor].name for actor in film.actors), "Plot": film.short_plot or "N/A",
        "Language": COUNTRIES[film.country], "Country": film.country, "Awards": "N/A", "Poster": "N/A",
        "Ratings": [{"Source": "Synthetic demo world", "Value": f"{score}/10"}], "Metascore": "N/A",
        "imdbRating": "N/A",
        "imdbVotes": "N/A", "imdbID": film.imdb_id, "Type": "movie", "DVD": "N/A", "BoxOffice": "N/A",
        "Production": "Synthetic demo world", "Website": "N/A", "Response": "True",
    }  # fmt: skip


def _extra(world: World, film: Film) -> str:
    people = world.people
    director = people[film.director].name
    return "::".join((
        str(film.item_id), film.title, str(film.year), film.certificate, _day(film.released), ", ".join(film.genres),
        director,
        f"{director} (screenplay)", ", ".join(people[actor].name for actor in film.actors), film.full_plot or "N/A",
        "N/A",
    ))  # fmt: skip


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _day(text: str) -> str:
    """``1995-11-22`` as OMDb's ``22 Nov 1995``, whatever the locale."""
    day = date.fromisoformat(text)
    return f"{day.day:02d} {_MONTHS[day.month - 1]} {day.year}"
