"""A web server on loopback for one file, with the faults of real ones: cuts, no ranges, files that change, silence."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server holds and how it misbehaves; tests may change it between requests.

    `cuts`: for each request in turn, the bytes of the body after which the connection is cut (None: whole).
    `answers`: status codes to give before anything is served. `ranges` and `if_range`: whether the server knows them.
    `hold_after`: bytes of a body after which the server sends nothing more, sets `holding`, and waits for the end.
    `requests`, `conditions`: Range and If-Range of every request; `sent`: bytes of bodies.
    """

    content: bytes
    etag: str | None = '"one"'
    modified: str | None = None
    ranges: bool = True
    if_range: bool = True
    cuts: list[int | None] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    hold_after: int | None = None
    holding: threading.Event = field(default_factory=threading.Event)
    requests: list[str | None] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)
    sent: int = 0
    url: str = ""
    stop: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(site: Site, name: str = "MIR-1K.zip") -> Iterator[Site]:
    """Serve `site` at `site.url` while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            condition = self.headers.get("If-Range")
            site.requests.append(wanted)
            site.conditions.append(condition)
            if site.answers:
                self.send_error(site.answers.pop(0))
                return
            content, start = site.content, 0
            stale = site.if_range and condition is not None and condition not in (site.etag, site.modified)
            if wanted and site.ranges and not stale:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start))
            for key, value in (("ETag", site.etag), ("Last-Modified", site.modified)):
                if value is not None:
                    self.send_header(key, value)
            self.end_headers()
            self._send(content[start:], site.cuts.pop(0) if site.cuts else None)

        def _send(self, body: bytes, cut: int | None) -> None:
            # A cut comes first: a body that is cut is not held
            held = cut is None and site.hold_after is not None
            body = body[: site.hold_after if cut is None else cut]
            try:
                self.wfile.write(body)
                self.wfile.flush()
                site.sent += len(body)
                if held:
                    site.holding.set()
                    site.stop.wait()
            except ConnectionError:
                pass  # the client was killed, as some tests do
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}/{name}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield site
        finally:
            site.stop.set()
            server.shutdown()
            thread.join()
