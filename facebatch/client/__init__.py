"""A typed client of facebatch's HTTP API.

    from facebatch.client import Client

    with Client("https://faces.example.com", api_key="fb_live_...") as client:
        job = client.jobs.submit("identify", ["a.jpg", "b.jpg"], gallery=gallery_id)
        client.jobs.wait(job.id)
        for result in client.jobs.results(job.id):
            print(result.name, [face.subject for face in result.faces])

Errors are in `facebatch.errors`, the types of answers in `facebatch.client.models`.
"""

from facebatch.client.client import Client
from facebatch.client.events import (
    Event,
    JobEvent,
    MatchEvent,
    UnknownEvent,
    WebhookEvent,
    verify_webhook,
)
from facebatch.client.files import FileToUpload
from facebatch.client.photos import Photo

__all__ = [
    "Client",
    "Event",
    "FileToUpload",
    "JobEvent",
    "MatchEvent",
    "Photo",
    "UnknownEvent",
    "WebhookEvent",
    "verify_webhook",
]
