"""A headless Chromium over its DevTools protocol: no driver and no further library is needed."""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tornado.websocket import websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
_LONGEST_MESSAGE = 64 * 1024 * 1024
_PATIENCE_S = 60
"""More than ``until`` waits: the page itself says then what it waited for."""


def find_chromium():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One browser process with a profile of its own; pages are made by ``page``."""

    def __init__(self, path):
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        command = [path, "--headless=new", "--remote-debugging-port=0", "--disable-gpu"]
        command += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
        command += ["--hide-scrollbars", "--force-device-scale-factor=1", "--lang=en-GB"]
        command += ["--disable-dev-shm-usage", f"--user-data-dir={self._profile.name}"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--no-sandbox")  # its sandbox refuses to run as root
        self._process = subprocess.Popen(
            [*command, "about:blank"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        for line in self._process.stderr:
            if line.startswith(b"DevTools listening on "):
                self.address = line.split()[-1].decode()
                return
        raise RuntimeError("the browser ended before it listened")

    def close(self):
        self._process.terminate()
        self._process.stderr.close()
        self._process.wait(20)
        self._profile.cleanup()

    @contextlib.asynccontextmanager
    async def page(self):
        """Give a page that shares nothing with other pages."""
        socket = await websocket_connect(self.address, max_message_size=_LONGEST_MESSAGE)
        page = Page(socket)
        try:
            await page.open()
            yield page
        finally:
            await page.close()


class Page:
    """One page. ``faults`` collects what its console would show in red."""

    def __init__(self, socket):
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting = {}
        self._session = None
        self._context = None
        self.faults = []

    async def open(self):
        self._reading = asyncio.ensure_future(self._read())
        made = await self.call("Target.createBrowserContext")
        self._context = made["browserContextId"]
        target = await self.call(
            "Target.createTarget", url="about:blank", browserContextId=self._context
        )
        attached = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")

    async def close(self):
        self._session = None
        if self._context is not None:
            await self.call("Target.disposeBrowserContext", browserContextId=self._context)
        self._socket.close()
        await self._reading

    async def call(self, method, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.write_message(json.dumps(message))
        return await asyncio.wait_for(answer, _PATIENCE_S)

    async def _read(self):
        while (text := await self._socket.read_message()) is not None:
            message = json.loads(text)
            if "id" in message:
                answer = self._waiting.pop(message["id"])
                if "error" in message:
                    answer.set_exception(RuntimeError(str(message["error"])))
                else:
                    answer.set_result(message["result"])
            else:
                self._hear(message["method"], message["params"])

    def _hear(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            said = details.get("exception", {}).get("description", details["text"])
            self.faults.append(f"exception: {said}")
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.faults.append(f"console: {[a.get('value') for a in params['args']]}")
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]
            self.faults.append(f"{entry['source']}: {entry['text']} {entry.get('url', '')}")

    async def size(self, width, height=800, *, dark=False):
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        await self.call("Emulation.setEmulatedMedia", features=[theme, still])

    async def go(self, url):
        await self.call("Page.navigate", url=url)

    async def run(self, code):
        """Run code, which may await, and return its value."""
        answer = await self.call(
            "Runtime.evaluate",
            expression=f"(async () => {{ {code} }})()",
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in answer:
            said = answer["exceptionDetails"].get("exception", {}).get("description")
            raise AssertionError(said or answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    async def until(self, condition, timeout_s=45):
        """Wait until an expression of the page is true, and return its value."""
        code = f"""
          const until = performance.now() + {timeout_s * 1000};
          for (;;) {{
            const value = (() => {{ try {{ return {condition}; }} catch {{ return null; }} }})();
            if (value) return typeof value === "object" ? true : value;
            if (performance.now() > until) return null;
            await new Promise((go) => setTimeout(go, 30));
          }}"""
        value = await self.run(code)
        if not value:
            seen = await self.run("return document.body ? document.body.innerText : ''")
            raise AssertionError(f"never true: {condition}\nfaults: {self.faults}\n{seen[:1500]}")
        return value

    async def see(self, text):
        """Wait until the page shows a text."""
        await self.until(f"document.body.innerText.includes({json.dumps(text)})")

    async def text(self):
        return await self.run("return document.body.innerText")

    async def press(self, name, within="document"):
        """Press the button or link of a name, as a user's finger would."""
        wanted = json.dumps(name)
        await self.until(
            f"[...({within}).querySelectorAll('button, a, summary')].find((e) => "
            f"(e.getAttribute('aria-label') || e.textContent).trim() === {wanted} && "
            "e.offsetParent !== null && !e.disabled && (e.click(), true))"
        )

    async def type(self, selector, text):
        await self.until(f"document.querySelector({json.dumps(selector)})")
        await self.run(
            f"const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select && e.select();"
        )
        await self.call("Input.insertText", text=text)

    async def key(self, key, code=None, number=0, modifiers=0):
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=code or key,
                windowsVirtualKeyCode=number,
                modifiers=modifiers,
                text="\r" if key == "Enter" and kind == "keyDown" else "",
            )

    async def shoot(self, file, *, whole=True):
        """Write a picture of the page."""
        got = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(_write, Path(file), base64.b64decode(got["data"]))


def _write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
