"""Pictures in a terminal are half-blocks: a character is two pixels, one above the other, in 24-bit colour."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from PIL import Image
from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich_pixels import HalfcellRenderer, Pixels

from kgrec.features.pages import Card
from kgrec.features.search import Found

#: least and most columns of a picture in a sheet of pictures, columns beside a text and between pictures
_LEAST, _MOST, _BESIDE, _GAP = 22, 32, 14, 2


_TILES = ("#33475b", "#3d4a3a", "#54404f", "#4b4338", "#35494a", "#43405c")


def shows_pictures(out: Console) -> bool:
    """Whether a terminal has the colours for pictures."""
    return out.is_terminal and out.color_system in ("256", "truecolor") and not out.no_color


def show_found(out: Console, found: Found, cards: Sequence[Card], asked: Card | None) -> None:
    """What was asked, how it was answered, and the hits: pictures where the terminal can, else a table."""
    pictures = shows_pictures(out)
    said = Text.assemble(
        {"text": "nearest to ", "like": "most like ", "image": "nearest to "}[found.question.kind],
        (found.question.said, "bold"), f"  {found.question.key.replace(':', ' ', 1)}" if found.question.key else "",
    )  # fmt: skip
    facts = f"{found.compared:,} {found.modality} vectors of {found.encoder}; cosine of all {found.mean:.3f} ± {found.std:.3f}"
    lines = [said, Text(facts, style="dim"), *([Text(found.note, style="dim")] if found.note else [])]
    if pictures and asked is not None:
        head = Table.grid(padding=(0, _GAP, 0, 0))
        head.add_column(width=_BESIDE)
        head.add_row(picture(asked, _BESIDE), Group(*lines))
        out.print(head)
    else:
        out.print(*lines, sep="\n")
    out.print()
    if not cards:
        out.print(Text("There is nothing to compare with.", style="yellow"))
    elif not pictures:
        out.print(_table(found, cards))
    elif found.modality == "text":
        out.print(_beside(cards))
    else:
        _sheet(out, cards)


def picture(card: Card, columns: int) -> RenderableType:
    """A card's picture, as wide as it is told and one and a half times as high; or its placeholder."""
    if card.picture is None:
        return _placeholder(card, columns)
    return Pixels.from_image(_fit(card.picture, columns), renderer=HalfcellRenderer())


def _fit(image: Image.Image, columns: int) -> Image.Image:
    """Scaled and cut to 2 : 3, an even number of pixels high."""
    width, height = columns, _rows(columns) * 2
    scale = max(width / image.width, height / image.height)
    size = max(width, round(image.width * scale)), max(height, round(image.height * scale))
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return image.resize(size, Image.Resampling.LANCZOS).crop((left, top, left + width, top + height))


def _rows(columns: int) -> int:
    return round(columns * 1.5 / 2)


def _placeholder(card: Card, columns: int) -> RenderableType:
    """A quiet tile with the reason."""
    colour = _TILES[zlib.crc32(card.hit.key.encode()) % len(_TILES)]
    words = Align.center(Text(card.reason, justify="center", overflow="fold"), vertical="middle")
    return Panel(
        words, width=columns, height=_rows(columns), style=f"white on {colour}", border_style=f"{colour} on {colour}"
    )


def _line(rank: int, card: Card) -> Text:
    return Text.assemble((f"{rank}  ", "dim"), (f"{card.hit.similarity:.3f}", "green"), (f"  {card.hit.id}", "dim"))


def _sheet(out: Console, cards: Sequence[Card]) -> None:
    """Rows of pictures with rank, similarity and title under each."""
    across = max(1, (out.width + _GAP) // (_LEAST + _GAP))
    columns = min(_MOST, (out.width + _GAP) // across - _GAP)
    for start in range(0, len(cards), across):
        grid = Table.grid(padding=(0, _GAP, 0, 0))
        part = cards[start : start + across]
        for _ in part:
            grid.add_column(width=columns)
        grid.add_row(*(picture(card, columns) for card in part))
        grid.add_row(*(_line(start + place, card) for place, card in enumerate(part, 1)))
        grid.add_row(*(Text(card.title, overflow="fold") for card in part))
        out.print(grid)
        out.print()


def _beside(cards: Sequence[Card]) -> Table:
    """A picture with rank, similarity, title and the beginning of the text beside it."""
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(width=_BESIDE)
    grid.add_column(ratio=1, max_width=90)
    lines = _rows(_BESIDE) - 3
    for rank, card in enumerate(cards, 1):
        text = Text(_cut(card.text, 70 * lines), style="dim")
        grid.add_row(picture(card, _BESIDE), Group(_line(rank, card), Text(card.title, style="bold"), text))
        grid.add_row()
    return grid


def _table(found: Found, cards: Sequence[Card]) -> Table:
    """For pipes and terminals without colours."""
    table = Table(box=None, pad_edge=False)
    table.add_column("rank", justify="right", style="dim")
    table.add_column("cosine", justify="right")
    table.add_column("title", overflow="fold")
    table.add_column("key", style="dim", overflow="fold")
    table.add_column("text" if found.modality == "text" else "picture", style="dim", overflow="fold")
    for rank, card in enumerate(cards, start=1):
        last = _cut(card.text, 70) if found.modality == "text" else card.reason or "yes"
        table.add_row(str(rank), f"{card.hit.similarity:.4f}", Text(card.title), Text(card.hit.key), Text(last))
    return table


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[:length].rsplit(" ", 1)[0] + " …"
