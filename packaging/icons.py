"""Draw the program's own icon for menus and docks from the one drawing in ``assets/icons``.

::

    PYTHONPATH=. .venv/bin/python packaging/icons.py FOLDER

writes ``dragoman-SIZE.png``, ``dragoman.svg``, ``dragoman.ico`` (Windows) and, where Pillow can,
``dragoman.icns`` (macOS). Unlike the tray icon it has a ground of its own, since it may stand
anywhere.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

__all__ = ["SIZES", "main", "render_svg"]

SIZES = (16, 22, 24, 32, 48, 64, 128, 256, 512)
"""Sides in pixels, as the hicolor theme has them."""

_GROUND = "#1f7a5a"
_PAPER = "#f7f9fc"
_SVG = "{http://www.w3.org/2000/svg}"


def render_svg(drawing: str) -> str:
    """Return the icon as SVG.

    Args:
        drawing: the text of ``dragoman.svg``, whose groups are told apart by their class.
    """
    groups = {group.get("class"): group for group in ET.fromstring(drawing).iter(f"{_SVG}g")}  # noqa: S314 - ours

    def shapes(name: str) -> str:
        return "".join(
            f"<{shape.tag.removeprefix(_SVG)} "
            + " ".join(f'{key}="{value}"' for key, value in shape.attrib.items())
            + "/>"
            for shape in groups[name]
        )

    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">\n'
        f'  <rect width="64" height="64" rx="14" fill="{_GROUND}"/>\n'
        '  <g transform="translate(9.6 10.2) scale(.7)">\n'
        f'    <g fill="{_PAPER}">{shapes("body")}</g>\n'
        f'    <g fill="{_GROUND}">{shapes("arrows")}</g>\n'
        "  </g>\n</svg>\n"
    )


def main(folder: Path) -> None:
    """Write the icon in every form into a folder."""
    from PIL import Image, ImageDraw

    from app.desktop.icons import Look, draw
    from app.paths import asset

    def picture(side: int) -> Image.Image:
        fine = 4 * side
        canvas = Image.new("RGBA", (fine, fine))
        pen = ImageDraw.Draw(canvas)
        pen.rounded_rectangle((0, 0, fine - 1, fine - 1), radius=fine * 14 / 64, fill=_GROUND)
        glyph = draw(Look("running", "dark"), round(fine * 0.7))
        canvas.alpha_composite(glyph, (round(fine * 0.15), round(fine * 0.16)))
        return canvas.resize((side, side), Image.Resampling.LANCZOS)

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dragoman.svg").write_text(
        render_svg(asset("icons/dragoman.svg").read_text("utf-8")), "utf-8", newline="\n"
    )
    for side in SIZES:
        picture(side).save(folder / f"dragoman-{side}.png", optimize=True)
    large = picture(512)
    large.save(folder / "dragoman.ico", sizes=[(side, side) for side in (16, 24, 32, 48, 64, 256)])
    large.save(folder / "dragoman.icns")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
