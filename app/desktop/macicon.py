"""pystray's icon of macOS, made crisp: a template image with pictures for both densities.

pystray gives the menu bar one picture in points, which Retina displays blur, and in colour, which
does not turn white on a dark bar. A template image is black on nothing; macOS colours it.
"""

from __future__ import annotations

import io
from typing import Any

from app.desktop import toolkit

__all__ = ["hand_over", "make_class"]


def make_class() -> Any:
    """Return the icon class; ``icon`` is then a function from a side in pixels to an image.

    Raises:
        ImportError: this is no macOS.
    """
    import AppKit
    import Foundation

    base = toolkit.icon_class("darwin")

    class TemplateIcon(base):  # type: ignore[misc, valid-type] # pystray has no types
        """A status item with a template image."""

        def _assert_image(self) -> None:
            icon: Any = self
            if icon._icon_image is None:
                side = int(icon._status_bar.thickness())
                icon._icon_image = template_image(AppKit, Foundation, icon._icon, side)
                icon._status_item.button().setImage_(icon._icon_image)

    return TemplateIcon


def template_image(appkit: Any, foundation: Any, draw: Any, side: int) -> Any:
    """Return an ``NSImage`` of ``side`` points with pictures of one and two pixels a point.

    Args:
        appkit: the module.
        foundation: the module.
        draw: makes a Pillow image for a side in pixels.
        side: points.
    """
    image = appkit.NSImage.alloc().initWithSize_((side, side))
    for density in (1, 2):
        buffer = io.BytesIO()
        draw(side * density).save(buffer, "png")
        content = buffer.getvalue()
        data = foundation.NSData.dataWithBytes_length_(content, len(content))
        picture = appkit.NSBitmapImageRep.imageRepWithData_(data)
        picture.setSize_((side, side))
        image.addRepresentation_(picture)
    image.setTemplate_(True)
    return image


def hand_over(call: Any) -> None:
    """Make a call on the main thread, the only one that may touch the menu bar."""
    from PyObjCTools import AppHelper

    AppHelper.callAfter(call)
