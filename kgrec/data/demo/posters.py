"""A look is a way to draw a poster: a motif, a few palettes and a texture.

Posters of one look differ in palette, composition and title; posters of two looks may share a palette. Art is drawn
at twice the size and reduced, so that edges are smooth. The bytes of a JPEG depend on the seed and on Pillow's
version alone.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import RandomState
from PIL import Image, ImageDraw, ImageFont

from kgrec.data.demo.words import plain_ascii

#: Pixels of a published poster.
WIDTH, HEIGHT = 180, 270
_W, _H = 2 * WIDTH, 2 * HEIGHT

Colour = tuple[int, int, int]
#: Background (dark to light as the motif needs), then accents.
Palette = tuple[Colour, ...]
Motif = Callable[[Image.Image, Palette, RandomState], None]
Texture = Callable[[Image.Image, RandomState], Image.Image]


#: The picture that stands in where a film has none: a flat grey JPEG, kept as bytes so that no Pillow changes its hash.
PLACEHOLDER: bytes = (
    base64.b64decode(
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19i"
        "Z2hnPk1xeXBkeFxlZ2P/2wBDARESEhgVGC8aGi9jQjhCY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2NjY2Nj"
        "Y2NjY2NjY2P/wAARCAEOALQDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAX/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QA"
        "FAEBAAAAAAAAAAAAAAAAAAAAAP/EABQRAQAAAAAAAAAAAAAAAAAAAAD/2gAMAwEAAhEDEQA/AKw="
    )
    + bytes(305)
    + bytes.fromhex("03ffd9")
)


def _colours(*names: str) -> Palette:
    return tuple((int(name[:2], 16), int(name[2:4], 16), int(name[4:], 16)) for name in names)


DUSK = _colours("2d1e4a", "7b3f72", "e8825a", "fbd08f", "fff1cf")
GLACIER = _colours("10293f", "2f6079", "7fb3bf", "d3e6e2", "f6f3e6")
FOREST = _colours("16281f", "2f5640", "7d9b5f", "d9c77d", "f4ecd0")
NEON = _colours("12062e", "3b0f6b", "ff3d9a", "ffd447", "38e5ff")
GOLD = _colours("15120f", "3a2c1a", "c99b3f", "f0d690", "f8efd9")
EMERALD = _colours("0c1f1d", "12423c", "c6a35a", "efe0a8", "f7f1de")
POP = _colours("1d1d1b", "e03b2f", "f2b71f", "1f5fa8", "f5efe0")
SEA = _colours("0f2c59", "2a5c9a", "8fb7d9", "e4573d", "f4efe2")
CANDY = _colours("3c1642", "c8467d", "ffb3a7", "3fb6a8", "fff3e4")


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def _gradient(image: Image.Image, stops: Palette) -> None:
    """Fill ``image`` from top to bottom."""
    draw = ImageDraw.Draw(image)
    for y in range(image.height):
        place = y / (image.height - 1) * (len(stops) - 1)
        i = min(int(place), len(stops) - 2)
        draw.line([(0, y), (image.width, y)], fill=_mix(stops[i], stops[i + 1], place - i))


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: Colour) -> None:
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)


def _between(random: RandomState, low: float, high: float) -> float:
    return low + (high - low) * float(random.rand())


def ridges(image: Image.Image, palette: Palette, random: RandomState) -> None:
    """A sun over receding mountain ridges."""
    dark, low, high, light, paper = palette
    _gradient(image, (low, high, light))
    draw = ImageDraw.Draw(image)
    _disc(draw, _between(random, 80, 280), _between(random, 110, 200), _between(random, 36, 64), paper)
    for layer in range(5):
        base, roughness = 210 + layer * 62, 58 - layer * 5
        heights = [_between(random, -1, 1) for _ in range(3)]
        while len(heights) < 97:  # midpoint displacement
            jitter = 2.0 / len(heights)
            middles = [(a + b) / 2 + _between(random, -1, 1) * jitter for a, b in pairwise(heights)]
            heights = [value for pair in zip(heights, [*middles, 0.0], strict=True) for value in pair][:-1]
        step = _W / (len(heights) - 1)
        outline = [(i * step, base - value * roughness) for i, value in enumerate(heights)]
        draw.polygon([(0, _H), *outline, (_W, _H)], fill=_mix(_mix(high, low, 0.5), dark, layer / 4))


def grid(image: Image.Image, palette: Palette, random: RandomState) -> None:
    """A striped sun above a plane of glowing lines in perspective."""
    dark, low, high, light, glow = palette
    horizon = _between(random, 285, 330)
    _gradient(image, (dark, low, dark))
    draw = ImageDraw.Draw(image)
    for _ in range(60):
        _disc(draw, _between(random, 0, _W), _between(random, 0, horizon), _between(random, 0.8, 2.2), light)
    x, radius = _between(random, 130, 230), _between(random, 85, 120)
    sun = Image.new("RGB", image.size)
    _gradient(sun, (light, light, high, high))
    mask = Image.new("L", image.size)
    cut = ImageDraw.Draw(mask)
    cut.ellipse([x - radius, horizon - 1.55 * radius, x + radius, horizon + 0.45 * radius], fill=255)
    for stripe in range(6):
        y = horizon - radius * 0.95 * (1 - stripe / 6)
        cut.rectangle([0, y, _W, y + 3 + 2 * stripe], fill=0)
    cut.rectangle([0, horizon, _W, _H], fill=0)
    image.paste(sun, mask=mask)
    draw.rectangle([0, horizon, _W, _H], fill=dark)
    vanishing = _between(random, 120, 240)
    for i in range(-14, 15):
        draw.line([(vanishing, horizon), (vanishing + i * 90, _H)], fill=glow, width=2)
    for i in range(1, 13):
        y = horizon + (_H - horizon) * (i / 12) ** 2
        draw.line([(0, y), (_W, y)], fill=glow, width=2)
    draw.line([(0, horizon), (_W, horizon)], fill=high, width=4)


def rays(image: Image.Image, palette: Palette, random: RandomState) -> None:
    """Art deco: a fan of rays behind a stepped tower."""
    dark, low, high, light, _ = palette
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 0, _W, _H], fill=dark)
    x, y = _between(random, 140, 220), _between(random, 400, 450)
    count = int(random.randint(15, 25))
    for i in range(count):
        start = math.pi * (1 + i / count)
        end = start + math.pi / count * 0.5
        draw.polygon([(x, y), (x + 700 * math.cos(start), y + 700 * math.sin(start)),
                      (x + 700 * math.cos(end), y + 700 * math.sin(end))], fill=high if i % 2 else low)  # fmt: skip
    for radius in (250, 190):
        draw.arc([x - radius, y - radius, x + radius, y + radius], 180, 360, fill=light, width=5)
    half, top, steps = _between(random, 58, 74), _between(random, 110, 170), int(random.randint(4, 7))
    for step in range(steps):
        width, rise = half * (1 - step / steps), y - (y - top) * (0.45 + 0.55 * step / max(1, steps - 1))
        draw.rectangle([x - width, rise, x + width, y], fill=dark, outline=light, width=4)
        draw.line([(x - width / 2, rise), (x - width / 2, y)], fill=high, width=3)
        draw.line([(x + width / 2, rise), (x + width / 2, y)], fill=high, width=3)
    draw.rectangle([0, y, _W, _H], fill=dark)
    draw.rectangle([10, 10, _W - 11, _H - 11], outline=high, width=4)
    draw.rectangle([20, 20, _W - 21, _H - 21], outline=light, width=2)


def rings(image: Image.Image, palette: Palette, random: RandomState) -> None:
    """Op art: a few targets of concentric rings that overlap."""
    dark, low, high, _, paper = palette
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 0, _W, _H], fill=paper)
    centres = [(_between(random, 60, 300), _between(random, 60, 400)) for _ in range(int(random.randint(2, 4)))]
    for i, (x, y) in enumerate(centres):
        step, outer = _between(random, 11, 17), (430 if i == 0 else _between(random, 90, 150))
        colour = (dark, low, high)[i % 3]
        for ring, radius in enumerate(np.arange(outer, 4, -step)):
            _disc(draw, x, y, float(radius), colour if ring % 2 == 0 else paper)
        _disc(draw, x, y, step * 1.2, low)


def leaves(image: Image.Image, palette: Palette, random: RandomState) -> None:
    """Sprigs of pointed leaves on paper."""
    dark, low, high, light, paper = palette
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 0, _W, _H], fill=paper)

    def leaf(x: float, y: float, angle: float, length: float, colour: Colour) -> None:
        edge = [(t, 0.3 * math.sin(math.pi * t) * side) for side in (1, -1) for t in np.linspace(0, 1, 13)[::side]]
        cos, sin = math.cos(angle) * length, math.sin(angle) * length
        draw.polygon([(x + a * cos - b * sin, y + a * sin + b * cos) for a, b in edge], fill=colour)
        draw.line([(x, y), (x + 0.9 * cos, y + 0.9 * sin)], fill=_mix(colour, paper, 0.45), width=3)

    for _ in range(int(random.randint(5, 8))):
        x, y, angle = _between(random, 0, _W), _between(random, 250, 520), _between(random, -2.2, -0.9)
        stem, colour = int(random.randint(6, 10)), (dark, low, high, low)[int(random.randint(4))]
        for node in range(stem):
            nx, ny = x + 34 * math.cos(angle), y + 34 * math.sin(angle)
            draw.line([(x, y), (nx, ny)], fill=dark, width=4)
            size = 78 * (1 - node / (stem + 2))
            leaf(nx, ny, angle + 0.85, size, colour)
            leaf(nx, ny, angle - 0.85, size, colour)
            x, y, angle = nx, ny, angle + _between(random, -0.12, 0.12)
        _disc(draw, x, y, 11, light if random.rand() < 0.7 else high)


def blocks(image: Image.Image, palette: Palette, random: RandomState) -> None:
    """A board of quarter circles, half circles, triangles and squares."""
    *inks, paper = palette
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 0, _W, _H], fill=paper)
    size = _W // int(random.randint(3, 5))
    for y in range(0, _H, size):
        for x in range(0, _W, size):
            first, second = (inks[int(i)] for i in random.permutation(len(inks))[:2])
            draw.rectangle([x, y, x + size, y + size], fill=first if random.rand() < 0.45 else paper)
            shape, turn = int(random.randint(5)), int(random.randint(4))
            if shape <= 1:  # quarter circle around a corner
                cx, cy = x + size * (turn % 2), y + size * (turn // 2)
                start = {0: 0, 1: 90, 3: 180, 2: 270}[turn]
                draw.pieslice([cx - size, cy - size, cx + size, cy + size], start, start + 90, fill=second)
            elif shape == 2:
                draw.pieslice([x + 2, y + 2, x + size - 2, y + size - 2], 90 * turn, 90 * turn + 180, fill=second)
            elif shape == 3:
                corners = [(x, y), (x + size, y), (x + size, y + size), (x, y + size)]
                draw.polygon(corners[:turn] + corners[turn + 1 :], fill=second)
            else:
                _disc(draw, x + size / 2, y + size / 2, size * 0.28, second)


def waves(image: Image.Image, palette: Palette, random: RandomState) -> None:
    """Rows of overlapping wave scales under a red moon."""
    dark, low, high, accent, paper = palette
    draw = ImageDraw.Draw(image)
    draw.rectangle([0, 0, _W, _H], fill=paper)
    _disc(draw, _between(random, 100, 260), _between(random, 100, 150), _between(random, 55, 80), accent)
    radius, shore = int(random.randint(38, 58)), _between(random, 170, 230)
    y, row = shore, 0
    while y < _H + radius:
        for x in range(-radius * (row % 2), _W + 2 * radius, 2 * radius):
            for ring, share in enumerate((1.0, 0.8, 0.6, 0.4, 0.2)):
                _disc(draw, x, y, radius * share, (dark, paper, low, paper, high)[ring])
        y, row = y + radius * 0.55, row + 1


def city(image: Image.Image, palette: Palette, random: RandomState) -> None:
    """A skyline at night with lit windows."""
    dark, low, high, light, _ = palette
    _gradient(image, (_mix(dark, (0, 0, 0), 0.5), dark, low))
    draw = ImageDraw.Draw(image)
    for _ in range(45):
        _disc(draw, _between(random, 0, _W), _between(random, 0, 280), _between(random, 0.7, 1.9), light)
    x, y, radius = _between(random, 60, 300), _between(random, 70, 130), _between(random, 26, 40)
    _disc(draw, x, y, radius, light)
    _disc(draw, x + radius * 0.4, y - radius * 0.2, radius * 0.9, _mix(dark, (0, 0, 0), 0.35))
    for layer, colour in enumerate((_mix(low, high, 0.25), _mix(dark, low, 0.5), _mix(dark, (0, 0, 0), 0.55))):
        left = -int(random.randint(30))
        while left < _W:
            width, top = int(random.randint(38, 74)), int(random.randint(170, 330)) + 55 * layer
            draw.rectangle([left, top, left + width, _H], fill=colour)
            if random.rand() < 0.3:
                draw.line([(left + width // 2, top), (left + width // 2, top - 34)], fill=colour, width=4)
            if layer:
                for wy in range(top + 10, _H, 19):
                    for wx in range(left + 7, left + width - 10, 15):
                        if random.rand() < 0.42:
                            draw.rectangle([wx, wy, wx + 7, wy + 10], fill=light if random.rand() < 0.75 else high)
            left += width + int(random.randint(0, 5))


def plain(image: Image.Image, random: RandomState) -> Image.Image:
    """No texture."""
    return image


def grain(image: Image.Image, random: RandomState) -> Image.Image:
    """Film grain."""
    noise = random.randint(-11, 12, size=(image.height, image.width, 1))
    return Image.fromarray(np.clip(np.asarray(image, dtype=np.int16) + noise, 0, 255).astype(np.uint8))


def scanlines(image: Image.Image, random: RandomState) -> Image.Image:
    """Every third line darker."""
    pixels = np.asarray(image, dtype=np.int16).copy()
    pixels[::3] = pixels[::3] * 4 // 5
    return Image.fromarray(pixels.astype(np.uint8))


def weave(image: Image.Image, random: RandomState) -> Image.Image:
    """A faint weave, as of canvas."""
    rows, columns = np.arange(image.height)[:, None, None], np.arange(image.width)[None, :, None]
    pixels = np.asarray(image, dtype=np.int16) + np.where((rows // 2 + columns // 2) % 2, 5, -5)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class Look:
    """How a poster is drawn."""

    name: str
    motif: Motif
    palettes: tuple[Palette, ...]
    texture: Texture


LOOKS: tuple[Look, ...] = (
    Look("ridges", ridges, (DUSK, GLACIER, FOREST), grain),
    Look("grid", grid, (NEON, CANDY), scanlines),
    Look("rays", rays, (GOLD, EMERALD, SEA), plain),
    Look("rings", rings, (POP, SEA, CANDY), plain),
    Look("leaves", leaves, (FOREST, CANDY, GLACIER), grain),
    Look("blocks", blocks, (POP, SEA, CANDY), weave),
    Look("waves", waves, (SEA, EMERALD, POP), plain),
    Look("city", city, (DUSK, NEON, GLACIER), plain),
)


def draw_poster(look: Look, title: str, random: RandomState) -> Image.Image:
    """An RGB poster of :data:`WIDTH` x :data:`HEIGHT` pixels with its title and a line that calls it synthetic."""
    palette = look.palettes[int(random.randint(len(look.palettes)))]
    image = Image.new("RGB", (_W, _H))
    look.motif(image, palette, random)
    _lettering(image, title, palette)
    return look.texture(image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS), random)


def _lettering(image: Image.Image, title: str, palette: Palette) -> None:
    """A band at the foot with the title, as large as fits in two lines, and the label."""
    text = plain_ascii(title).upper()
    halves = [(" ".join(text.split()[:i]), " ".join(text.split()[i:])) for i in range(1, len(text.split()) + 1)]
    draw = ImageDraw.Draw(image)
    top = _H - 96
    draw.rectangle([0, top, _W, _H], fill=palette[0])
    draw.line([(24, top + 8), (_W - 24, top + 8)], fill=palette[2], width=2)
    for size in range(32, 13, -2):
        font = ImageFont.load_default(size)
        lines = min(halves, key=lambda pair: max(draw.textlength(line, font) for line in pair))
        if size <= 30 and draw.textlength(text, font) <= _W - 40:
            lines = (text, "")
        if all(draw.textlength(line, font) <= _W - 40 for line in lines):
            break
    shown = [line for line in lines if line]
    middle = top + 42
    for i, line in enumerate(shown):
        y = middle + (i - (len(shown) - 1) / 2) * (size + 2)
        draw.text((_W / 2, y), line, font=font, fill=palette[-1], anchor="mm")
    label = ImageFont.load_default(13)
    draw.text((_W / 2, _H - 12), "A SYNTHETIC DEMO FILM", font=label, fill=palette[2], anchor="mm")


def jpeg(image: Image.Image) -> bytes:
    """``image`` as JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=86)
    return stream.getvalue()
