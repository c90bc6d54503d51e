from __future__ import annotations

import gzip
import json

import pytest

from kgrec.media.sources.pages import node_address, node_text, node_types, read_page


def page(*blocks: str, head: str = "", lang: str = "en") -> bytes:
    scripts = "".join(f'<script type="application/ld+json">{block}</script>' for block in blocks)
    return f'<!DOCTYPE html><html lang="{lang}"><head>{head}{scripts}</head><body></body></html>'.encode()


def test_blocks_lists_and_graphs_are_all_read() -> None:
    data = page(
        '{"@type": "Organization", "name": "o"}',
        '[{"@type": "Movie", "name": "m"}, [{"@type": "Book", "name": "b"}]]',
        '{"@graph": [{"@type": "Person", "name": "p"}], "mainEntity": {"@type": "Game", "name": "g"}}',
    )
    names = [node.get("name") for node in read_page(data).nodes]
    assert names == ["o", "m", "b", None, "g", "p"]


def test_what_a_node_holds_is_about_something_else() -> None:
    block = {"@type": "TVEpisode", "isPartOf": {"@type": "TVSeries", "image": "https://e.org/series.jpg"}}
    assert [node["@type"] for node in read_page(page(json.dumps(block))).nodes] == ["TVEpisode"]


@pytest.mark.parametrize(
    "broken",
    ["{", "", "nonsense", '{"a": 1,}', "[" * 50_000, "\x00", '{"description": "not closed', "<b>{}</b>", "null", "7"],
)
def test_a_broken_block_leaves_the_others(broken: str) -> None:
    nodes = read_page(page(broken, '{"@type": "Movie"}')).nodes
    assert nodes[-1:] == [{"@type": "Movie"}]


def test_line_breaks_comments_and_semicolons_in_blocks() -> None:
    data = page('<!-- {"description": "two\nlines"} -->', '{"name": "x"};')
    assert read_page(data).nodes == [{"description": "two\nlines"}, {"name": "x"}]


def test_other_scripts_are_not_read() -> None:
    head = '<script>{"@type": "Movie"}</script><script type="application/json">{"@type": "Movie"}</script>'
    assert read_page(page(head=head)).nodes == []
    typed = b'<script type="Application/LD+JSON; charset=utf-8">{"@type": "Movie"}</script>'
    assert read_page(typed).nodes == [{"@type": "Movie"}]


def test_open_graph_the_first_of_each() -> None:
    head = (
        '<meta property="og:image" content="https://e.org/a.jpg?x=1&amp;y=2"><meta property="og:image" content="b">'
        '<meta name="OG:Description" content=" Tom &amp; Jerry&#39;s ">'
        '<meta property="og:title" content=""><meta property="twitter:image" content="t">'
    )
    graph = read_page(page(head=head)).graph
    assert graph == {"og:image": "https://e.org/a.jpg?x=1&y=2", "og:description": "Tom & Jerry's"}


@pytest.mark.parametrize(
    ("encoding", "content_type", "meta"),
    [
        ("utf-8", "", ""),
        ("utf-8", "text/html; charset=UTF-8", '<meta charset="latin-1">'),
        ("latin-1", 'text/html;charset="iso-8859-1"', ""),
        ("latin-1", "text/html", '<meta charset="iso-8859-1">'),
        ("cp1251", "text/html; charset=windows-1251", ""),
        ("utf-16", "text/html", ""),
        ("utf-8", "text/html; charset=no-such-thing", ""),
        ("utf-8", "text/html; charset=base64", ""),
    ],
)
def test_charsets(encoding: str, content_type: str, meta: str) -> None:
    word = "Привет" if encoding == "cp1251" else "Amélie"
    data = page(head=f'{meta}<meta property="og:title" content="{word}">').decode().encode(encoding)
    assert read_page(data, content_type).graph == {"og:title": word}


def test_the_language_of_a_page() -> None:
    assert read_page(page(lang="en-US")).lang == "en"
    assert read_page(page(lang="")).lang == ""
    assert read_page(b"<p>no more</p>").lang == ""


@pytest.mark.parametrize(
    "data", [b"", b" ", b"\x00" * 99, b"<!-- -->", b"\xff\xfe", gzip.compress(b"<html>", mtime=0), b"<" * 10_000]
)
def test_what_is_no_page_says_nothing(data: bytes) -> None:
    found = read_page(data)
    assert (found.nodes, found.graph) == ([], {})


def test_deep_and_wide_pages_end() -> None:
    assert read_page(b"<div>" * 100_000).nodes == []
    many = page(json.dumps([{"n": i} for i in range(30_000)]))
    assert len(read_page(many).nodes) < 10_001


def test_texts_of_nodes() -> None:
    assert node_text("Sid&apos;s &amp;amp; Andy&#39;s") == "Sid's &amp; Andy's"
    assert node_text(["", "second"]) == "second"
    assert node_text({"@value": "valued", "@language": "en"}) == "valued"
    assert [node_text(value) for value in (None, 7, {}, [], [[1]], "N/A")] == [""] * 6


def test_addresses_of_nodes() -> None:
    want = "https://e.org/a.jpg"
    for value in (want, [want, "https://e.org/b.jpg"], {"@type": "ImageObject", "url": want}, [{"contentUrl": want}],
                  ["nonsense", {"url": None, "@id": want}], {"url": 7, "contentUrl": want}):  # fmt: skip
        assert node_address(value) == want
    assert node_address("https://e.org/a?b=1&amp;c=2") == "https://e.org/a?b=1&c=2"
    assert [node_address(value) for value in (None, 7, {}, [], "poster.jpg", {"url": {"url": want}})] == [""] * 6


def test_types_of_nodes() -> None:
    assert node_types({"@type": "Movie"}) == {"Movie"}
    assert node_types({"@type": ["http://schema.org/Movie", "Thing", None]}) == {"Movie", "Thing"}
    assert node_types({}) == node_types({"@type": 7}) == set()
