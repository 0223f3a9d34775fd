"""A stand-in for the Hugging Face hub on loopback: as much of it as the clients ask.

It serves the files of a folder as repositories, models under `owner/name/...` and data
sets under `datasets/owner/name/...`: `resolve` (also a part of a file), the file list,
and the hub's own way to say that something is missing. Tests point HF_ENDPOINT at it.
`cut` names a file that is cut off in the middle of a download. A file's ETag is its
digest, and the commit that of all of a repository, so a changed file is another one.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

__all__ = ["hub"]


class _Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def do_POST(self):
        """What the client asks about some paths: the files among them."""
        parts = self._parts()
        length = int(self.headers.get("Content-Length", 0))
        asked = json.loads(self.rfile.read(length) or b"{}").get("paths", [])
        kind, *repo = parts[1:4]
        if parts[0] != "api" or parts[4:5] != ["paths-info"]:
            return self._missing("EntryNotFound")
        folder = self._folder(kind, repo)
        files = [file for file in _listed(folder) if file["path"] in asked]
        return self._json(files, body=True)

    def _parts(self) -> list[str]:
        parts = unquote(urlparse(self.path).path).strip("/").split("/")
        self.server.asked.append("/".join(parts))
        return parts

    def _folder(self, kind: str, repo: list[str]) -> Path:
        above = ["datasets"] if kind == "datasets" else []
        return self.server.folder.joinpath(*above, *repo)

    def _answer(self, body: bool) -> None:
        parts = self._parts()
        if parts[0] == "api" and parts[1:2] in (["models"], ["datasets"]):
            return self._tell(parts[1], parts[2:4], parts[4:], body)
        kind = "datasets" if parts[0] == "datasets" else "models"
        parts = parts[1:] if kind == "datasets" else parts
        if len(parts) > 4 and parts[2] == "resolve":
            return self._file(self._folder(kind, parts[:2]), Path(*parts[4:]), body)
        return self._missing("RepoNotFound")

    def _tell(self, kind: str, repo: list[str], rest: list[str], body: bool) -> None:
        """What a repository holds, as a list of files or as a description."""
        folder = self._folder(kind, repo)
        if not folder.is_dir():
            return self._missing("RepoNotFound")
        files = _listed(folder)
        about = {
            "id": "/".join(repo),
            "sha": _commit(folder),
            "siblings": [{"rfilename": file["path"]} for file in files],
        }
        return self._json(files if rest[:1] == ["tree"] else about, body)

    def _json(self, told: object, body: bool) -> None:
        data = json.dumps(told).encode()
        self._head(200, {"Content-Type": "application/json"}, len(data))
        if body:
            self.wfile.write(data)

    def _file(self, folder: Path, name: Path, body: bool) -> None:
        if not folder.is_dir():
            return self._missing("RepoNotFound")
        path = folder / name
        if not path.is_file():
            return self._missing("EntryNotFound")
        data, code = path.read_bytes(), 200
        headers = {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": _commit(folder)}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
            data, code = data[first : last + 1], 206
        self._head(code, headers | {"Accept-Ranges": "bytes"}, len(data))
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


def _listed(folder: Path) -> list[dict]:
    """The files of a repository as the hub describes them."""
    return [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": _etag(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def _commit(folder: Path) -> str:
    """Another one after any change."""
    files = json.dumps(_listed(folder)).encode()
    return hashlib.sha1(files).hexdigest()


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
