"""How the status and the drift of features look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from kgrec.cli.show import console
from kgrec.features.status import ItemStatus, ModalityStatus

_COLOUR = {"present": "green", "stale": "yellow", "orphan": "yellow", "missing": "red"}


def show_status(found: Sequence[ModalityStatus]) -> None:
    """A row per modality, and what is not present with its reasons."""
    out = console()
    if not found:
        out.print(Text("no modality has media, features or an encoder", style="yellow"))
        return
    table = _table(
        "modality", "encoder", "width:r", "present:r", "stale:r", "missing:r", "orphans:r", "cached:r", "cache:r"
    )
    for one in found:
        stale, missing = sum(one.stale.values()), sum(one.missing.values())
        table.add_row(
            Text(one.modality, style="bold"), Text(one.wanted or "none"), str(one.width or "–"),
            Text(f"{one.present:,}", style="green" if one.present else ""),
            Text(f"{stale:,}", style="yellow" if stale else "dim"), Text(f"{missing:,}", style="" if missing else "dim"),
            Text(f"{one.orphans:,}", style="yellow" if one.orphans else "dim"),
            "–" if one.cached is None else f"{one.cached:,}",
            "–" if one.cache_bytes is None else f"{one.cache_bytes / 1e6:,.1f} MB",
        )  # fmt: skip
    out.print(table)
    for one in found:
        lines = [(keys, "stale", reason) for reason, keys in one.stale.items()]
        lines += [(keys, "missing", reason) for reason, keys in one.missing.items()]
        if not (lines or one.notes):
            continue
        out.print()
        out.print(Text(one.modality, style="bold"))
        reasons = Table(box=None, show_header=False, pad_edge=False)
        reasons.add_column(justify="right", no_wrap=True)
        reasons.add_column(no_wrap=True)
        reasons.add_column(overflow="fold")
        for keys, state, reason in lines:
            reasons.add_row(f"{keys:,}", Text(state, style=_COLOUR[state]), Text(reason))
        if lines:
            out.print(reasons)
        for note in one.notes:
            out.print(Text(note, style="dim"))
    out.print()
    if all(one.settled for one in found):
        out.print(Text("A run of the features stage would change nothing.", style="green"))
    else:
        fresh = sum(sum(one.stale.values()) + one.missing.get("not encoded yet", 0) for one in found)
        out.print(Text(f"{fresh:,} keys differ from what a run of the features stage would write.", style="yellow"))


def show_item(key: str, rows: Sequence[ItemStatus], tries: Sequence[Mapping[str, Any]]) -> None:
    """The state of one key in each modality, and what was tried to get its media."""
    out = console()
    out.print(Text(key.replace(":", " ", 1), style="bold"))
    table = _table("modality", "state", "reason", "source", "encoder")
    for one in rows:
        table.add_row(
            one.modality, Text(one.state, style=_COLOUR[one.state]), Text(one.reason), Text(one.source),
            Text(one.encoder or "–", style="dim"),
        )  # fmt: skip
    out.print(table)
    if tries:
        out.print()
        table = _table("tried", "source", "status", "http:r", "reason", "url")
        for attempt in tries:
            http = "–" if attempt["http"] is None else str(attempt["http"])
            cells = (attempt["time"], attempt["source"], attempt["status"], http, attempt["reason"], attempt["url"])
            table.add_row(*(Text(str(cell or "")) for cell in cells))
        out.print(table)


def show_drift(metrics: Mapping[str, Any], warnings: Sequence[str], against: Path | None) -> None:
    """A row per modality: what it is now, and how much of the baseline it kept."""
    out = console()
    out.print(Text.assemble(("drift", "bold"), f" against {against}"))
    table = _table(
        "modality", "vectors:r", "before:r", "keys kept:r", "content:r", "neighbours:r", "unchanged:r", "random:r",
        "length:r", "moved:r", "KS:r", "similarity:r", "repeats:r",
    )  # fmt: skip
    for modality, one in metrics.items():
        drift = one["drift"] or {}
        before = drift.get("count_before")
        table.add_row(
            Text(modality, style="bold"), f"{one['count']:,}", "–" if before is None else f"{before:,}",
            *(_percent(drift.get(name)) for name in ("keys_kept", "content_kept", "neighbours_kept",
                                                     "neighbours_kept_unchanged", "neighbours_at_random")),
            f"{one['norm']['mean']:.4g}" if one["norm"] else "–", _percent(drift.get("norm_shift")),
            "–" if drift.get("norm_ks") is None else f"{drift['norm_ks']:.3f}",
            "–" if one["similarity"] is None else f"{one['similarity']:.3f}", _percent(one["duplicates"]),
        )  # fmt: skip
    out.print(table)
    out.print()
    for warning in warnings:
        out.print(Text(warning, style="yellow"))
    if not warnings:
        out.print(Text("Within the limits.", style="green"))


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        name, _, right = column.partition(":")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
