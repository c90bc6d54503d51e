"""Wikimedia: pictures from Wikimedia Commons (Wikidata's property P18 names the file), summaries from Wikipedia.

A subject is known by the name of a file (``commons``), by the titles of its articles (``wikipedia.<language>``), or by its
Wikidata id, which leads to both. A picture comes with the licence and the author its page names:
https://www.mediawiki.org/wiki/API:Imageinfo, https://en.wikipedia.org/api/rest_v1/,
https://www.wikidata.org/w/api.php?action=help&modules=wbgetentities.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote, unquote, urlencode, urlsplit

from lxml import etree
from pydantic import Field

from kgrec.media.sources.answers import (
    MAX_JSON,
    Miss,
    ask_file,
    ask_json,
    at,
    host_of,
    language_code,
    one_line,
    plain,
    unexpected,
    web_address,
    worst,
)
from kgrec.media.sources.base import Found, Modality, Nothing, Reply, Request, Search, Source, Subject, expiry
from kgrec.media.sources.records import WebSettings

#: what no title of a wiki page holds; in the API a bar separates titles
_BAD_TITLE = re.compile(r"[\x00-\x1f\x7f|#<>\[\]{}]")
_QID = re.compile(r"Q[1-9][0-9]{0,11}")
_UPLOAD = re.compile(r"/wikipedia/(commons|[a-z-]+)/(?:thumb/)?[0-9a-f]/[0-9a-f]{2}/([^/]+)(?:/[^/]+)?")
_JSON = ("application/json",)
_AUTHOR_SHOWN = 200


class WikimediaSettings(WebSettings):
    """Wikimedia Commons and Wikipedia, by file name, article or Wikidata id."""

    kind: Literal["wikimedia"]
    """``wikimedia``"""
    commons: str = "https://commons.wikimedia.org"
    """Address of Wikimedia Commons."""
    wikipedia: str = "https://{language}.wikipedia.org"
    """Address of a Wikipedia; ``{language}`` stands for its language."""
    wikidata: str = "https://www.wikidata.org"
    """Address of Wikidata."""
    hosts: tuple[str, ...] = ("upload.wikimedia.org",)
    """Hosts pictures come from."""
    languages: tuple[Annotated[str, Field(pattern=r"^[a-z]{2,12}(-[a-z]{2,12})*$")], ...] = Field(
        default=("en",), min_length=1
    )
    """Wikipedias to look into, the best first."""
    width: Literal[250, 330, 500, 960, 1280, 1920, 3840] = 500
    """Width of pictures in pixels (smaller ones stay): the widths Wikimedia still makes; others are refused."""
    only_free: bool = False
    """Whether to leave out pictures that are no free content: posters on a Wikipedia mostly are there under fair use."""
    licence: str = "CC BY-SA 4.0, Wikipedia contributors"
    """Written into the tables beside texts; a picture has its own licence."""


#: a search for one picture
_Picture: TypeAlias = Generator[Request, Reply, Found]


@dataclass(frozen=True)
class _Article:
    language: str
    title: str


@dataclass(frozen=True)
class _Ids:
    """Where a subject may be found: names of files on Commons, and articles, the best first."""

    files: list[str]
    articles: list[_Article]


class WikimediaSource(Source):
    """Picture by P18, else of the article; text by the article's summary."""

    def __init__(self, settings: WikimediaSettings, name: str = "wikimedia") -> None:
        self.name, self.settings, self.licence = name, settings, settings.licence
        self.modalities = frozenset(settings.modalities)
        self.max_age_days = settings.max_age_days
        wikis = [settings.wikipedia.replace("{language}", language) for language in settings.languages]
        self.hosts = frozenset({*map(host_of, [settings.commons, settings.wikidata, *wikis]), *settings.hosts})

    def find(self, subject: Subject, modalities: frozenset[Modality]) -> Search:
        """Look for picture and text; each article is asked for once."""
        search = _Lookup(self.settings, subject)
        found: list[Found | Nothing] = []
        for modality in sorted(modalities):
            try:
                if modality == "image":
                    found.append((yield from search.picture()))
                elif modality == "text":
                    found.append((yield from search.text()))
                else:
                    raise Miss(f"no {modality} here")
            except Miss as miss:
                found.append(miss.nothing(modality))
        return found


