"""Small sources in the published formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

RATINGS = "1::10::5::978300760\n1::20::3::978302109\n2::10::2::978301968\n3::30::4::978300275\n"
MOVIES = "10::Toy Story (1995)::Animation|Comedy\n20::Misérables, Les (1998)::Drama\n30::Jumanji (1995)::Adventure\n"
USERS = "1::F::1::10::48067\n2::M::56::16::70072\n3::M::25::15::55117\n"

Write = Callable[..., Path]


@pytest.fixture
def source(tmp_path: Path) -> Write:
    """Write files, content by name, into a folder and give the folder."""

    def write(files: dict[str, str | bytes], folder: str = "ratings") -> Path:
        for name, content in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / folder

    return write


@pytest.fixture
def movielens(source: Write) -> Callable[..., Path]:
    """A three-user ``::`` set, unpacked; keywords replace the content of a file."""

    def write(ratings: str | bytes = RATINGS, movies: str | bytes = MOVIES, users: str | bytes = USERS) -> Path:
        encoded = movies.encode("latin-1") if isinstance(movies, str) else movies
        return source({"ratings.dat": ratings, "movies.dat": encoded, "users.dat": users})

    return write
