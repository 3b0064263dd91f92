"""What needs no bus; ``test_sni`` reads and clicks the menu over one."""

import pytest
from dbus_fast import DBusError

from app.desktop.dbusmenu import DbusMenu, Row


@pytest.fixture
def menu():
    return DbusMenu(lambda click: click())


def nothing():
    return None


def ids(menu):
    return {node.row.text: node.id for node in menu._root.walk()}


def test_ids_stay_with_their_entries(menu):
    menu.replace((Row("a", nothing), Row("b", children=(Row("c", nothing),))))
    before = ids(menu)
    menu.replace((Row("new", nothing), Row("b", children=(Row("c", nothing),)), Row("a", nothing)))
    after = ids(menu)
    assert {text: after[text] for text in "abc"} == {text: before[text] for text in "abc"}


def test_id_is_never_given_to_another_entry(menu):
    menu.replace((Row("a", nothing),))
    gone = ids(menu)["a"]
    menu.replace((Row("b", nothing),))
    menu.replace((Row("a", nothing),))
    assert ids(menu)["a"] > gone


def test_equal_texts_are_told_apart(menu):
    done = []
    menu.replace(
        (Row("same", lambda: done.append(1)), Row(None), Row("same", lambda: done.append(2)))
    )
    first, separator, second = menu._root.children
    assert len({first.id, separator.id, second.id}) == 3
    assert menu._event(second.id, "clicked")
    assert done == [2]


def test_panels_are_told_only_of_what_they_can_see(menu):
    assert menu.replace((Row("a", nothing),))
    assert not menu.replace((Row("a", lambda: None),))
    assert menu.replace((Row("a", nothing, checked=True),))
    assert menu.replace((Row("a"),))


def test_old_click_on_what_is_gone_does_nothing(menu):
    menu.replace((Row("a", nothing),))
    gone = ids(menu)["a"]
    menu.replace(())
    assert not menu._event(gone, "clicked")


def test_only_a_click_clicks(menu):
    done = []
    menu.replace((Row("a", lambda: done.append(1)),))
    assert menu._event(ids(menu)["a"], "hovered")
    assert done == []


def test_depth_and_wanted_properties_are_kept_to(menu):
    menu.replace((Row("a_b", children=(Row("c", nothing),)),))
    (_, _, children) = menu._root.layout(1, ["label"])
    (a,) = children
    assert a.value[1]["label"].value == "a__b"
    assert set(a.value[1]) == {"label"}
    assert a.value[2] == []


def test_unknown_item_is_an_error(menu):
    with pytest.raises(DBusError):
        menu._node(77)
