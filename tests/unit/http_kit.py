"""Small real HTTP servers on loopback, for tests of what speaks to one."""

import contextlib
import hashlib
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from flask import Flask, Response, request
from werkzeug.serving import make_server

Answer = tuple[int, object] | tuple[int, object, dict[str, str]]


@dataclass
class Scripted:
    """Gives its answers one after the other, the last one for ever, and notes what was asked."""

    answers: list[Answer]
    url: str = ""
    asked: list[str] = field(default_factory=list)

    def next_answer(self) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextlib.contextmanager
def scripted(*answers: Answer, port: int = 0) -> Iterator[Scripted]:
    """A server of given answers: a status, a body, sent as JSON unless it is bytes, and headers."""
    script = Scripted(list(answers))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body, *more = script.next_answer()
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_DELETE = do_GET  # noqa: N815 - likewise.

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class TinyApi:
    """The part of the API that submissions and matches use, over a dictionary."""

    refuse: Callable[[str], str | None] = lambda _name: None
    """The error code with which a photo's request is refused, by the photo's file name."""
    url: str = ""
    known: set[str] = field(default_factory=set)
    """Hashes of the photos that it has."""
    hashes: dict[str, set[str]] = field(default_factory=dict)
    """Of each job's photos."""
    jobs: dict[str, dict[str, dict[str, object]]] = field(default_factory=dict)
    """Items by job and client id, in the order in which they were added."""
    ended: dict[str, str] = field(default_factory=dict)
    galleries: dict[str, str] = field(default_factory=dict)
    """Names by id."""
    engines: list[str] = field(default_factory=list)
    """Of each gallery that was made."""
    wanted: list[dict[str, object]] = field(default_factory=list)
    """The body with which each job was opened."""
    subjects: dict[str, str] = field(default_factory=dict)
    sent: list[list[str]] = field(default_factory=list)
    """The file names of each request that brought photos."""
    lost: set[str] = field(default_factory=set)
    """Client ids that are left out of the results."""

    def add(self, job_id: str, client_id: str, sha256: str) -> None:
        self.known.add(sha256)
        self.hashes.setdefault(job_id, set()).add(sha256)
        self.jobs[job_id].setdefault(
            client_id,
            {
                "client_id": client_id,
                "status": "done",
                "rotation": 0,
                "error": None,
                "faces": [],
                "faces_left_out": 0,
            },
        )


def problem(status: int, code: str) -> tuple[Response, int]:
    body = json.dumps({"status": status, "code": code, "detail": f"refused: {code}"})
    return Response(body, content_type="application/problem+json"), status


def _app(api: TinyApi) -> Flask:
    app = Flask(__name__)
    _route_galleries(app, api)
    _route_subjects(app, api)
    _route_sending(app, api)
    _route_reading(app, api)
    return app


def _route_galleries(app: Flask, api: TinyApi) -> None:
    @app.post("/v1/galleries")
    def create_gallery() -> object:
        name = request.get_json()["name"]
        if name in api.galleries.values():
            return problem(409, "gallery_exists")
        gallery_id = str(uuid.uuid4())
        api.galleries[gallery_id] = name
        api.engines.append(request.get_json()["engine"])
        return {"id": gallery_id}

    @app.get("/v1/galleries")
    def list_galleries() -> object:
        found = [
            {"id": one, "name": name}
            for one, name in api.galleries.items()
            if request.args.get("name", name) == name
        ]
        return {"galleries": found, "next_cursor": None}

    @app.delete("/v1/galleries/<gallery_id>")
    def delete_gallery(gallery_id: str) -> object:
        if api.galleries.pop(gallery_id, None) is None:
            return problem(404, "gallery_not_found")
        for job in api.wanted:
            if job.get("gallery") == gallery_id:
                api.hashes.pop(str(job["id"]), None)
        api.known = set().union(*api.hashes.values())
        return "", 204


def _route_subjects(app: Flask, api: TinyApi) -> None:
    @app.post("/v1/galleries/<gallery_id>/subjects")
    def create_subject(gallery_id: str) -> object:
        name = request.get_json()["name"]
        if not name.strip():
            return problem(422, "name_invalid")
        subject_id = str(uuid.uuid4())
        api.subjects[name] = subject_id
        return {"id": subject_id}

    @app.get("/v1/galleries/<gallery_id>/subjects")
    def list_subjects(gallery_id: str) -> object:
        found = [{"id": one, "name": name} for name, one in api.subjects.items()]
        return {"subjects": found, "next_cursor": None}


def _route_sending(app: Flask, api: TinyApi) -> None:
    @app.post("/v1/jobs")
    def open_job() -> object:
        job_id = str(uuid.uuid4())
        api.jobs[job_id] = {}
        api.wanted.append(request.get_json() | {"id": job_id})
        return {"id": job_id}, 201

    @app.post("/v1/jobs/<job_id>/photos")
    def add_photos(job_id: str) -> object:
        return _add_known(api, job_id) if request.is_json else _add_files(api, job_id)

    @app.post("/v1/jobs/<job_id>/seal")
    def seal(job_id: str) -> object:
        if not api.jobs[job_id]:
            return problem(409, "job_empty")
        api.ended[job_id] = "succeeded"
        return {}

    @app.post("/v1/jobs/<job_id>/cancel")
    def cancel(job_id: str) -> object:
        api.ended[job_id] = "cancelled"
        return {}


def _add_known(api: TinyApi, job_id: str) -> object:
    photos = request.get_json()["photos"]
    missing = [one["client_id"] for one in photos if one["sha256"] not in api.known]
    for one in photos:
        if one["sha256"] in api.known:
            api.add(job_id, one["client_id"], one["sha256"])
    return {"accepted": len(photos) - len(missing), "missing": missing}


def _add_files(api: TinyApi, job_id: str) -> object:
    files = request.files.getlist("photos")
    api.sent.append([file.filename or "" for file in files])
    for file in files:
        if (code := api.refuse(file.filename or "")) is not None:
            return problem(422, code)
    for file in files:
        sha256 = hashlib.sha256(file.read()).hexdigest()
        api.add(job_id, file.filename or "", sha256)
    return {"accepted": len(files), "missing": []}


def _route_reading(app: Flask, api: TinyApi) -> None:
    @app.get("/v1/jobs/<job_id>")
    def read_job(job_id: str) -> object:
        total = len(api.jobs[job_id])
        ended = job_id in api.ended
        return {
            "counts": {"total": total, "queued": 0 if ended else total, "running": 0},
            "finished_at": "2026-01-01T00:00:00Z" if ended else None,
            "threshold": {
                "distance": 0.5,
                "fmr": 1e-4,
                "fmr_basis": "measured",
                "fpir": 0.01,
                "fnmr": 0.2,
                "subjects": 100,
                "advice": None,
            },
        }

    @app.get("/v1/jobs/<job_id>/results")
    def results(job_id: str) -> object:
        items = list(api.jobs[job_id].values())
        start = int(request.args.get("cursor", 0))
        page = items[start : start + 50]
        more = start + 50 < len(items)
        return {
            "results": [one for one in page if one["client_id"] not in api.lost],
            "next_cursor": str(start + 50) if more else None,
        }


@contextlib.contextmanager
def serving(api: TinyApi) -> Iterator[TinyApi]:
    server = make_server("127.0.0.1", 0, _app(api), threaded=True)
    server.log = lambda *_: None  # type: ignore[method-assign]
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
