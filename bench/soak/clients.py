"""The clients: threads that submit the planned jobs while the nemesis is at work."""

import contextlib
import threading
from collections.abc import Sequence
from queue import Empty, SimpleQueue

from bench.soak.journal import Journal
from bench.soak.pace import Pace
from bench.soak.plan import SUBJECTS, PlannedJob
from bench.soak.stack import SoakError, SoakStack
from bench.soak.ways import WAYS, Submitting
from db.errors import UnavailableError
from facebatch.client import Client
from pipeline.specs import DEFAULT_ENGINE

CLIENTS = 3
PATIENCE_S = 900.0
"""A client gives up after this, and the soak with it: no fault lasts a tenth of it."""
LOOK_EVERY_S = 0.05


class Clients:
    """Several threads that share one plan."""

    def __init__(
        self,
        stack: SoakStack,
        journal: Journal,
        plan: Sequence[PlannedJob],
        pace: Pace,
    ) -> None:
        self._stack = stack
        self._api_url = stack.api_url
        self._store = stack.store()
        self._journal = journal
        self._jobs: SimpleQueue[tuple[int, PlannedJob]] = SimpleQueue()
        for numbered in enumerate(plan):
            self._jobs.put(numbered)
        self._pace = pace
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(CLIENTS)]
        self._errors: list[BaseException] = []
        self._gallery_id, self._subjects = "", dict[str, str]()

    def start(self) -> None:
        """Makes the gallery, then begins to submit."""
        with self._client() as client:
            self._gallery_id = str(client.galleries.ensure("soak", engine=DEFAULT_ENGINE.name).id)
            self._subjects = {
                name: str(client.subjects.ensure(self._gallery_id, name).id) for name in SUBJECTS
            }
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits until all is accepted; raises what ended a client."""
        for thread in self._threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def _client(self) -> Client:
        return Client(self._api_url, patience_s=PATIENCE_S)

    def _work(self) -> None:
        try:
            with self._client() as client:
                self._submit_all(client)
        except BaseException as exc:  # noqa: BLE001 - the thread's border; `join` raises it.
            self._errors.append(exc)

    def _submit_all(self, client: Client) -> None:
        pause = threading.Event()
        while not self._errors:
            try:
                number, job = self._jobs.get_nowait()
            except Empty:
                return
            while number >= self._pace.allowed and not self._errors:
                pause.wait(LOOK_EVERY_S)
            WAYS[job.way](self._submitting(client, job))

    def _submitting(self, client: Client, job: PlannedJob) -> Submitting:
        wanted = {"kind": job.kind}
        if job.kind != "detect":
            wanted["gallery"] = self._gallery_id
        if job.subject is not None:
            wanted |= {"subject": self._subjects[job.subject], "multiple_faces": "largest"}
        return Submitting(
            client=client,
            journal=self._journal,
            way=job.way,
            wanted=wanted,
            photos=job.photos,
            put=self._put,
        )

    def _put(self, key: str, data: bytes) -> None:
        try:
            self._store.put(key, [data])
        except UnavailableError:
            # A stack that is started anew has its bucket at another port.
            with contextlib.suppress(SoakError):
                self._store = self._stack.store()
            raise
