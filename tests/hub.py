"""A stand-in for the Hugging Face hub on loopback: as much of it as the clients ask.

It serves the files of a folder `owner/name/...` as repositories: `resolve`, the file
list, and the hub's own way to say that something is missing. Tests point HF_ENDPOINT at
it. `cut` names a file that is cut off in the middle of a download.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

__all__ = ["COMMIT", "hub"]

COMMIT = "c" * 40


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        parts = unquote(urlparse(self.path).path).strip("/").split("/")
        self.server.asked.append("/".join(parts))
        if parts[:2] == ["api", "models"]:
            self._tell(parts[2:4], parts[4:], body)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file(Path(*parts[:2]), Path(*parts[4:]), body)
        else:
            self._missing("RepoNotFound")

    def _tell(self, repo: list[str], rest: list[str], body: bool) -> None:
        """What a repository holds, as a list of files or as a description."""
        folder = self.server.folder.joinpath(*repo)
        if not folder.is_dir():
            return self._missing("RepoNotFound")
        files = [
            {
                "type": "file",
                "path": path.relative_to(folder).as_posix(),
                "size": path.stat().st_size,
                "oid": _etag(path),
            }
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
        about = {
            "id": "/".join(repo),
            "sha": COMMIT,
            "siblings": [{"rfilename": file["path"]} for file in files],
        }
        told = files if rest[:1] == ["tree"] else about
        data = json.dumps(told).encode()
        self._head(200, {"Content-Type": "application/json"}, len(data))
        if body:
            self.wfile.write(data)

    def _file(self, repo: Path, name: Path, body: bool) -> None:
        if not (self.server.folder / repo).is_dir():
            return self._missing("RepoNotFound")
        path = self.server.folder / repo / name
        if not path.is_file():
            return self._missing("EntryNotFound")
        data = path.read_bytes()
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT}
        self._head(200, headers, len(data))
        if body and name.name == self.server.cut:
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif body:
            self.wfile.write(data)

    def _missing(self, kind: str) -> None:
        self._head(404, {"X-Error-Code": kind, "X-Error-Message": "not here"}, 0)

    def _head(self, code: int, headers: dict[str, str], length: int) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *words) -> None:
        """Nothing is printed."""


def _etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextmanager
def hub(folder: Path, cut: str | None = None) -> Iterator[ThreadingHTTPServer]:
    """Serve a folder; the server has its `url` and what was `asked`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.folder, server.cut, server.asked = folder, cut, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
