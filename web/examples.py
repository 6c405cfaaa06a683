"""Examples of bodies for the description, by the names of their schemas."""

from typing import Any

GALLERY_ID = "0192f3a0-5b1c-7d2e-8f30-1a2b3c4d5e6f"
SUBJECT_ID = "0192f3a1-0c4d-7e5f-9a10-2b3c4d5e6f70"
JOB_ID = "0192f3b2-7d8e-7f90-8a1b-3c4d5e6f7081"
OTHER_JOB_ID = "0192f3b3-1e2f-7a3b-9c4d-4d5e6f708192"
SOURCE_ID = "0192f3b4-2f3a-7b4c-8d5e-5e6f708192a3"
EXPORT_ID = "0192f3b5-3a4b-7c5d-9e6f-6f708192a3b4"
UPLOAD_ID = "0192f3b6-4b5c-7d6e-8f70-708192a3b4c5"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
CREATED = "2026-11-30T08:15:00Z"
STARTED = "2026-11-30T08:15:01Z"
FINISHED = "2026-11-30T08:15:04Z"
LATER = "2026-12-07T08:15:00Z"
CURSOR = "AZLzoFscfS6PMBorPE1eb2-0Ij1yV3xQm8dTn5uYc0Rk"
ENGINE = {"name": "dlib", "version": "1"}
WHO = {"id": SUBJECT_ID, "name": "Ada Lovelace"}

GALLERY: dict[str, Any] = {
    "id": GALLERY_ID,
    "name": "family",
    "engine": ENGINE,
    "dimension": 128,
    "subjects": 1,
    "templates": 3,
    "created_at": CREATED,
}
SUBJECT: dict[str, Any] = {**WHO, "gallery": GALLERY_ID, "templates": 3, "created_at": CREATED}
THRESHOLD: dict[str, Any] = {
    "distance": 0.55,
    "target_fmr": None,
    "target_fpir": 0.01,
    "subjects": 1,
    "fmr": 0.0021,
    "fmr_basis": "measured",
    "fpir": 0.0021,
    "fnmr": 0.034,
    "advice": None,
    "better_engine": None,
    "meaning": "L2 distance between embeddings up to which a face is taken for a subject; lower is "
    "closer",
}
JOB: dict[str, Any] = {
    "id": JOB_ID,
    "kind": "identify",
    "state": "succeeded",
    "priority": "normal",
    "paused": False,
    "cancelling": False,
    "round": 1,
    "gallery": GALLERY_ID,
    "galleries": [GALLERY_ID],
    "subject": None,
    "callback_url": None,
    "engine": ENGINE,
    "threshold": THRESHOLD,
    "top_k": 5,
    "multiple_faces": "refuse",
    "min_face_px": 0,
    "min_quality": 0.0,
    "counts": {
        "total": 1,
        "queued": 0,
        "running": 0,
        "done": 1,
        "no_face": 0,
        "failed": 0,
        "cancelled": 0,
    },
    "sources_open": 0,
    "source_error": None,
    "rate_per_s": None,
    "seconds_left": None,
    "created_at": CREATED,
    "sealed_at": CREATED,
    "started_at": STARTED,
    "finished_at": FINISHED,
}
FACE: dict[str, Any] = {
    "face": 0,
    "id": 4711,
    "box": [349, 46, 619, 392],
    "landmarks": [[412.5, 170.2], [455.1, 172.8], [560.3, 171.9], [518.8, 173.4], [487.0, 268.1]],
    "score": 0.93,
    "quality": {
        "overall": 0.94,
        "limit": "pose",
        "sharpness": 131.7,
        "width": 270,
        "yaw": -6.1,
        "pitch": 3.4,
        "roll": 0.8,
    },
    "decision": "match",
    "subject": WHO,
    "distance": 0.3302,
    "candidates": [{"rank": 1, "subject": WHO, "gallery": GALLERY_ID, "distance": 0.3302}],
    "enrolled": False,
}
RESULT: dict[str, Any] = {
    "name": "picnic.jpg",
    "client_id": None,
    "key": None,
    "status": "done",
    "error": None,
    "sha256": SHA256,
    "size_bytes": 184320,
    "taken_at": "2026-08-02T14:07:31",
    "width": 1024,
    "height": 768,
    "orientation": 1,
    "rotation": 0,
    "faces": [FACE],
    "faces_left_out": 0,
    "engine": ENGINE,
    "threshold": 0.55,
    "attempts": 1,
    "finished_at": FINISHED,
}
SOURCE: dict[str, Any] = {
    "id": SOURCE_ID,
    "kind": "prefix",
    "state": "done",
    "bucket": "facebatch",
    "key": None,
    "prefix": "sources/local/summer/",
    "job": None,
    "photos": 1200,
    "skipped": 3,
    "error": None,
    "created_at": CREATED,
    "finished_at": FINISHED,
}
EXPORT: dict[str, Any] = {
    "id": EXPORT_ID,
    "job": JOB_ID,
    "format": "csv",
    "unknown_faces": True,
    "state": "done",
    "job_ended": True,
    "written": 1200,
    "size_bytes": 98304,
    "sha256": SHA256,
    "error": None,
    "url": "https://s3.example.com/facebatch/results.csv?X-Amz-Signature=abc",
    "url_expires_at": "2026-11-30T09:15:00Z",
    "created_at": CREATED,
    "finished_at": FINISHED,
    "expires_at": LATER,
}
SUBJECT_RESULT: dict[str, Any] = {
    "subject": WHO,
    "gallery": GALLERY_ID,
    "photos": 12,
    "faces": 12,
    "first_taken_at": "2026-08-02T14:07:31",
    "last_taken_at": "2026-08-09T18:40:02",
    "best": {
        "name": "picnic.jpg",
        "client_id": None,
        "key": None,
        "sha256": SHA256,
        "face": 0,
        "distance": 0.2104,
    },
}