class _Lookup:
    """One search. What was asked is kept, so that picture and text share their articles."""

    def __init__(self, settings: WikimediaSettings, subject: Subject) -> None:
        self.settings, self.subject = settings, subject
        self._told: _Ids | Miss | None = None
        self._summaries: dict[_Article, tuple[dict[str, Any], Reply] | Miss] = {}

    def picture(self) -> _Picture:
        """The file P18 names, else the one at the head of an article."""
        misses: list[Miss] = []
        for places in (self._files, self._leads):
            try:
                searches = yield from places()
            except Miss as miss:  # Wikidata does not answer
                misses.append(miss)
                continue
            for search in searches:
                try:
                    return (yield from search)
                except Miss as miss:
                    misses.append(miss)
        raise worst(misses) or Miss(f"no Commons file and no article in {', '.join(self.settings.languages)}")

    def text(self) -> Generator[Request, Reply, Found]:
        """The summary of the first article that has one."""
        misses: list[Miss] = []
        for article in (yield from self._articles()):
            url = self._summary_url(article)
            try:
                summary, reply = yield from self._summary(article)
                if summary.get("type") == "disambiguation":
                    raise Miss("disambiguation page", origin=url)
                text = plain(summary.get("extract"))
                if not text:
                    raise Miss("no summary", origin=url)
            except Miss as miss:
                misses.append(miss)
                continue
            origin = web_address(at(summary, "content_urls", "desktop", "page")) or url
            lang = language_code(summary.get("lang")) or language_code(article.language)
            expires = expiry(reply.time, self.settings.max_age_days)
            return Found("text", origin, None, text, lang, self.settings.licence, expires)
        raise worst(misses) or Miss(f"no article in {', '.join(self.settings.languages)}")

    def _files(self) -> Generator[Request, Reply, list[_Picture]]:
        name = commons_file(self.subject.ids.get("commons", ""))
        names = [name] if name else (yield from self._wikidata()).files
        return [self._file(self.settings.commons, name) for name in names]

    def _leads(self) -> Generator[Request, Reply, list[_Picture]]:
        return [self._lead(article) for article in (yield from self._articles())]

    def _articles(self) -> Generator[Request, Reply, list[_Article]]:
        titles = ((language, self.subject.ids.get(f"wikipedia.{language}")) for language in self.settings.languages)
        own = list(_articles(titles))
        return own or (yield from self._wikidata()).articles

    def _wikidata(self) -> Generator[Request, Reply, _Ids]:
        """What Wikidata knows of the subject, if it has an id there; asked once. :raises Miss:"""
        if self._told is None:
            qid = self.subject.ids.get("wikidata", "").strip().rsplit("/", 1)[-1]
            try:
                self._told = (yield from self._entity(qid)) if _QID.fullmatch(qid) else _Ids([], [])
            except Miss as miss:
                self._told = miss
        if isinstance(self._told, Miss):
            raise self._told
        return self._told

    def _entity(self, qid: str) -> Generator[Request, Reply, _Ids]:
        sites = {language: f"{language.replace('-', '_')}wiki" for language in self.settings.languages}
        query = {
            "action": "wbgetentities", "format": "json", "ids": qid, "props": "claims|sitelinks",
            "sitefilter": "|".join(sites.values()),
        }  # fmt: skip
        url = f"{self.settings.wikidata}/w/api.php?{urlencode(query)}"
        value, _ = yield from ask_json(Request(url, _JSON, max_bytes=MAX_JSON))
        entity = at(value, "entities", qid)
        if not isinstance(entity, dict) or "missing" in entity:
            raise Miss("no record: Wikidata does not know the id", origin=url)
        titles = ((language, at(entity, "sitelinks", site, "title")) for language, site in sites.items())
        return _Ids(list(_claimed_files(at(entity, "claims", "P18"))), list(_articles(titles)))

    def _summary_url(self, article: _Article) -> str:
        wiki = self.settings.wikipedia.replace("{language}", article.language)
        return f"{wiki}/api/rest_v1/page/summary/{quote(article.title.replace(' ', '_'), safe='')}"

    def _summary(self, article: _Article) -> Generator[Request, Reply, tuple[dict[str, Any], Reply]]:
        if article not in self._summaries:
            try:
                request = Request(self._summary_url(article), _JSON, max_bytes=MAX_JSON)
                self._summaries[article] = yield from ask_json(request)
            except Miss as miss:
                self._summaries[article] = miss
        answer = self._summaries[article]
        if isinstance(answer, Miss):
            raise answer
        return answer

    def _lead(self, article: _Article) -> _Picture:
        """The picture at the head of an article, from the wiki that holds it: Commons or its own. :raises Miss:"""
        url = self._summary_url(article)
        summary, _ = yield from self._summary(article)
        if summary.get("type") == "disambiguation":
            raise Miss("disambiguation page", origin=url)
        places = [at(summary, name, "source") for name in ("originalimage", "thumbnail")]
        if places == [None, None]:
            raise Miss("no picture in the article", origin=url)
        for address in map(web_address, places):
            match = _UPLOAD.fullmatch(urlsplit(address).path)
            name = commons_file(unquote(match[2])) if match else ""
            if match and name:
                own = self.settings.wikipedia.replace("{language}", article.language)
                return (yield from self._file(self.settings.commons if match[1] == "commons" else own, name))
        raise unexpected("picture of the article is no file of a wiki", url)

    def _file(self, wiki: str, name: str) -> _Picture:
        """A file at the width that is set, with its licence."""
        query = {
            "action": "query", "format": "json", "formatversion": "2", "redirects": "1", "titles": f"File:{name}",
            "prop": "imageinfo", "iiprop": "url|extmetadata", "iiurlwidth": str(self.settings.width),
            "iiextmetadatafilter": "LicenseShortName|Artist|NonFree", "iiextmetadatalanguage": "en",
        }  # fmt: skip
        url = f"{wiki}/w/api.php?{urlencode(query)}"
        value, _ = yield from ask_json(Request(url, _JSON, max_bytes=MAX_JSON))
        info = at(value, "query", "pages", 0, "imageinfo", 0)
        if not isinstance(info, dict):
            if at(value, "query", "pages", 0, "missing") is True:
                raise Miss("no such file", origin=url)
            raise unexpected("no imageinfo", url)
        address = web_address(info.get("thumburl")) or web_address(info.get("url"))
        if not address:
            raise unexpected("no address of the file", url)
        about = info.get("extmetadata")
        if self.settings.only_free and plain(at(about, "NonFree", "value")).lower() == "true":
            raise Miss("not free content", "refused", address)
        return (yield from ask_file("image", address, _licence(about), self.settings.max_age_days))


