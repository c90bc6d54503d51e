"""How answers look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kgrec.serving.doctor import Finding
from kgrec.serving.inspect import ModelFacts
from kgrec.serving.recommender import Recommendation

_MARK = {"ok": "green", "unchecked": "dim", "warn": "yellow", "missing": "red", "damaged": "red"}


def console() -> Console:
    """Standard output; piped output is not cut at 80 columns."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=200)


def show_list(heading: str, entries: Sequence[Recommendation]) -> None:
    """A ranked list as a table."""
    table = Table(title=Text(heading), title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("rank", justify="right", style="dim")
    table.add_column("title", overflow="fold")
    table.add_column("item", style="dim")
    table.add_column("score", justify="right")
    for rank, one in enumerate(entries, start=1):
        table.add_row(str(rank), Text(one.title), Text(one.item_id), f"{one.score:.4f}")
    console().print(table)


def show_model(facts: ModelFacts) -> None:
    """What is in a model folder."""
    out, config = console(), facts.config
    out.print(Text(str(config.get("name")), style="bold"))
    rows = {
        "folder": facts.folder,
        "model": config["model"],
        "scores": {"vectors": "user vector · item vector", "item_similarity": "item-item weights over the history"}.get(
            config["kind"], config["kind"]
        ),
        "recipe": f"{config.get('recipe') or '–'}{'  (synthetic data)' if config.get('synthetic') else ''}",
        "users": f"{config['users']:,}",
        "items": f"{config['items']:,}",
        "vector size": config.get("vector_size") or "–",
        "written by": f"kgrec {config.get('kgrec_version')}, format {config['format_version']}",
    }
    grid = Table(box=None, show_header=False, pad_edge=False)
    for name, value in rows.items():
        grid.add_row(Text(name, style="dim"), Text(str(value)))
    out.print(grid)

    files = Table(box=None, pad_edge=False)
    for name in ("file", "bytes", "state", "content"):
        files.add_column(name, justify="right" if name == "bytes" else "left", overflow="fold")
    for file in facts.files:
        files.add_row(file.name, f"{file.bytes:,}", Text(file.status, style=_MARK[file.status]), Text(file.content))
    out.print()
    out.print(files)

    test = facts.metrics.get("test", {})
    if test:
        from kgrec.serving.evaluation_file import describe

        out.print()
        out.print(Text("test  " + "  ".join(f"{name} {value:.4f}" for name, value in test.items())))
        out.print(Text(describe(facts.metrics.get("protocol", {})), style="dim"))


def show_findings(findings: Sequence[Finding]) -> None:
    """What the doctor found."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for one in findings:
        text = Text(one.found)
        if one.remedy:
            text.append(f"\n→ {one.remedy}", style="dim")
        table.add_row(Text(one.status, style=_MARK[one.status]), Text(one.name), text)
    console().print(table)
