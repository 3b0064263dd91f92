"""A menu on D-Bus: ``com.canonical.dbusmenu``, which Linux panels draw.

Ids are kept for an entry as long as it stays in the menu, found again by the texts that lead to
it: a panel that shows an older layout then still clicks what its user sees. An id is never given
to another entry.

Source: the interface's own description, ``dbus-menu.xml`` in libdbusmenu, and what xfce4-panel
4.18 and KDE call (observed 2026: clicks come by ``EventGroup`` only from xfce4-panel).
"""

# No postponed annotations here: dbus-fast reads the signatures out of them, and takes a postponed
# None for a wrong one.

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from dbus_fast import DBusError, PropertyAccess, Variant
from dbus_fast.annotations import DBusBool, DBusInt32, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

__all__ = ["DbusMenu", "Row"]

_Layout: TypeAlias = Annotated[list[Any], DBusSignature("(ia{sv}av)")]
_RevisionAndLayout: TypeAlias = Annotated[list[Any], DBusSignature("u(ia{sv}av)")]
_Rows: TypeAlias = Annotated[list[Any], DBusSignature("a(ia{sv})")]
_Names: TypeAlias = Annotated[list[str], DBusSignature("as")]
_Ids: TypeAlias = Annotated[list[int], DBusSignature("ai")]
_TwoIds: TypeAlias = Annotated[list[Any], DBusSignature("aiai")]
_Any: TypeAlias = Annotated[Variant, DBusSignature("v")]
_Events: TypeAlias = Annotated[list[Any], DBusSignature("a(isvu)")]
_Updated: TypeAlias = Annotated[list[Any], DBusSignature("ui")]

_Key: TypeAlias = tuple[tuple[str, int], ...]
"""Texts from the root to an entry; the number tells equal texts of one menu apart."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entry. ``text`` None is a separator; with ``children`` it is a submenu."""

    text: str | None
    click: Callable[[], None] | None = None
    """None: a line to read."""
    children: "tuple[Row, ...]" = ()
    checked: bool | None = None
    radio: bool = False


@dataclass(frozen=True, slots=True)
class _Node:
    id: int
    row: Row
    children: "tuple[_Node, ...]"

    def properties(self, wanted: Sequence[str]) -> dict[str, Variant]:
        row = self.row
        found: dict[str, Variant] = {}
        if row.text is None:
            found["type"] = Variant("s", "separator")
        else:
            found["label"] = Variant("s", row.text.replace("_", "__"))  # one means an access key
            found["enabled"] = Variant("b", bool(row.click or row.children))
            if row.checked is not None:
                kind = "radio" if row.radio else "checkmark"
                found["toggle-type"] = Variant("s", kind)
                found["toggle-state"] = Variant("i", int(row.checked))
        if self.children:
            found["children-display"] = Variant("s", "submenu")
        return {name: found[name] for name in found if name in wanted} if wanted else found

    def layout(self, depth: int, wanted: Sequence[str]) -> list[Any]:
        below = [] if depth == 0 else self.children
        children = [Variant("(ia{sv}av)", node.layout(depth - 1, wanted)) for node in below]
        return [self.id, self.properties(wanted), children]

    def walk(self) -> "Iterator[_Node]":
        yield self
        for child in self.children:
            yield from child.walk()