def commons_file(value: str) -> str:
    """The name of a file, from ``A b.jpg``, ``File:A_b.jpg`` or ``…/wiki/Special:FilePath/A%20b.jpg``; empty if it is none."""
    if value.startswith(("http://", "https://")):
        try:
            value = unquote(urlsplit(value).path.rsplit("/", 1)[-1])
        except ValueError:
            return ""
    name = one_line(value.removeprefix("File:").replace("_", " "))
    return "" if _BAD_TITLE.search(name) or len(name.encode()) > 240 or "." not in name else name


def _articles(titles: Any) -> Iterator[_Article]:
    for language, title in titles:
        if isinstance(title, str):
            title = one_line(title.replace("_", " "))
            if title.strip(".") and not _BAD_TITLE.search(title) and len(title.encode()) <= 255:
                yield _Article(language, title)


def _claimed_files(claims: Any) -> Iterator[str]:
    """Files of P18: preferred ones first, deprecated ones left out."""
    ranks: dict[str, list[str]] = {"preferred": [], "normal": []}
    for claim in claims if isinstance(claims, list) else []:
        rank, value = at(claim, "rank"), at(claim, "mainsnak", "datavalue", "value")
        if isinstance(rank, str) and rank in ranks and isinstance(value, str) and (name := commons_file(value)):
            ranks[rank].append(name)
    yield from [*ranks["preferred"], *ranks["normal"]][:3]


def _licence(about: Any) -> str:
    """``<licence>, <author>, via Wikimedia``, as far as the file's page says."""
    short, author = plain(at(about, "LicenseShortName", "value")), _text_of(at(about, "Artist", "value"))
    if plain(at(about, "NonFree", "value")).lower() == "true":
        short = f"not free content ({short or 'no licence stated'})"
    return ", ".join(part for part in (short or "not stated", author[:_AUTHOR_SHOWN], "via Wikimedia") if part)


def _text_of(fragment: Any) -> str:
    """The text of a piece of HTML."""
    source = plain(fragment)
    if "<" not in source and "&" not in source:
        return source
    try:
        root = etree.fromstring(source.encode(), etree.HTMLParser(encoding="utf-8", no_network=True))
        return plain("".join(root.itertext())) if root is not None else ""
    except (etree.XMLSyntaxError, ValueError):
        return ""
