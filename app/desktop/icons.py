"""The tray icon in each state, drawn from the one description in ``assets/icons/dragoman.svg``.

The file uses a small part of SVG: groups with a class, holding rectangles, circles and polygons.
The groups are cut out of each other and coloured here, so that one source gives every state on
light and dark panels, and the black shapes that macOS wants as a template. States differ in shape
and not only in colour: hollow (stopped), two bars (paused), a dot (working), a dot with a mark
(attention).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from PIL import Image, ImageChops, ImageDraw

from app.gateway.status import State
from app.paths import asset

__all__ = ["Look", "Theme", "draw"]

Theme: TypeAlias = Literal["light", "dark", "template"]
"""The panel behind the icon: ``light`` gets dark ink. ``template``: black on nothing, for macOS."""

_UNITS = 64
"""Side of the drawing's view box."""
_FINE = 4
"""Drawn this many times larger and scaled down, since Pillow's shapes have hard edges."""

_Colour: TypeAlias = tuple[int, int, int, int]

_INK: dict[Theme, _Colour] = {
    "light": (36, 41, 51, 255),
    "dark": (240, 243, 247, 255),
    "template": (0, 0, 0, 255),
}
_GREEN: _Colour = (46, 160, 92, 255)
_AMBER: _Colour = (224, 134, 0, 255)
_RED: _Colour = (209, 52, 56, 255)
_LOW_PERCENT = 20.0
_STEPS = 16
"""Lengths that the bar can have: finer ones cannot be told apart in a panel."""


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that an icon's picture depends on; equal looks are equal pictures."""

    state: State
    theme: Theme
    left: int | None = None
    """What is left of the quota in sixteenths; None draws no bar."""

    @classmethod
    def of(cls, state: State, theme: Theme, left_percent: float | None) -> Look:
        """Return the look for a percentage, 0 to 100; a little is never shown as nothing."""
        if left_percent is None:
            return cls(state, theme)
        steps = round(left_percent * _STEPS / 100)
        return cls(state, theme, max(1, steps) if left_percent > 0 else 0)


@lru_cache(maxsize=16)
def draw(look: Look, size: int = 64) -> Image.Image:
    """Return the icon as an RGBA picture of ``size`` by ``size`` pixels; it must not be changed."""
    shapes = _shapes()
    side = size * _FINE
    canvas = Image.new("RGBA", (side, side))
    body = _mask(shapes["body"], side)
    bar = None if look.left is None else _mask(shapes["bar"], side)
    if look.state == "stopped":
        body = _without(body, _mask(shapes["hollow"], side))
    else:
        cut = "pause" if look.state == "paused" else "arrows"
        body = _without(body, _mask(shapes[cut], side))
    if look.state in ("working", "attention"):
        body = _without(body, _mask(shapes["ring"], side))
    if bar is not None:
        gap = _mask(shapes["bar"], side, grow=2.0)
        body = _without(body, gap)
    ink = _INK[look.theme]
    _paint(canvas, body, ink)
    if look.state in ("working", "attention"):
        dot = _mask(shapes["dot"], side)
        if look.state == "attention":
            dot = _without(dot, _mask(shapes["mark"], side))
        _paint(canvas, dot, _accent(look))
    if bar is not None:
        _paint_bar(canvas, bar, look)
    return canvas.resize((size, size), Image.Resampling.LANCZOS)


def _accent(look: Look) -> _Colour:
    if look.theme == "template":
        return _INK["template"]
    return _AMBER if look.state == "attention" else _GREEN


def _paint_bar(canvas: Image.Image, bar: Image.Image, look: Look) -> None:
    assert look.left is not None  # noqa: S101 - drawn only then
    red, green, blue, _ = _INK[look.theme]
    _paint(canvas, bar, (red, green, blue, 90))
    left, top, right, bottom = bar.getbbox() or (0, 0, 0, 0)
    filled = Image.new("L", bar.size)
    width = (right - left) * look.left / _STEPS
    ImageDraw.Draw(filled).rectangle((left, top, left + width, bottom), fill=255 if width else 0)
    colour = _INK[look.theme]
    if look.theme != "template" and look.left * 100 / _STEPS <= _LOW_PERCENT:
        colour = _RED
    _paint(canvas, ImageChops.multiply(bar, filled), colour)


def _paint(canvas: Image.Image, mask: Image.Image, colour: _Colour) -> None:
    layer = Image.new("RGBA", canvas.size, (*colour[:3], 0))
    layer.putalpha(mask.point([value * colour[3] // 255 for value in range(256)]))
    canvas.alpha_composite(layer)


def _without(mask: Image.Image, hole: Image.Image) -> Image.Image:
    return ImageChops.subtract(mask, hole)


def _mask(shapes: Iterable[_Shape], side: int, grow: float = 0.0) -> Image.Image:
    """Return where shapes are, ``grow`` units larger on each side."""
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    scale = side / _UNITS
    for shape in shapes:
        shape.fill(pen, scale, grow)
    return mask


@dataclass(frozen=True, slots=True)
class _Shape:
    kind: Literal["rect", "circle", "polygon"]
    numbers: tuple[float, ...]
    """``rect``: x, y, width, height, radius. ``circle``: centre and radius. Else the points."""

    def fill(self, pen: ImageDraw.ImageDraw, scale: float, grow: float) -> None:
        match self.kind:
            case "rect":
                x, y, width, height, radius = self.numbers
                box = (x - grow, y - grow, x + width + grow, y + height + grow)
                scaled = tuple(value * scale for value in box)
                pen.rounded_rectangle(scaled, (radius + grow) * scale, fill=255)
            case "circle":
                x, y, radius = self.numbers
                reach = radius + grow
                box = (x - reach, y - reach, x + reach, y + reach)
                pen.ellipse(tuple(value * scale for value in box), fill=255)
            case "polygon":
                pen.polygon([value * scale for value in self.numbers], fill=255)


@lru_cache(maxsize=1)
def _shapes() -> dict[str, tuple[_Shape, ...]]:
    """Read the drawing: shapes by the class of their group."""
    root = ET.fromstring(asset("icons/dragoman.svg").read_bytes())  # noqa: S314 - our own file
    return {
        group.get("class", ""): tuple(_shape(element) for element in group)
        for group in root
        if group.tag.endswith("}g")
    }


def _shape(element: ET.Element) -> _Shape:
    def number(name: str) -> float:
        return float(element.get(name, "0"))

    match element.tag.rpartition("}")[2]:
        case "rect":
            names = ("x", "y", "width", "height", "rx")
            return _Shape("rect", tuple(number(name) for name in names))
        case "circle":
            return _Shape("circle", (number("cx"), number("cy"), number("r")))
        case "polygon":
            points = element.get("points", "").replace(",", " ").split()
            return _Shape("polygon", tuple(float(point) for point in points))
        case other:
            raise ValueError(f"assets/icons/dragoman.svg has <{other}>, which is not drawn")
