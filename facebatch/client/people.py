"""Galleries and their subjects."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import httpx

from facebatch.client.answers import checked
from facebatch.client.connection import Connection, headers_of, once_more_is_no_more, value_of
from facebatch.client.fields import Id, as_form, as_json
from facebatch.client.models.jobs import Job, MultipleFaces
from facebatch.client.models.people import Galleries, Gallery, Subject, Subjects
from facebatch.client.photos import PhotoLike, form_files, named
from facebatch.errors import ConflictError


class GalleryCalls:
    """`client.galleries`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, name: str, *, engine: str | None = None) -> Gallery:
        """A new gallery, bound to an engine."""
        body = as_json({"name": name, "engine": engine})
        return self._connection.post(Gallery, "/v1/galleries", json=body, once=True)

    def ensure(self, name: str, *, engine: str | None = None) -> Gallery:
        """The gallery of this name, which is made, for `engine`, where there is none."""
        try:
            return self.create(name, engine=engine)
        except ConflictError as exc:
            if exc.code != "gallery_exists" or (found := self.find(name)) is None:
                raise
            return found

    def find(self, name: str) -> Gallery | None:
        """The gallery of exactly this name."""
        page = self._connection.read(Galleries, "/v1/galleries", params={"name": name})
        return next(iter(page.galleries), None)

    def list(self) -> Iterator[Gallery]:
        """All galleries."""
        return self._connection.pages(Galleries, "/v1/galleries")

    def get(self, gallery: Id) -> Gallery:
        """The gallery as it is now."""
        return self._connection.read(Gallery, f"/v1/galleries/{gallery}")

    def delete(self, gallery: Id, *, if_match: str | None = None) -> None:
        """Deletes the gallery with its subjects, its jobs and the photos that nobody else needs."""
        self._connection.delete(f"/v1/galleries/{gallery}", if_match=if_match)


class SubjectCalls:
    """`client.subjects`: the people of a gallery."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, gallery: Id, name: str) -> Subject:
        """A new subject; without photos nobody finds it."""
        return self._connection.post(Subject, _path(gallery), json={"name": name}, once=True)

    def ensure(self, gallery: Id, name: str) -> Subject:
        """The subject of this name, which is made where there is none."""
        try:
            return self.create(gallery, name)
        except ConflictError as exc:
            if exc.code != "duplicate_subject" or (found := self.find(gallery, name)) is None:
                raise
            return found

    def find(self, gallery: Id, name: str) -> Subject | None:
        """The subject of exactly this name."""
        page = self._connection.read(Subjects, _path(gallery), params={"name": name})
        return next(iter(page.subjects), None)

    def list(self, gallery: Id) -> Iterator[Subject]:
        """All subjects of the gallery."""
        return self._connection.pages(Subjects, _path(gallery))

    def get(self, gallery: Id, subject: Id) -> Subject:
        """The subject as it is now."""
        return self._connection.read(Subject, f"{_path(gallery)}/{subject}")

    def rename(
        self, gallery: Id, subject: Id, name: str, *, if_match: str | None = None
    ) -> Subject:
        """Gives the subject another name."""
        response = self._connection.call(
            "PATCH",
            f"{_path(gallery)}/{subject}",
            json={"name": name},
            headers=headers_of(if_match=if_match),
            # Done once, it is not any more as `if_match` says.
            repeat=if_match is None,
        )
        return value_of(Subject, response)

    def delete(self, gallery: Id, subject: Id, *, if_match: str | None = None) -> None:
        """Deletes the subject with its templates, its place in results and its photos."""
        self._connection.delete(f"{_path(gallery)}/{subject}", if_match=if_match)

    def enrol(
        self,
        gallery: Id,
        subject: Id,
        photos: Iterable[PhotoLike],
        *,
        multiple_faces: MultipleFaces | None = None,
        min_face_px: int | None = None,
        min_quality: float | None = None,
    ) -> Job:
        """A job that makes templates of photos of the subject; raises `OSError`."""
        asked = {
            "multiple_faces": multiple_faces,
            "min_face_px": min_face_px,
            "min_quality": min_quality,
        }
        form, one_by_one, headers = as_form(asked), list(named(photos)), once_more_is_no_more()

        def send() -> httpx.Response:
            with ExitStack() as files:
                return self._connection.http.post(
                    f"{_path(gallery)}/{subject}/photos",
                    data=form,
                    files=form_files(files, "photos", one_by_one),
                    headers=headers,
                )

        return value_of(Job, checked(self._connection.answered(send)))


def _path(gallery: Id) -> str:
    return f"/v1/galleries/{gallery}/subjects"
