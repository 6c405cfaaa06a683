"""What is told of a photo or a subject, as plain JSON values: the same in every format."""

import datetime as dt
import uuid
from collections.abc import Iterator
from typing import Any

from db.subject_results import SubjectSummary
from db.views import CandidateView, FaceView, ItemView, JobView
from pipeline.face_quality import Quality

Line = dict[str, Any]
"""An object of JSON, with its members in the order in which they are documented."""


def photo_line(item: ItemView, job: JobView) -> Line:
    """One photo of a job and what came of it."""
    error = {"code": item.error_code, "detail": item.error_detail or ""}
    return {
        "name": item.name,
        "client_id": item.client_id,
        "key": item.source_key,
        "status": item.state.value,
        "error": error if item.error_code else None,
        "sha256": item.sha256.hex() if item.sha256 else None,
        "size_bytes": item.size_bytes,
        "taken_at": item.taken_at,
        "width": item.width_px,
        "height": item.height_px,
        "orientation": item.orientation,
        "rotation": item.rotation,
        "faces": [_face(face) for face in item.faces],
        "faces_left_out": item.faces_left_out,
        "engine": {"name": job.engine, "version": job.engine_version},
        "threshold": job.threshold_distance,
        "attempts": item.attempt,
        "finished_at": _utc(item.finished_at),
    }


def subject_line(subject: SubjectSummary) -> Line:
    """One subject and the photos of a job that show it."""
    best = subject.best
    return {
        "subject": _who(subject.subject_id, subject.subject_name),
        "gallery": str(subject.gallery_id),
        "photos": subject.photos,
        "faces": subject.faces,
        "first_taken_at": subject.first_taken_at,
        "last_taken_at": subject.last_taken_at,
        "best": {
            "name": best.name,
            "client_id": best.client_id,
            "key": best.source_key,
            "sha256": best.sha256.hex() if best.sha256 else None,
            "face": best.ordinal,
            "distance": best.distance,
        },
    }


def face_rows(line: Line) -> Iterator[Line]:
    """A flat row for each face of a photo's line, and one for a photo that has none."""
    head = {name: line[name] for name in ("client_id", "key", "name", "status")}
    error = line["error"] or {"code": None, "detail": None}
    head |= {"error_code": error["code"], "error_detail": error["detail"]}
    head |= {name: line[name] for name in _OF_THE_PHOTO}
    tail = {
        "engine": line["engine"]["name"],
        "engine_version": line["engine"]["version"],
        **{name: line[name] for name in ("threshold", "attempts", "finished_at")},
    }
    for face in line["faces"] or [None]:
        yield head | _flat_face(face) | tail


_OF_THE_PHOTO = ("sha256", "size_bytes", "taken_at", "width", "height", "orientation", "rotation",
                 "faces_left_out")  # fmt: skip
_SIDES = ("left", "top", "right", "bottom")
_QUALITY = ("sharpness", "yaw", "pitch", "roll")


def _flat_face(face: Line | None) -> Line:
    """The columns of a face; all null where there is none."""
    face = face or {}
    quality = face.get("quality") or {}
    subject = face.get("subject") or {}
    return {
        "face": face.get("face"),
        "face_id": face.get("id"),
        **dict(zip(_SIDES, face.get("box", [None] * 4), strict=True)),
        "score": face.get("score"),
        "quality": quality.get("overall"),
        "quality_limit": quality.get("limit"),
        "face_width": quality.get("width"),
        **{name: quality.get(name) for name in _QUALITY},
        "decision": face.get("decision"),
        "subject_id": subject.get("id"),
        "subject": subject.get("name"),
        "distance": face.get("distance"),
        "enrolled": face.get("enrolled"),
        "candidates": [_flat_candidate(one) for one in face["candidates"]] if face else None,
        "landmarks": face.get("landmarks"),
    }


def _flat_candidate(candidate: Line) -> Line:
    return {
        "rank": candidate["rank"],
        "subject_id": candidate["subject"]["id"],
        "subject": candidate["subject"]["name"],
        "gallery": candidate["gallery"],
        "distance": candidate["distance"],
    }


def subject_row(line: Line) -> Line:
    """A subject's line, flat."""
    subject, best = line["subject"], line["best"]
    return {
        "subject_id": subject["id"],
        "subject": subject["name"],
        **{name: line[name] for name in ("gallery", "photos", "faces")},
        **{name: line[name] for name in ("first_taken_at", "last_taken_at")},
        **{f"best_{name}": value for name, value in best.items()},
    }


def seen_face(face: FaceView) -> Line:
    """Where a face is in its photo, and how good."""
    return {
        "box": [face.left_px, face.top_px, face.right_px, face.bottom_px],
        "landmarks": [list(point) for point in face.landmarks_px],
        "score": face.score,
        "quality": _quality(face.quality) if face.quality else None,
    }


def _face(face: FaceView) -> Line:
    match, near = face.match, face.candidates
    return {
        "face": face.ordinal,
        "id": face.id,
        **seen_face(face),
        "decision": face.decision.value,
        "subject": _who(match.subject_id, match.subject_name) if match else None,
        "distance": near[0].distance if near else None,
        "candidates": [_candidate(one) for one in near],
        "enrolled": face.enrolled,
    }


def _candidate(candidate: CandidateView) -> Line:
    return {
        "rank": candidate.rank,
        "subject": _who(candidate.subject_id, candidate.subject_name),
        "gallery": str(candidate.gallery_id),
        "distance": candidate.distance,
    }


def _who(subject_id: uuid.UUID, name: str) -> Line:
    return {"id": str(subject_id), "name": name}


def _quality(quality: Quality) -> Line:
    return {
        "overall": quality.overall,
        "limit": quality.limit.value,
        "sharpness": quality.sharpness,
        "width": quality.width_px,
        "yaw": quality.pose.yaw,
        "pitch": quality.pose.pitch,
        "roll": quality.pose.roll,
    }


def _utc(moment: dt.datetime | None) -> str | None:
    """As RFC 3339 in UTC."""
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z") if moment else None
