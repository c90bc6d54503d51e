"""Import reads a graph out of a published format into the tables of the kg stage; export writes them in one.

Both keep every triple, id, name, description and type, or refuse. Import spells ids as kgrec does (``/m/0dyb1`` is ``m.0dyb1``),
sorts, and leaves out repeats; it merges no directions and denies no relation, which is the kg stage's to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, cast, get_args

from kgrec.config import Settings
from kgrec.errors import ConfigError, DataError
from kgrec.kg.formats import kgat, ntriples, pykeen, recbole
from kgrec.kg.formats.graph import Graph, GraphBuilder, read_graph, write_graph
from kgrec.progress import get_logger

log = get_logger(__name__)

FormatName = Literal["recbole", "kgat", "pykeen", "ntriples"]


class Format(Protocol):
    """What the module of a format has."""

    def recognise(self, path: Path) -> bool:
        """Whether a file or folder is in this format."""

    def read(self, path: Path, builder: GraphBuilder) -> None:
        """Put what ``path`` holds into ``builder``."""

    def write(self, graph: Graph, out: Path, place: Path) -> list[Path]:
        """Write ``graph`` into the folder ``out``; ``place`` is what errors name. Returns the files."""


FORMATS: Mapping[FormatName, Format] = {
    "recbole": cast(Format, recbole), "kgat": cast(Format, kgat),
    "pykeen": cast(Format, pykeen), "ntriples": cast(Format, ntriples),
}  # fmt: skip

#: formats that say which entity an item is
WITH_LINKS = ("recbole", "kgat")


class ImportSettings(Settings):
    """How a graph is read."""

    format: Literal["auto", "recbole", "kgat", "pykeen", "ntriples"] = "auto"
    """``auto`` goes by the names of the files."""

    languages: tuple[str, ...] = ("en",)
    """Languages of names and descriptions, best first, where a format has several; after them, texts without one."""


def import_graph(source: Path, out: Path, settings: ImportSettings | None = None) -> dict[str, Any]:
    """Write the graph in ``source`` as ``triples``, ``entities``, ``relations`` and perhaps ``links.parquet`` into ``out``.

    :param source: a file or folder of one of :data:`FORMATS`
    :return: ``format`` and the numbers of what was read and written
    :raises DataError: if the format is not known, a file is missing or damaged, a row does not fit (with its line), or there is
        no triple. Nothing is written then
    """
    source, out, settings = Path(source), Path(out), settings or ImportSettings()
    if not source.exists():
        raise DataError("no such file or folder", path=source)
    name = _detect(source) if settings.format == "auto" else settings.format
    if source.is_dir() and not FORMATS[name].recognise(source):
        raise DataError(f"holds no file of the format {name}", path=source)
    builder = GraphBuilder(name, settings.languages)
    FORMATS[name].read(source, builder)
    graph = builder.graph()
    if not graph.triples.num_rows:
        raise DataError("holds no triple", path=source)
    write_graph(graph, out)
    log.info("imported graph", format=name, **builder.counts)
    return {"format": name, **builder.counts}


def export_graph(folder: Path, out: Path, format: FormatName, links: Path | None = None) -> dict[str, Any]:
    """Write the graph in ``folder`` into the folder ``out`` in a published format.

    :param folder: what the kg stage or an import wrote
    :param links: links.parquet; None takes the one in ``folder``, if there is one
    :return: ``files`` written, the numbers of ``triples, entities, relations, items``, and ``links_left_out`` by a format that has
        no place for them
    :raises DataError: if a table is missing, or a text of it would not come back as it is. Nothing is written then
    """
    if format not in get_args(FormatName):
        raise ConfigError(f"unknown format {format!r}; formats: {', '.join(FORMATS)}")
    folder, out = Path(folder), Path(out).absolute()
    graph = read_graph(folder, links)
    files = FORMATS[format].write(graph, out, folder)
    counts = {
        "triples": graph.triples.num_rows,
        "entities": graph.entities.num_rows,
        "relations": graph.relations.num_rows,
        "items": len(graph.nodes()) if format in WITH_LINKS else 0,
        "links_left_out": 0 if format in WITH_LINKS else graph.links.num_rows,
    }
    log.info("exported graph", format=format, **counts)
    return {"format": format, "files": [path.name for path in files], **counts}


def _detect(source: Path) -> FormatName:
    """The one format that recognises a path; a folder of several is asked about in the order of :data:`FORMATS`."""
    found = [name for name, one in FORMATS.items() if one.recognise(source)]
    if len(found) == 1:
        return found[0]
    wanted = "RecBole .kg, KGAT kg_final.txt (or .zip), PyKEEN .tsv, N-Triples .nt"
    if found:
        raise DataError(f"holds files of several formats ({', '.join(found)}); name one with --format", path=source)
    raise DataError(f"is in no format known by its name ({wanted}); name one with --format", path=source)
