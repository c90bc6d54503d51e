"""Schemas of the tables the stages hand to each other. Ids are strings until the graph stage makes the vocabulary."""

from __future__ import annotations

import pyarrow as pa

_strings = pa.list_(pa.string())

#: one row per (user, item); ``timestamp`` in seconds since 1970 UTC, null where the source has none
INTERACTIONS = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()), ("rating", pa.float32()), ("timestamp", pa.int64())]
)

#: one row per item of the catalogue; list columns are empty, never null, where nothing is known; a book's author is a writer
ITEMS = pa.schema(
    [
        ("item_id", pa.string()), ("title", pa.string()), ("year", pa.int16()), ("imdb_id", pa.string()),
        ("genre", _strings), ("director", _strings), ("writer", _strings), ("actor", _strings),
        ("country", _strings), ("language", _strings), ("tmdb_id", pa.string()), ("isbn", _strings),
    ]
)  # fmt: skip

#: one row per user; what the source says of a user, as text
USERS = pa.schema(
    [("user_id", pa.string()), ("gender", pa.string()), ("age", pa.string()), ("occupation", pa.string())]
)

#: one entity per item and one item per entity; ``score`` in [0, 1], 1 for a link taken from a link file
LINKS = pa.schema(
    [("item_id", pa.string()), ("entity_id", pa.string()), ("method", pa.string()), ("score", pa.float32())]
)

TRIPLES = pa.schema([("head", pa.string()), ("relation", pa.string()), ("tail", pa.string())])
ENTITIES = pa.schema(
    [("entity_id", pa.string()), ("name", pa.string()), ("description", pa.string()), ("type", pa.string())]
)
RELATIONS = pa.schema(
    [
        ("relation", pa.string()),
        ("triples", pa.int64()),
        ("heads", pa.int64()),
        ("tails", pa.int64()),
        ("source", pa.string()),
    ]
)

#: what other catalogues call an entity: ``kind`` in imdb / tmdb / isbn / wikipedia (value ``<language>:<title>``) /
#: commons (a file name on Wikimedia Commons) / wikidata; sorted by entity, kind and value
KEYS = pa.schema([("entity_id", pa.string()), ("kind", pa.string()), ("value", pa.string())])

#: ``key`` is ``item:<item_id>`` or ``entity:<entity_id>``; ``bytes`` is the file as published; ``width`` and ``height`` in
#: pixels after turning it as its EXIF orientation says; ``phash`` is its 64-bit perceptual hash
IMAGES = pa.schema(
    [
        ("key", pa.string()), ("sha256", pa.string()), ("bytes", pa.binary()),
        ("width", pa.int32()), ("height", pa.int32()), ("format", pa.string()), ("phash", pa.uint64()),
    ]
)  # fmt: skip
#: audio clips and videos; ``format`` is the container as FFmpeg names it
CLIPS = pa.schema(
    [
        ("key", pa.string()), ("sha256", pa.string()), ("bytes", pa.binary()),
        ("seconds", pa.float32()), ("format", pa.string()),
    ]
)  # fmt: skip
#: ``lang`` is an ISO 639-1 code
TEXTS = pa.schema([("key", pa.string()), ("text", pa.string()), ("lang", pa.string())])

#: one row per key and modality: ``status`` in ok / missing / rejected / failed; ``reason`` empty when ok; ``source`` is the
#: file or address it is from; ``expires`` (ISO 8601, UTC) where the source's terms set a date, else empty
LEDGER = pa.schema(
    [
        ("key", pa.string()), ("modality", pa.string()), ("status", pa.string()), ("reason", pa.string()),
        ("source", pa.string()), ("licence", pa.string()), ("expires", pa.string()),
    ]
)  # fmt: skip

#: one row per key and try to fetch something for it, in the order of the tries; ``status`` in ok / unchanged / missing /
#: refused / failed; ``http`` is null where no answer came; ``time`` is ISO 8601, UTC
TRIES = pa.schema(
    [
        ("key", pa.string()), ("source", pa.string()), ("url", pa.string()), ("attempt", pa.int32()),
        ("time", pa.string()), ("seconds", pa.float32()), ("status", pa.string()), ("http", pa.int16()),
        ("reason", pa.string()), ("bytes", pa.int64()), ("licence", pa.string()), ("expires", pa.string()),
    ]
)  # fmt: skip

#: keys that share a picture: ``kind`` exact (the same bytes) or near (perceptual hashes ``distance`` bits apart from the
#: first key of the group); a key may be in one group of each kind
SHARED = pa.schema(
    [
        ("kind", pa.string()), ("group", pa.int32()), ("key", pa.string()), ("sha256", pa.string()),
        ("distance", pa.int8()),
    ]
)  # fmt: skip


def features(width: int) -> pa.Schema:
    """Schema of a feature table: one row per key that has the modality, sorted by key."""
    return pa.schema(
        [
            ("key", pa.string()), ("content_sha256", pa.string()), ("encoder", pa.string()),
            ("vector", pa.list_(pa.float16(), width)),
        ]
    )  # fmt: skip


def feature_tokens(width: int) -> pa.Schema:
    """Schema of a token table: the states of a text's tokens or a picture's patches, in order; their number varies."""
    return pa.schema(
        [
            ("key", pa.string()), ("content_sha256", pa.string()), ("encoder", pa.string()),
            ("tokens", pa.list_(pa.list_(pa.float16(), width))),
        ]
    )  # fmt: skip


#: ``type`` in user / item / entity / relation; ``index`` counts from 0 inside each type;
#: ``entity_id`` is the linked entity of an item; ``title`` is the title, name or description shown to a person
VOCAB = pa.schema(
    [
        ("type", pa.string()),
        ("index", pa.int64()),
        ("id", pa.string()),
        ("entity_id", pa.string()),
        ("title", pa.string()),
    ]
)
