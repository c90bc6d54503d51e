"""Answers are written by hand after https://www.mediawiki.org/wiki/API:Imageinfo (formatversion 2, with extmetadata),
https://en.wikipedia.org/api/rest_v1/ (page/summary) and https://www.wikidata.org/w/api.php?action=help&modules=wbgetentities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kgrec.config import parse_settings
from kgrec.errors import ConfigError
from kgrec.media.sources import Found, Nothing, Reply, Request, WikimediaSettings, WikimediaSource
from kgrec.media.sources.wikimedia import commons_file

UPLOAD = "https://upload.wikimedia.org/wikipedia"
THUMB = f"{UPLOAD}/commons/thumb/a/ab/Toy_Story.jpg/500px-Toy_Story.jpg"
SUMMARY = "https://en.wikipedia.org/api/rest_v1/page/summary/"


def imageinfo(url: str = THUMB, **about: str) -> dict[str, Any]:
    info = {
        "thumburl": url, "thumbwidth": 500, "thumbheight": 750, "url": f"{UPLOAD}/commons/a/ab/Toy_Story.jpg",
        "descriptionurl": "https://commons.wikimedia.org/wiki/File:Toy_Story.jpg",
        "extmetadata": {name: {"value": value, "source": "commons-desc-page"} for name, value in about.items()},
    }  # fmt: skip
    page = {"pageid": 1, "ns": 6, "title": "File:Toy Story.jpg", "imagerepository": "local", "imageinfo": [info]}
    return {"batchcomplete": True, "query": {"pages": [page]}}


def summary(title: str = "Toy Story", **more: Any) -> dict[str, Any]:
    return {
        "type": "standard", "title": title, "lang": "en", "extract": "Toy Story is a 1995 film.",
        "content_urls": {"desktop": {"page": f"https://en.wikipedia.org/wiki/{title.replace(' ', '_')}"}},
        **more,
    }  # fmt: skip


def picture(source: str) -> dict[str, Any]:
    return {"originalimage": {"source": source, "width": 800, "height": 1200}}


class Wikis:
    """Answers by what is asked for: ``commons:<file>``, ``en:<title>``, ``en-file:<file>``, ``wikidata:<id>``, addresses."""

    def __init__(self, **settings: Any) -> None:
        self.source = WikimediaSource(WikimediaSettings(kind="wikimedia", **settings))
        self.answers: dict[str, Any] = {}
        self.asked: list[str] = []

    def __call__(self, request: Request) -> Any:
        parts = urlsplit(request.url)
        host, query = parts.netloc.split(".")[0], parse_qs(parts.query)
        name = request.url
        if "titles" in query:
            wiki = "commons" if host == "commons" else f"{host}-file"
            name = f"{wiki}:{query['titles'][0].removeprefix('File:')}"
        elif "ids" in query:
            name = f"wikidata:{query['ids'][0]}"
        elif "/summary/" in parts.path:
            name = f"{host}:{parts.path.rsplit('/', 1)[1]}"
        self.asked.append(name)
        return self.answers.get(name, Reply("missing", "HTTP 404"))


@pytest.fixture
def wikis() -> Wikis:
    return Wikis()


@pytest.fixture
def look(wikis: Wikis, drive_any: Callable[..., Any]) -> Callable[..., dict[str, Found | Nothing]]:
    from kgrec.media.sources import Subject

    def run(ids: dict[str, str], modalities: str = "image text", site: Wikis = wikis) -> dict[str, Found | Nothing]:
        site.asked.clear()
        return drive_any(site.source, Subject("item:1", ids=ids), modalities.split(), site).by  # type: ignore[no-any-return]

    return run


Look = Callable[..., dict[str, Any]]


def test_the_file_of_p18_with_its_licence(wikis: Wikis, look: Look) -> None:
    wikis.answers = {
        "commons:Toy Story.jpg": imageinfo(
            LicenseShortName="CC BY-SA 4.0", Artist='<a href="//x" title="User:J"><b>Jane</b> &amp; Joe</a>'
        ),
        THUMB: b"picture",
    }
    found = look({"commons": "Toy_Story.jpg"}, "image")["image"]
    assert wikis.asked == ["commons:Toy Story.jpg", THUMB]
    assert (found.origin, found.read(99)) == (THUMB, b"picture")
    assert found.licence == "CC BY-SA 4.0, Jane & Joe, via Wikimedia"


def test_what_the_image_api_is_asked(wikis: Wikis, drive_any: Callable[..., Any]) -> None:
    from kgrec.media.sources import Subject

    request = drive_any(wikis.source, Subject("item:1", ids={"commons": "Müll & Co?.jpg"}), ["image"], wikis).asked[0]
    parts = urlsplit(request.url)
    assert (parts.netloc, parts.path) == ("commons.wikimedia.org", "/w/api.php")
    assert parse_qs(parts.query) == {
        "action": ["query"], "format": ["json"], "formatversion": ["2"], "redirects": ["1"],
        "titles": ["File:Müll & Co?.jpg"], "prop": ["imageinfo"], "iiprop": ["url|extmetadata"], "iiurlwidth": ["500"],
        "iiextmetadatafilter": ["LicenseShortName|Artist|NonFree"], "iiextmetadatalanguage": ["en"],
    }  # fmt: skip
    assert request.url.isascii()


def test_summary_and_lead_picture_share_one_request(wikis: Wikis, look: Look) -> None:
    wikis.answers = {
        "en:Toy_Story": summary() | picture(f"{UPLOAD}/commons/a/ab/Toy_Story.jpg"),
        "commons:Toy Story.jpg": imageinfo(LicenseShortName="Public domain"),
        THUMB: b"x",
    }
    found = look({"wikipedia.en": "Toy Story"})
    assert wikis.asked == ["en:Toy_Story", "commons:Toy Story.jpg", THUMB]
    text = found["text"]
    assert (text.text, text.lang) == ("Toy Story is a 1995 film.", "en")
    assert text.origin == "https://en.wikipedia.org/wiki/Toy_Story"
    assert text.licence == "CC BY-SA 4.0, Wikipedia contributors"
    assert found["image"].licence == "Public domain, via Wikimedia"


def test_a_poster_under_fair_use_is_told_apart(wikis: Wikis, look: Look, drive_any: Callable[..., Any]) -> None:
    thumb = f"{UPLOAD}/en/thumb/1/13/Toy_Story.jpg/250px-Toy_Story.jpg"
    answers = {
        "en:Toy_Story": summary(thumbnail={"source": thumb}),
        "en-file:Toy Story.jpg": imageinfo(thumb, LicenseShortName="Fair use", NonFree="true"),
        thumb: b"x",
    }
    wikis.answers = answers
    found = look({"wikipedia.en": "Toy Story"}, "image")["image"]
    assert wikis.asked == ["en:Toy_Story", "en-file:Toy Story.jpg", thumb]
    assert found.licence == "not free content (Fair use), via Wikimedia"
    strict = Wikis(only_free=True)
    strict.answers = answers
    nothing = look({"wikipedia.en": "Toy Story"}, "image", strict)["image"]
    assert (nothing.outcome, nothing.reason) == ("refused", "not free content")
    assert thumb not in strict.asked


@pytest.mark.parametrize(
    ("title", "path"),
    [
        ("Face/Off", "Face%2FOff"),
        ("Who Framed Roger Rabbit?", "Who_Framed_Roger_Rabbit%3F"),
        ("Amélie", "Am%C3%A9lie"),
        ("Heat (1995 film)", "Heat_%281995_film%29"),
        ("Tom & Jerry: 100%", "Tom_%26_Jerry%3A_100%25"),
        ("となりのトトロ", "%E3%81%A8%E3%81%AA%E3%82%8A%E3%81%AE%E3%83%88%E3%83%88%E3%83%AD"),
        ("None", "None"),
    ],
)
def test_titles_become_one_part_of_a_path(wikis: Wikis, drive: Callable[..., Any], title: str, path: str) -> None:
    driven = drive(wikis.source, {"wikipedia.en": title}, {SUMMARY + path: summary()}, "text")
    assert driven.urls == [SUMMARY + path]
    assert driven.found("text").text == "Toy Story is a 1995 film."


def test_languages_in_their_order(look: Look) -> None:
    site = Wikis(languages=("de", "en"))
    ids = {"wikipedia.en": "Toy Story", "wikipedia.de": "Toy Story (Film)", "wikipedia.fr": "x"}
    german = summary(lang="de", extract="Ein Film.")
    site.answers = {"de:Toy_Story_%28Film%29": german, "en:Toy_Story": summary()}
    assert look(ids, "text", site)["text"].text == "Ein Film."
    for bad in ({"type": "disambiguation"}, {"extract": ""}, {"extract": None}):
        site.answers["de:Toy_Story_%28Film%29"] = german | bad
        assert look(ids, "text", site)["text"].text == "Toy Story is a 1995 film."
    assert "fr.wikipedia.org" not in site.source.hosts
    assert {"de.wikipedia.org", "en.wikipedia.org", "upload.wikimedia.org"} < site.source.hosts


def test_a_disambiguation_page_is_neither_text_nor_picture(wikis: Wikis, look: Look) -> None:
    wikis.answers = {"en:Heat": summary("Heat", type="disambiguation") | picture(f"{UPLOAD}/commons/a/ab/X.jpg")}
    found = look({"wikipedia.en": "Heat"})
    assert {found[m].reason for m in ("image", "text")} == {"disambiguation page"}
    assert found["text"].origin == SUMMARY + "Heat"
    assert wikis.asked == ["en:Heat"]


def test_a_file_that_is_gone_gives_way_to_the_article(wikis: Wikis, look: Look) -> None:
    gone = {"query": {"pages": [{"ns": 6, "title": "File:Old.jpg", "missing": True}]}}
    wikis.answers = {
        "commons:Old.jpg": gone,
        "en:Toy_Story": summary() | picture(f"{UPLOAD}/commons/a/ab/Toy_Story.jpg"),
        "commons:Toy Story.jpg": imageinfo(),
        THUMB: b"x",
    }
    ids = {"commons": "Old.jpg", "wikipedia.en": "Toy Story"}
    assert look(ids, "image")["image"].licence == "not stated, via Wikimedia"
    assert wikis.asked == ["commons:Old.jpg", "en:Toy_Story", "commons:Toy Story.jpg", THUMB]
    nothing = look({"commons": "Old.jpg"}, "image")["image"]
    assert (nothing.outcome, nothing.reason) == ("missing", "no such file")


def test_what_may_work_another_time_is_the_reason_that_is_told(wikis: Wikis, look: Look) -> None:
    wikis.answers = {"commons:A.jpg": Reply("missing", "HTTP 404"), "en:T": Reply("failed", "HTTP 503")}
    nothing = look({"commons": "A.jpg", "wikipedia.en": "T"}, "image")["image"]
    assert (nothing.outcome, nothing.reason) == ("failed", "HTTP 503")


def entity(files: list[tuple[str, Any]], **titles: str) -> dict[str, Any]:
    claims = [
        {"rank": rank, "mainsnak": {"snaktype": "value", "datavalue": {"value": value, "type": "string"}}}
        for rank, value in files
    ]
    links = {site: {"site": site, "title": title, "badges": []} for site, title in titles.items()}
    return {"entities": {"Q171048": {"id": "Q171048", "claims": {"P18": claims}, "sitelinks": links}}, "success": 1}


def test_a_wikidata_id_leads_to_both(wikis: Wikis, look: Look) -> None:
    files = [("deprecated", "No.jpg"), ("normal", "Later.jpg"), ("preferred", "Toy Story.jpg")]
    wikis.answers = {
        "wikidata:Q171048": entity(files, enwiki="Toy Story", dewiki="x"),
        "commons:Toy Story.jpg": imageinfo(), THUMB: b"x", "en:Toy_Story": summary(),
    }  # fmt: skip
    found = look({"wikidata": "http://www.wikidata.org/entity/Q171048"})
    assert wikis.asked == ["wikidata:Q171048", "commons:Toy Story.jpg", THUMB, "en:Toy_Story"]
    assert found["text"].text == "Toy Story is a 1995 film."
    assert found["image"].origin == THUMB


def test_wikidata_is_asked_only_for_what_is_not_known(wikis: Wikis, look: Look) -> None:
    wikis.answers = {"commons:Toy Story.jpg": imageinfo(), THUMB: b"x"}
    ids = {"wikidata": "Q171048", "commons": "Toy Story.jpg"}
    look(ids, "image")
    assert wikis.asked == ["commons:Toy Story.jpg", THUMB]
    nothing = look(ids, "text")["text"]
    assert wikis.asked == ["wikidata:Q171048"]
    assert (nothing.outcome, nothing.reason) == ("missing", "HTTP 404")


def test_a_wikidata_that_does_not_answer_hides_no_article(wikis: Wikis, look: Look) -> None:
    wikis.answers = {
        "wikidata:Q171048": Reply("failed", "HTTP 503"),
        "en:Toy_Story": summary() | picture(f"{UPLOAD}/commons/a/ab/Toy_Story.jpg"),
        "commons:Toy Story.jpg": imageinfo(),
        THUMB: b"x",
    }
    found = look({"wikidata": "Q171048", "wikipedia.en": "Toy Story"})
    assert wikis.asked == ["wikidata:Q171048", "en:Toy_Story", "commons:Toy Story.jpg", THUMB]
    assert (found["image"].origin, found["text"].text) == (THUMB, "Toy Story is a 1995 film.")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"entities": {"Q171048": {"id": "Q171048", "missing": ""}}}, "no record: Wikidata does not know the id"),
        ({"error": {"code": "no-such-entity"}}, "no record: Wikidata does not know the id"),
        (entity([]), "no Commons file and no article in en"),
        (entity([("normal", None), ("normal", {"id": 1}), ("odd", "A.jpg")]), "no Commons file and no article in en"),
    ],
)
def test_wikidata_knows_nothing(wikis: Wikis, look: Look, answer: Any, reason: str) -> None:
    wikis.answers = {"wikidata:Q171048": answer}
    nothing = look({"wikidata": "Q171048"}, "image")["image"]
    assert (nothing.outcome, nothing.reason) == ("missing", reason)
    assert wikis.asked == ["wikidata:Q171048"]


def test_no_id(wikis: Wikis, look: Look) -> None:
    for ids in (
        {},
        {"imdb": "tt1"},
        {"wikipedia.fr": "Film"},
        {"wikidata": "P18"},
        {"commons": "A|B.jpg"},
        {"wikipedia.en": "[x]"},
        {"wikipedia.en": ".."},
    ):
        found = look(ids)
        assert wikis.asked == []
        assert (found["image"].reason, found["text"].reason) == (
            "no Commons file and no article in en",
            "no article in en",
        )


@pytest.mark.parametrize(
    "address",
    [
        "https://e.org/x.jpg",
        "https://upload.wikimedia.org/x.jpg",
        f"{UPLOAD}/commons/a/ab/A%7CB.jpg",
        7,
        {"a": 1},
        "http://[",
    ],
)
def test_a_lead_picture_that_is_no_file_of_a_wiki(wikis: Wikis, look: Look, address: Any) -> None:
    wikis.answers = {"en:T": summary() | picture(address)}
    nothing = look({"wikipedia.en": "T"}, "image")["image"]
    assert nothing.reason == "unexpected answer: picture of the article is no file of a wiki"
    assert wikis.asked == ["en:T"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "no imageinfo"),
        ({"query": {"pages": {"1": {}}}}, "no imageinfo"),
        ({"query": {"pages": [{"imageinfo": []}]}}, "no imageinfo"),
        ({"query": {"pages": [{"imageinfo": [{"thumburl": "", "url": None}]}]}}, "no address of the file"),
    ],
)
def test_an_image_api_that_says_something_else(wikis: Wikis, look: Look, answer: Any, reason: str) -> None:
    wikis.answers = {"commons:A.jpg": answer}
    assert look({"commons": "A.jpg"}, "image")["image"].reason == f"unexpected answer: {reason}"


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("Toy Story.jpg", "Toy Story.jpg"),
        ("File:Toy_Story.jpg", "Toy Story.jpg"),
        ("http://commons.wikimedia.org/wiki/Special:FilePath/Toy%20Story%20%28a%29.jpg", "Toy Story (a).jpg"),
        ("http://commons.wikimedia.org/wiki/Special:FilePath/A.jpg?width=300", "A.jpg"),
        ("https://commons.wikimedia.org/wiki/File:A%3F.svg", "A?.svg"),
        ("100% wool.png", "100% wool.png"),
        ("a|b.jpg", ""), ("no suffix", ""), ("", ""), ("http://[", ""), ("x" * 300 + ".jpg", ""),
    ],
)  # fmt: skip
def test_names_of_files(value: str, want: str) -> None:
    assert commons_file(value) == want


def test_only_widths_that_wikimedia_makes_and_languages_that_are_hosts() -> None:
    with pytest.raises(ConfigError, match="width"):
        parse_settings(WikimediaSettings, {"kind": "wikimedia", "width": 512})
    with pytest.raises(ConfigError, match="languages"):
        parse_settings(WikimediaSettings, {"kind": "wikimedia", "languages": ["en", "evil.example/"]})