ANSWERS: dict[str, Any] = {
    "GalleryOut": GALLERY,
    "GalleriesOut": {"galleries": [GALLERY], "next_cursor": None},
    "SubjectOut": SUBJECT,
    "SubjectsOut": {"subjects": [SUBJECT], "next_cursor": CURSOR},
    "JobOut": JOB,
    "JobsOut": {"jobs": [JOB], "next_cursor": CURSOR},
    "ResultsOut": {"job": JOB, "results": [RESULT], "next_cursor": None},
    "AddedOut": {"accepted": 1, "missing": ["picnic.jpg"]},
    "SourceOut": SOURCE,
    "SourcesOut": {"sources": [SOURCE], "next_cursor": None},
    "ExportOut": EXPORT,
    "ExportsOut": {"exports": [EXPORT]},
    "SubjectResultsOut": {"subjects": [SUBJECT_RESULT], "next_cursor": None},
    "UploadOut": {
        "id": UPLOAD_ID,
        "forms_expire_at": "2026-11-30T09:15:00Z",
        "expires_at": "2026-12-01T08:15:00Z",
        "files": [
            {
                "part": 0,
                "url": "https://s3.example.com/facebatch",
                "fields": {
                    "key": f"{UPLOAD_ID}/0",
                    "policy": "eyJleHBpcmF0aW9uIjoi",
                    "x-amz-signature": "abc",
                },
            }
        ],
    },
    "IndexOut": {
        "service": "facebatch",
        "version": "0.1.0",
        "endpoints": {"GET /health": "whether the service works"},
    },
    "HealthOut": {
        "status": "healthy",
        "database": "connected",
        "threshold": 0.45,
        "embedding_dimension": 128,
    },
    "UnhealthyOut": {
        "status": "unhealthy",
        "database": "connected",
        "threshold": 0.45,
        "embedding_dimension": 128,
        "parts": {"database": "connected", "storage": "connected", "queue": "disconnected"},
    },
    "StatsOut": {"total_users": 1, "threshold": 0.45, "embedding_dimension": 128},
    "RegisteredOut": {
        "status": "success",
        "message": "User 'Ada Lovelace' registered successfully",
        "user_id": 2,
        "name": "Ada Lovelace",
        "embedding_dimension": 128,
    },
    "RecognizedOut": {
        "status": "match",
        "message": "Face recognized as 'Ada Lovelace'",
        "distance": 0.3359,
        "confidence": 0.6641,
        "matched_user": {"id": 2, "name": "Ada Lovelace"},
        "threshold": 0.45,
        "fmr": 5.85e-05,
        "fmr_basis": "measured",
        "fpir": 5.85e-05,
        "fnmr": 0.314,
        "advice": None,
    },
}
REQUESTS: dict[str, Any] = {
    "GalleryIn": {"name": "family", "engine": "dlib"},
    "SubjectIn": {"name": "Ada Lovelace"},
    "SourcedJobIn": {
        "kind": "identify",
        "gallery": GALLERY_ID,
        "target_fpir": 0.01,
        "sources": [{"kind": "prefix", "prefix": "sources/local/summer/"}],
    },
    "RematchIn": {"gallery": GALLERY_ID, "top_k": 3},
    "SourceIn": {"kind": "archive", "upload": UPLOAD_ID},
    "KnownPhotosIn": {"photos": [{"client_id": "picnic.jpg", "sha256": SHA256}]},
    "UploadedPhotosIn": {"upload": UPLOAD_ID, "photos": [{"client_id": "picnic.jpg", "part": 0}]},
    "UploadIn": {"kind": "photos", "files": [{"size_bytes": 184320, "sha256": SHA256}]},
    "ExportIn": {"format": "csv"},
}
FORMS: dict[str, dict[str, Any]] = {
    "POST /v1/galleries/{gallery_id}/subjects/{subject_id}/photos": {
        "photos": ["ada.jpg"],
        "multiple_faces": "largest",
    },
    "POST /v1/jobs": {"kind": "identify", "gallery": GALLERY_ID, "photos": ["picnic.jpg"]},
    "POST /v1/jobs/{job_id}/photos": {"photos": ["picnic.jpg"]},
    "POST /register": {"name": "Ada Lovelace", "image": "ada.jpg"},
    "POST /recognize": {"image": "picnic.jpg"},
}
"""Of multipart bodies, a file by its name."""
FILES: dict[str, str] = {
    "application/x-ndjson": '{"name": "picnic.jpg", "status": "done"}\n',
    "text/csv": "name,status\npicnic.jpg,done\n",
    "image/jpeg": "face.jpg",
}
