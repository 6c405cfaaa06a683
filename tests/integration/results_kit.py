"""Jobs that have ended, made by one statement a table: results in any number, without a pixel."""

import uuid

from ledger_kit import Kit, as_owner, item
from sqlalchemy import text

from db.jobs import seal_job
from db.session import transaction
from db.states import JobKind

SUBJECTS = 7

_ROWS = """
    WITH job AS (SELECT id, tenant_id, model_id FROM job WHERE id = :job),
    photos AS (
        INSERT INTO photo (id, tenant_id, sha256, size_bytes, object_key)
        SELECT gen_random_uuid(), tenant_id, sha256(convert_to(:salt || n, 'UTF8')), 1000 + n,
               :salt || '/' || n
        FROM job, generate_series(1, :n) AS n
        RETURNING id, tenant_id, size_bytes - 1000 AS n
    ), extractions AS (
        INSERT INTO extraction
            (tenant_id, photo_id, model_id, width_px, height_px, taken_at, orientation)
        SELECT photos.tenant_id, photos.id, model_id, 640, 480,
               CASE WHEN n % 4 = 0 THEN NULL ELSE '2024-05-' || lpad((1 + n % 28)::text, 2, '0')
                                                  || 'T12:00:00' END,
               1 + n % 8
        FROM job, photos
        RETURNING id, tenant_id, photo_id
    ), faces AS (
        INSERT INTO face (tenant_id, extraction_id, ordinal, left_px, top_px, right_px, bottom_px,
                          landmarks_px, score, quality, quality_limit, sharpness, width_px,
                          yaw, pitch, roll)
        SELECT extractions.tenant_id, extractions.id, ordinal, 10 + 100 * ordinal, 20,
               90 + 100 * ordinal, 120, ARRAY[1.5, 2, 3, 4, 5, 6, 7, 8, 9, 10.25], 0.875, 0.5,
               'size', 33.25, 80, -1.5, 2, 0.25
        FROM extractions JOIN photos ON photos.id = extractions.photo_id,
             generate_series(0, photos.n % 3 - 1) AS ordinal
        RETURNING id, tenant_id, extraction_id, ordinal
    ), items AS (
        INSERT INTO item (tenant_id, job_id, photo_id, source_key, name, client_id, state, fence,
                          attempt, extraction_id, finished_at)
        SELECT photos.tenant_id, job.id, photos.id, 'in/' || n, n || '.jpg', 'day ' || n || '.jpg',
               CASE WHEN n % 3 = 0 THEN 'no_face' ELSE 'done' END, 1, 1, extractions.id,
               TIMESTAMPTZ '2026-01-02 03:04:05.678901Z' + n * interval '1 second'
        FROM job, photos JOIN extractions ON extractions.photo_id = photos.id
        ORDER BY photos.n
        RETURNING id, tenant_id, extraction_id
    ), near AS (
        INSERT INTO candidate (tenant_id, item_id, face_id, rank, subject_id, distance)
        SELECT items.tenant_id, items.id, faces.id, subject.rank, subject.id,
               0.2 + 0.07 * subject.rank + 0.001 * (items.id % 300)
        FROM items JOIN faces ON faces.extraction_id = items.extraction_id
        CROSS JOIN LATERAL (
            SELECT id, row_number() OVER (ORDER BY (number + items.id) % 7) AS rank
            FROM subject WHERE gallery_id = :gallery
            ORDER BY 2 LIMIT 3
        ) AS subject
    )
    UPDATE job SET n_items = n_items + :n, n_done = n_done + :n - :n / 3,
                   n_no_face = n_no_face + :n / 3
    WHERE id = :job
"""


def identified(kit: Kit, n_photos: int, *, gallery: str = "people") -> uuid.UUID:
    """An identification of so many photos with 0 to 2 faces each, of seven subjects, and sealed.

    One photo in front of them failed. Four of the seven are beyond `=`, a quote and a comma.
    """
    gallery_id = kit.gallery(gallery)
    names = ["=1+1", 'Ada "the", first', "Grace\nHopper", "Éva", "@home", "-5", "plain"]
    for name in names:
        kit.subject(gallery_id, name)
    bad = item("broken.jpg", error_code="not_an_image", error_detail="no image, as it seems")
    job_id = kit.job(bad, kind=JobKind.IDENTIFY, gallery_id=gallery_id, seal=False)
    values = {"job": job_id, "gallery": gallery_id, "n": n_photos, "salt": uuid.uuid4().hex}
    with transaction(kit.database) as session:
        session.execute(text(_ROWS), values)
        as_owner(session)
        session.execute(text("ANALYZE"))
    with transaction(kit.database) as session:
        seal_job(session, kit.tenant_id, job_id)
    return job_id
