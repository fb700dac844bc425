"""A stand-in for the Hugging Face hub on loopback: as much of its interface as huggingface_hub asks for."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

ADDRESS = r"/(?:api/models/)?([\w.-]+/[\w.-]+)(?:/(revision|tree|resolve)/([\w.-]+))?(?:/(.*))?"
COMMIT = "0123456789" * 4


@dataclass
class Hub:
    """Repositories: "OWNER/REPO" -> path -> content. `gated`: those that ask for access. `requests`: "GET /path"."""

    repositories: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    broken: bool = False  # every answer is an error of the server
    requests: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve_hub(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` at `hub.url`, which HF_ENDPOINT takes, while the context lasts. Each has the revision "main"."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = urlsplit(self.path).path
            hub.requests.append(f"{self.command} {path}")
            if hub.broken:
                self._give(501, b"broken")
                return
            match = re.fullmatch(
                r"/(?:api/models/)?([\w.-]+/[\w.-]+)(?:/(revision|tree|resolve)/([\w.-]+))?(?:/(.*))?", path
            )
            files = hub.repositories.get(match[1]) if match else None
            if match is None or files is None:
                self._give(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            elif match[1] in hub.gated:
                self._give(403, b"{}", {"X-Error-Code": "GatedRepo"})
            elif match[3] not in (None, "main", COMMIT):
                self._give(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            elif path.startswith("/api/") and match[2] == "tree":
                rows = [{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files.items()]
                self._give(200, json.dumps(rows).encode())
            elif path.startswith("/api/"):
                siblings = [{"rfilename": name} for name in files]
                self._give(200, json.dumps({"id": match[1], "sha": COMMIT, "siblings": siblings}).encode())
            elif match[4] not in files:
                self._give(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            else:
                data = files[match[4]]
                self._give(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT})

        def _give(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
