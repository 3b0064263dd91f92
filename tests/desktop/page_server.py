"""A small web site for windows: says who came, and what the page's own script saw."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"""<!doctype html><title>Page</title>
<style>body { font: 20px sans-serif; margin: 2em; color: #1a5c3a }</style>
<h1>A page of the test</h1><p id=t></p>
<script>
document.getElementById("t").textContent = "fragment " + location.hash;
const before = localStorage.getItem("seen") || "nothing";
localStorage.setItem("seen", "yes");
fetch("/saw?hash=" + location.hash.slice(1) + "&stored=" + before);
setTimeout(() => fetch("/later?injected=" + (typeof window.pywebview)), 300);
</script>"""


class PageServer:
    def __init__(self):
        self.asked = []
        self.changed = threading.Condition()
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                with site.changed:
                    site.asked.append(self.path)
                    site.changed.notify_all()
                self.send_response(200)
                if self.path.startswith("/cookie"):
                    self.send_header("Set-Cookie", "__client=secret-value; HttpOnly; Path=/")
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(PAGE)))
                self.end_headers()
                self.wfile.write(PAGE)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait(self, beginning, timeout_s=8):
        """Return the first path asked for that begins so."""
        with self.changed:
            found = self.changed.wait_for(
                lambda: next((path for path in self.asked if path.startswith(beginning)), None),
                timeout_s,
            )
        assert found, (beginning, self.asked)
        return found

    def close(self):
        """Close it; again does nothing."""
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
