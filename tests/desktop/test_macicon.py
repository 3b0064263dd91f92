"""With stand-ins for the modules of macOS, which are only there."""

import importlib
import io

from app.desktop.icons import Look, draw
from app.desktop.macicon import template_image


class Recorder:
    """Takes any call; ``calls`` has name and arguments of each."""

    def __init__(self, calls):
        self.calls = calls

    def __getattr__(self, name):
        def call(*arguments):
            self.calls.append((name, arguments))
            return self

        return call


class FakeAppKit:
    def __init__(self):
        self.calls = []
        self.NSImage = Recorder(self.calls)
        self.NSBitmapImageRep = self

    def imageRepWithData_(self, data):
        self.calls.append(
            ("picture", importlib.import_module("PIL.Image").open(io.BytesIO(data)).size)
        )
        return Recorder(self.calls)


class FakeFoundation:
    class NSData:
        @staticmethod
        def dataWithBytes_length_(content, length):
            assert length == len(content)
            return content


def test_template_has_a_picture_for_each_density():
    appkit = FakeAppKit()
    template_image(appkit, FakeFoundation, lambda side: draw(Look("running", "template"), side), 22)
    assert ("initWithSize_", ((22, 22),)) in appkit.calls
    assert [size for name, size in appkit.calls if name == "picture"] == [(22, 22), (44, 44)]
    assert [a for name, a in appkit.calls if name == "setSize_"] == [((22, 22),)] * 2
    assert appkit.calls[-1] == ("setTemplate_", (True,))
