"""The main job: enrol the people of one folder, find them in the photos of another."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.asking import limit_fields, threshold_fields
from cli.client_ids import client_id_of
from cli.progress import Step, Steps
from cli.scan import FoundPeople, FoundPhotos, open_photo
from cli.sending import PhotoFile
from cli.sharing import in_use
from cli.submission import Submission
from cli.thresholds import sentence
from facebatch.client import Client
from facebatch.client.models.jobs import MultipleFaces
from facebatch.client.models.results import Face, Result
from facebatch.errors import ApiError, ClientError, NotFoundError
from pipeline.errors import FaceBatchError
from pipeline.face_limits import NO_LIMITS, FaceLimits
from pipeline.names import spelt
from pipeline.specs import engine_spec
from pipeline.thresholds import WantedThreshold

POLL_S = 0.3
CANCEL_PATIENCE_S = 2.0


class NobodyEnrolledError(FaceBatchError):
    """No photo of any person could be enrolled, so there is nobody to look for."""

    code = "nobody_enrolled"


class ResultMissingError(FaceBatchError):
    """The server has no result for a photo that it had accepted."""

    code = "result_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A person near a face."""

    subject: str
    distance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedFace:
    """A face and who it is; `subject` is None where nobody is near enough."""

    face: int
    box: tuple[int, int, int, int]
    quality: float | None
    """0 to 1; None where the server found the face before it kept qualities."""
    subject: str | None
    distance: float | None
    """To the nearest person, match or not; None where the gallery is empty."""
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPhoto:
    """How one photo ended."""

    photo: str
    status: str
    rotation: int | None
    """Degrees clockwise by which it had to be turned; None where it was not read."""
    faces_left_out: int
    """Faces below the limits, which are not among `faces`."""
    error: str | None
    faces: tuple[MatchedFace, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchOptions:
    """What the user may choose."""

    engine: str
    threshold: WantedThreshold
    top_k: int
    multiple_faces: MultipleFaces
    limits: FaceLimits = NO_LIMITS
    """Of faces of people and of those in the photos."""


class Matcher:
    """Runs one match against one server."""

    def __init__(self, client: Client, steps: Steps, warn: Callable[[str], None]) -> None:
        self._client = client
        self._steps = steps
        self._warn = warn

    @contextlib.contextmanager
    def matched(
        self, people: FoundPeople, photos: FoundPhotos, options: MatchOptions
    ) -> Iterator[Iterator[MatchedPhoto]]:
        """Every photo with its result, in the order of `photos`, once all have ended.

        The results are read page by page, inside the context; until it ends, no other run deletes
        what this one has enrolled. Raises `NobodyEnrolledError`, and while the results are read
        `ResultMissingError`.
        """
        name, others = _gallery_name(people, options)
        with in_use(people.root, lambda: self._drop_outdated(name, others)):
            gallery_id = self._enrol(name, people, options)
            yield self._identify(gallery_id, photos, options)

    def _enrol(self, name: str, people: FoundPeople, options: MatchOptions) -> str:
        """The id of a gallery that holds exactly these people; raises `NobodyEnrolledError`."""
        gallery_id = str(self._client.galleries.ensure(name, engine=options.engine).id)
        job = self._client.jobs.open(
            "enrol",
            gallery=gallery_id,
            multiple_faces=options.multiple_faces,
            **limit_fields(options.limits),
        )
        job_id = str(job.id)
        ids: dict[str, Path] = {}
        total = sum(len(paths) for paths in people.photos.values())
        submission = Submission(client=self._client, job_id=job_id)
        with self._cancelling(job_id), Step(self._steps, "enrolling photos", total) as step:
            subjects = {one.name: str(one.id) for one in self._client.subjects.list(gallery_id)}
            for person, paths in people.photos.items():
                relative = [path.relative_to(people.root).as_posix() for path in paths]
                files = list(_photo_files(people.root, relative))
                ids |= {file.client_id: file.path for file in files}
                try:
                    subject_id = subjects.get(person) or str(
                        self._client.subjects.ensure(gallery_id, person).id
                    )
                except ApiError as exc:
                    if exc.code != "name_invalid":
                        raise
                    submission.refused |= {file.client_id: exc.code for file in files}
                    continue
                submission.add(files, subject_id=subject_id)
            self._finish(submission, step)
        enrolled = self._warn_of_people(submission, ids)
        if not enrolled:
            raise NobodyEnrolledError(
                f"no photo in {people.root} shows exactly one face that could be enrolled"
            )
        return gallery_id

    def _drop_outdated(self, name: str, others: str) -> None:
        """Deletes what an earlier match enrolled from this folder, when it was different.

        That comes last: by now this run's jobs hold the photos, so that none is sent or computed
        again for people or options that have changed. Its results are there whatever happens.
        """
        try:
            for gallery in list(self._client.galleries.list()):
                if gallery.name.startswith(others) and gallery.name != name:
                    with contextlib.suppress(NotFoundError):
                        self._client.galleries.delete(gallery.id)
        except ClientError as exc:
            self._warn(f"what an earlier match had enrolled was not deleted: {exc}")

    def _warn_of_people(self, submission: Submission, ids: Mapping[str, Path]) -> int:
        """Says which photos of people were not enrolled; returns how many were."""
        enrolled = 0
        for client_id, code in submission.refused.items():
            self._warn(f"{ids[client_id]} was not enrolled: {code}")
        for item in self._client.jobs.results(submission.job_id):
            if item.status == "done":
                enrolled += 1
                continue
            reason = item.error.detail if item.error else "no face was found in it"
            self._warn(f"{ids[item.client_id or '']} was not enrolled: {reason}")
        return enrolled

    def _identify(
        self, gallery_id: str, photos: FoundPhotos, options: MatchOptions
    ) -> Iterator[MatchedPhoto]:
        asked = {**threshold_fields(options.threshold), **limit_fields(options.limits)}
        job = self._client.jobs.open("identify", gallery=gallery_id, top_k=options.top_k, **asked)
        job_id = str(job.id)
        self._warn(sentence(job.threshold, options.engine))
        submission = Submission(client=self._client, job_id=job_id)
        total = len(photos.relative)
        with self._cancelling(job_id), Step(self._steps, "matching photos", total) as step:

            def show(_sent: int) -> None:
                self._show(submission, step)

            submission.add(_photo_files(photos.root, photos.relative), progress=show)
            self._finish(submission, step)
        return _in_order(photos.relative, submission.refused, self._client.jobs.results(job_id))

    @contextlib.contextmanager
    def _cancelling(self, job_id: str) -> Iterator[None]:
        """Cancels the job where the run ends before it, by an interrupt or a fault."""
        try:
            yield
        except BaseException:
            # What ended the run counts, and not that the server is away, or the job has ended.
            with contextlib.suppress(ClientError):
                self._client.jobs.cancel(job_id, patience_s=CANCEL_PATIENCE_S)
            raise

    def _finish(self, submission: Submission, step: Step) -> None:
        """Seals the job and waits until all its photos have ended."""
        try:
            self._client.jobs.seal(submission.job_id)
        except ApiError as exc:
            if exc.code != "job_empty":
                raise
            self._client.jobs.cancel(submission.job_id)
        while not self._show(submission, step):
            time.sleep(POLL_S)

    def _show(self, submission: Submission, step: Step) -> bool:
        """Shows how far the job is; True once it has ended."""
        job = self._client.jobs.get(submission.job_id)
        step.at(job.counts.ended + len(submission.refused))
        return job.ended


def _gallery_name(people: FoundPeople, options: MatchOptions) -> tuple[str, str]:
    """A name that changes with the people's photos, and the part that goes by their folder."""
    folder = hashlib.sha256(str(people.root.resolve()).encode("utf-8", "surrogateescape"))
    spec = engine_spec(options.engine)
    content = hashlib.sha256(f"{spec.name} {spec.version}".encode())
    content.update(options.multiple_faces.encode())
    content.update(f" {options.limits.min_face_px} {options.limits.min_quality}".encode())
    for person, paths in people.photos.items():
        for path in paths:
            content.update(f"\n{person}\t".encode("utf-8", "surrogateescape"))
            try:
                with open_photo(path) as file:
                    content.update(hashlib.file_digest(file, "sha256").digest())
            except OSError:
                content.update(b"unreadable")
    others = f"match-{folder.hexdigest()[:16]}-"
    return others + content.hexdigest()[:16], others


def _photo_files(root: Path, relative: Iterable[str]) -> Iterator[PhotoFile]:
    return (PhotoFile(client_id=client_id_of(name), path=root / name) for name in relative)


def _in_order(
    names: Iterable[str], refused: Mapping[str, str], items: Iterator[Result]
) -> Iterator[MatchedPhoto]:
    """Results in the order of `names`; raises `ResultMissingError` where one has none.

    Items come in the order in which they were added, which differs within a batch only: photos
    that the server knew went first. So few are held back at a time.
    """
    early: dict[str, Result] = {}
    for name in names:
        client_id = client_id_of(name)
        if client_id in refused:
            yield MatchedPhoto(
                photo=name,
                status="failed",
                rotation=None,
                faces_left_out=0,
                error=refused[client_id],
                faces=(),
            )
            continue
        while client_id not in early:
            if (item := next(items, None)) is None:
                raise ResultMissingError(
                    f"the server has no result for {spelt(name)}; run it again"
                )
            early[item.client_id or ""] = item
        yield _matched(name, early.pop(client_id))


def _matched(name: str, item: Result) -> MatchedPhoto:
    return MatchedPhoto(
        photo=name,
        status=item.status,
        rotation=item.rotation,
        faces_left_out=item.faces_left_out,
        error=item.error.code if item.error else None,
        faces=tuple(_face(face) for face in item.faces),
    )


def _face(face: Face) -> MatchedFace:
    return MatchedFace(
        face=face.face,
        box=face.box,
        quality=face.quality.overall if face.quality else None,
        subject=face.subject.name if face.subject else None,
        distance=_rounded(face.distance),
        candidates=tuple(
            Candidate(subject=one.subject.name, distance=round(one.distance, 6))
            for one in face.candidates
        ),
    )


def _rounded(distance: float | None) -> float | None:
    return None if distance is None else round(distance, 6)