class DbusMenu(ServiceInterface):
    """The exported menu. ``replace`` gives it new rows; a click calls the row's ``click``.

    Args:
        run: is given each ``click``, to be called off the bus's loop.
    """

    def __init__(self, run: Callable[[Callable[[], None]], None]) -> None:
        super().__init__("com.canonical.dbusmenu")
        self._run = run
        self._revision = 1
        self._ids: dict[_Key, int] = {}
        self._last_id = 0
        self._shape: object = None
        self._root = self._number(())
        self._nodes = {node.id: node for node in self._root.walk()}

    def replace(self, rows: tuple[Row, ...]) -> bool:
        """Take new rows; returns whether they look different, in which case panels are told."""
        self._root = self._number(rows)
        self._nodes = {node.id: node for node in self._root.walk()}
        shape = _shape(self._root)
        if shape == self._shape:
            return False
        self._shape = shape
        self._revision += 1
        self.LayoutUpdated()
        return True

    def _number(self, rows: tuple[Row, ...]) -> _Node:
        used: dict[_Key, int] = {}

        def number(row: Row, key: _Key) -> _Node:
            found = self._ids.get(key)
            if found is None:
                self._last_id += 1
                found = self._last_id
            used[key] = found
            seen: dict[str, int] = {}
            children = []
            for child in row.children:
                text = child.text or ""
                seen[text] = seen.get(text, 0) + 1
                children.append(number(child, (*key, (text, seen[text]))))
            return _Node(found, row, tuple(children))

        self._ids.setdefault((), 0)
        root = number(Row("", children=rows), ())
        self._ids = used
        return root

    def _node(self, item_id: int) -> _Node:
        node = self._nodes.get(item_id)
        if node is None:
            raise DBusError("com.canonical.dbusmenu.Error", f"there is no item {item_id}")
        return node

    def _event(self, item_id: int, event: str) -> bool:
        """Act on an event; returns whether the item is there."""
        node = self._nodes.get(item_id)
        if node is None:
            return False
        if event == "clicked" and node.row.click is not None:
            self._run(node.row.click)
        return True

    @dbus_method()
    def GetLayout(
        self, parent_id: DBusInt32, depth: DBusInt32, property_names: _Names
    ) -> _RevisionAndLayout:
        """Return the revision and the tree below an item, ``depth`` levels or (-1) all."""
        return [self._revision, self._node(parent_id).layout(depth, property_names)]

    @dbus_method()
    def GetGroupProperties(self, ids: _Ids, property_names: _Names) -> _Rows:
        """Return properties of several items; an empty list means all items."""
        wanted = [self._nodes[i] for i in ids if i in self._nodes] if ids else self._nodes.values()
        return [[node.id, node.properties(property_names)] for node in wanted]

    @dbus_method()
    def GetProperty(self, item_id: DBusInt32, name: DBusStr) -> _Any:
        """Return one property of an item."""
        found = self._node(item_id).properties([name])
        if name not in found:
            raise DBusError("com.canonical.dbusmenu.Error", f"item {item_id} has no {name}")
        return found[name]

    @dbus_method()
    def Event(self, item_id: DBusInt32, event: DBusStr, data: _Any, timestamp: DBusUInt32) -> None:
        """Take a click or another event."""
        self._event(item_id, event)

    @dbus_method()
    def EventGroup(self, events: _Events) -> _Ids:
        """Take several events; returns the ids that are unknown."""
        return [event[0] for event in events if not self._event(event[0], event[1])]

    @dbus_method()
    def AboutToShow(self, item_id: DBusInt32) -> DBusBool:
        """Say whether the menu changed since it was read; it is always up to date."""
        return False

    @dbus_method()
    def AboutToShowGroup(self, ids: _Ids) -> _TwoIds:
        """Return the ids that need an update, and those that are unknown."""
        return [[], [i for i in ids if i not in self._nodes]]

    @dbus_signal()
    def LayoutUpdated(self) -> _Updated:
        """Tell panels to read the tree again."""
        return [self._revision, 0]

    @dbus_property(access=PropertyAccess.READ)
    def Version(self) -> DBusUInt32:
        """Return the version of the interface."""
        return 3

    @dbus_property(access=PropertyAccess.READ)
    def Status(self) -> DBusStr:
        """Return whether the menu wants attention; the icon says so instead."""
        return "normal"

    @dbus_property(access=PropertyAccess.READ)
    def TextDirection(self) -> DBusStr:
        """Return the direction of the texts, which are English."""
        return "ltr"

    @dbus_property(access=PropertyAccess.READ)
    def IconThemePath(self) -> _Names:
        """Return where icons of entries are: there are none."""
        return []


def _shape(node: _Node) -> object:
    """Return what a panel can see of a tree; what a click does is not part of it."""
    row = node.row
    looks = (row.text, row.click is None, row.checked, row.radio)
    return looks, tuple(_shape(child) for child in node.children)
