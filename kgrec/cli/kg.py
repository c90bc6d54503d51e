"""``kgrec kg``: look into a knowledge graph, and carry one from and to other tools' formats."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from kgrec.cli.common import echo_json
from kgrec.cli.folders import stage_folder
from kgrec.cli.leaks import leaks

app = typer.Typer(no_args_is_help=True, help="Look into a knowledge graph; carry one from and to other formats.")

#: entities listed that a name may mean
MOST = 20

#: as in kgrec.kg.formats, which is imported when it is needed
Format = Literal["recbole", "kgat", "pykeen", "ntriples"]

Folder = Annotated[
    Path | None,
    typer.Argument(help="folder of the kg stage or of an import; else artifacts/*_kg here", show_default=False),
]
Links = Annotated[
    Path | None, typer.Option(help="links.parquet; else the one in the folder or of the link stage", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output instead of a table")]


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="file or folder to read", show_default=False)],
    out: Annotated[Path, typer.Option(help="folder to write the tables into", show_default=False)],
    format: Annotated[
        Literal["auto", "recbole", "kgat", "pykeen", "ntriples"],
        typer.Option(help="auto goes by the names of the files"),
    ] = "auto",
    language: Annotated[
        list[str] | None, typer.Option(help="language of names, best first; may be given again  [default: en]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a graph in another tool's format: RecBole .kg, KGAT kg_final.txt (or .zip), PyKEEN .tsv, N-Triples."""
    from kgrec.kg.formats import ImportSettings, import_graph

    counts = import_graph(source, out, ImportSettings(format=format, languages=tuple(language or ("en",))))
    if as_json:
        echo_json(counts)
        return
    from kgrec.cli.show_graph import show_import

    show_import(source, out, counts)


@app.command()
def export(
    folder: Folder = None,
    *,
    format: Annotated[Format, typer.Option(help="the format to write", show_default=False)],
    out: Annotated[Path, typer.Option(help="folder to write; RecBole's dataset takes its name", show_default=False)],
    links: Links = None,
    as_json: AsJson = False,
) -> None:
    """Write a graph in another tool's format; every id and name comes back from it, or is refused."""
    from kgrec.kg.formats import export_graph

    folder, links = _graph(folder, links)
    counts = export_graph(folder, out, format, links)
    if as_json:
        echo_json(counts)
        return
    from kgrec.cli.show_graph import show_export

    show_export(folder, out, counts)


@app.command()
def describe(
    folder: Folder = None,
    links: Links = None,
    everything: Annotated[bool, typer.Option("--all", help="every relation and type, not only the largest")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what a graph holds: counts, relations, types, degrees, coverage of the items."""
    from kgrec.kg.describe import GraphView

    folder, links = _graph(folder, links)
    with GraphView(folder, links) as view:
        facts = view.describe()
    if as_json:
        echo_json(facts.as_dict())
        return
    from kgrec.cli.show_graph import show_graph

    show_graph(facts, view.links, everything)


@app.command()
def show(
    entity: Annotated[
        str, typer.Argument(help="name, entity id (m.0dyb1, /m/0dyb1) or item id (1, item:1)", show_default=False)
    ],
    folder: Folder = None,
    links: Links = None,
    most: Annotated[int, typer.Option("-n", min=1, help="facts to show of each relation")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show an entity's facts with names; if several entities have the name, list them."""
    from kgrec.kg.describe import GraphView

    folder, links = _graph(folder, links)
    with GraphView(folder, links) as view:
        found = view.find(entity, MOST)
        facts = view.facts(found[0].entity_id, most) if len(found) == 1 else []
    if as_json:
        echo_json({"entities": [asdict(one) for one in found], "facts": [asdict(one) for one in facts]})
        return
    from kgrec.cli.show_graph import show_entities, show_entity

    if len(found) == 1:
        show_entity(found[0], facts)
    else:
        show_entities(entity, found, MOST)


app.command()(leaks)


def _graph(folder: Path | None, links: Path | None) -> tuple[Path, Path | None]:
    """The folder of a graph and its links: those given, else those in the folder, else of the link stage beside it."""
    folder = folder or stage_folder("kg")
    if links is None and not (folder / "links.parquet").exists():
        beside = sorted(folder.absolute().parent.glob("*_link/links.parquet"))
        if len(beside) == 1:
            links = folder.parent / beside[0].relative_to(folder.absolute().parent)
    return folder, links
