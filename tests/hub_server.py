"""A Hub on loopback: the part of the Hugging Face Hub's API that huggingface_hub needs to download and upload models.

It speaks HEAD and GET of /ORG/NAME/resolve/REVISION/PATH (git files with their blob hash as ETag; .safetensors as LFS
files: a redirect to /cdn/SHA256 with X-Linked-Etag and X-Linked-Size), byte ranges, /api/repos/create,
/api/validate-yaml, the tree of main, preupload, LFS batch with basic uploads, and commit (ndjson). Branches other than
main, tags, pull requests, Xet and multi-part uploads are left out.

Faults are set as attributes: `gated` and `refused` repositories, `drop` (sha256 -> bytes after which the connection
breaks, once), `corrupt` (sha256s whose last byte is changed), `cut` (sha256s that lack their last bytes), `delay` in
seconds for each 64 KiB.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

TOKEN = "hf_secret"
PIECE = 64 * 1024


@attrs.define
class Model:
    """A repository: `commits` maps a commit to its files, `head` is that of main."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = attrs.field(factory=dict)
    head: str = ""

    def commit(self, files: dict[str, bytes]) -> str:
        """A new commit on main with these files changed; an empty one is removed."""
        every = {name: content for name, content in {**self.commits.get(self.head, {}), **files}.items() if content}
        facts = [f"{len(self.commits)}", *(f"{n} {hashlib.sha1(c).hexdigest()}" for n, c in sorted(every.items()))]
        self.head = hashlib.sha1("\n".join(facts).encode()).hexdigest()
        self.commits[self.head] = every
        return self.head


class LocalHub:
    """The server; `with LocalHub() as hub` starts and stops it."""

    def __init__(self) -> None:
        self.models: dict[str, Model] = {}
        self.blobs: dict[str, bytes] = {}
        self.gated: set[str] = set()
        self.refused: set[str] = set()
        self.drop: dict[str, int] = {}
        self.corrupt: set[str] = set()
        self.cut: set[str] = set()
        self.delay = 0.0
        self.requests: list[tuple[str, str, int]] = []
        hub = self

        class Bound(_Handler):
            server_hub = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LocalHub:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, folder: Path) -> str:
        """Put the files of a folder into a repository; returns the commit."""
        files = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        return self.commit(name, files)

    def commit(self, name: str, files: dict[str, bytes]) -> str:
        for path, content in files.items():
            if path.endswith(".safetensors"):
                self.blobs[hashlib.sha256(content).hexdigest()] = content
        return self.models.setdefault(name, Model()).commit(files)

    def fetched(self, method: str = "GET") -> list[str]:
        """The paths in repositories that were asked for, by name of file."""
        found = [re.search(r"/resolve/[^/]+/(.+)$", path) for kind, path, _ in self.requests if kind == method]
        return [match[1] for match in found if match]


class _Handler(BaseHTTPRequestHandler):
    server_hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def _get(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if blob := re.fullmatch(r"/cdn/([0-9a-f]{64})", path):
            self._send_blob(blob[1])
        elif tree := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/main", path):
            files = self.server_hub.models[tree[1]]
            listed = files.commits.get(files.head, {}).items()
            facts = [{"type": "file", "path": name, "oid": "0" * 40, "size": len(content)} for name, content in listed]
            self._answer(200, facts)
        elif resolve := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(*resolve.groups())
        else:
            self._answer(404, {"error": "no such address"})

    def _resolve(self, name: str, revision: str, path: str) -> None:
        hub = self.server_hub
        model = self._model(name)
        if model is None:
            return
        commit = model.head if revision == "main" else revision
        files = model.commits.get(commit)
        if files is None:
            self._answer(404, {"error": "no revision"}, {"X-Error-Code": "RevisionNotFound"})
        elif path not in files:
            self._answer(404, {"error": "no entry"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        elif path.endswith(".safetensors"):
            sha = hashlib.sha256(files[path]).hexdigest()
            linked = {"X-Linked-Etag": f'"{sha}"', "X-Linked-Size": str(len(files[path]))}
            elsewhere = hub.address.replace("127.0.0.1", "localhost")  # as on the Hub, another host without the token
            place = {"Location": f"{elsewhere}/cdn/{sha}", "X-Repo-Commit": commit}
            self._answer(302, {}, {**linked, **place})
        else:
            content = files[path]
            etag = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": commit})

    def _model(self, name: str) -> Model | None:
        """The repository, after an answer to who may not see it."""
        hub = self.server_hub
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        model = hub.models.get(name)
        if name in hub.refused:
            self._answer(403, {"error": "forbidden"})
        elif model is None or (model.private and not known):
            self._answer(404, {"error": "no repository"}, {"X-Error-Code": "RepoNotFound"})
        elif name in hub.gated and not known:
            self._answer(401, {"error": "gated"}, {"X-Error-Code": "GatedRepo"})
        else:
            return model
        return None

    def _send_blob(self, sha: str) -> None:
        hub = self.server_hub
        content = hub.blobs.get(sha)
        if content is None:
            self._answer(404, {"error": "no blob"})
            return
        if sha in hub.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if sha in hub.cut:
            content = content[:-7]
        start, total = 0, len(content)
        if span := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(span[1])
        headers = {"Accept-Ranges": "bytes", "Content-Disposition": 'inline; filename="model.safetensors";'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
        stop = hub.drop.pop(sha, None) if self.command == "GET" else None
        self._send(206 if start else 200, content[start:], headers, stop)

    def do_PUT(self) -> None:
        sha = self.path.rpartition("/")[2]
        content = self._body()
        self.server_hub.blobs[hashlib.sha256(content).hexdigest()] = content
        self._answer(200 if sha in self.server_hub.blobs else 400, {})

    def do_POST(self) -> None:
        hub, path = self.server_hub, urlsplit(self.path).path
        body = self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid credentials"}, {"X-Error-Message": "Invalid credentials"})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            private = bool(asked.get("private")) or asked.get("visibility") == "private"
            taken = name in hub.models
            hub.models.setdefault(name, Model(private))
            self._answer(409 if taken else 200, {"url": f"{hub.address}/{name}"})
        elif path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif preupload := re.fullmatch(r"/api/models/(.+)/preupload/main", path):
            modes = {True: "lfs", False: "regular"}
            files = [
                {"path": f["path"], "uploadMode": modes[f["path"].endswith(".safetensors")], "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            self._answer(200 if preupload[1] in hub.models else 404, {"files": files})
        elif path.endswith(".git/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{hub.address}/upload/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})
        elif commit := re.fullmatch(r"/api/models/(.+)/commit/main", path):
            oid = hub.models[commit[1]].commit(self._committed(body))
            address = f"{hub.address}/{commit[1]}/commit/{oid}"
            self._answer(200, {"success": True, "commitOid": oid, "commitUrl": address})
        else:
            self._answer(404, {"error": "no such address"})

    def _committed(self, body: bytes) -> dict[str, bytes]:
        files = {}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.server_hub.blobs[value["oid"]]
            elif entry["key"] == "deletedFile":
                files[value["path"]] = b""
        return files

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), headers or {})

    def _send(self, status: int, content: bytes, headers: dict[str, str], stop: int | None = None) -> None:
        self.server_hub.requests.append((self.command, unquote(self.path), status))
        with suppress(BrokenPipeError, ConnectionResetError):
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            for start in range(0, len(content) if stop is None else stop, PIECE):
                self.wfile.write(content[start : min(start + PIECE, stop or len(content))])
                time.sleep(self.server_hub.delay)
            if stop is not None:
                self.close_connection = True
                self.wfile.flush()
                self.connection.close()
