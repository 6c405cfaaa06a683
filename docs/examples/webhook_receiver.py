"""A receiver of facebatch's webhooks: verifies each, handles it once, answers at once.

    pip install flask standardwebhooks
    WEBHOOK_SECRET=whsec_... python webhook_receiver.py 8080 seen.sqlite

The file remembers the ids of events that were handled, for an event may come twice.
"""

import os
import sqlite3
import sys
from typing import Any

from flask import Flask, request
from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def make_app(secret: str, seen_file: str) -> Flask:
    """The app; `secret` is what facebatch has shown when the webhook was made."""
    app = Flask(__name__)
    webhook = Webhook(secret)
    with sqlite3.connect(seen_file) as seen:
        seen.execute("CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY)")

    @app.post("/hook")
    def receive() -> tuple[str, int]:
        try:
            # The bytes as they came: JSON that was parsed and written again has another signature.
            event = webhook.verify(request.get_data(), dict(request.headers))
        except (WebhookVerificationError, ValueError):  # ValueError: not even a form of one.
            return "not signed with our secret", 401
        with sqlite3.connect(seen_file) as seen:
            known = (request.headers["webhook-id"],)
            if not seen.execute("INSERT OR IGNORE INTO seen VALUES (?)", known).rowcount:
                return "seen before", 200
            # In the transaction that notes the id: if this fails, the event comes again.
            handle(event)
        return "thanks", 200

    return app


def handle(event: dict[str, Any]) -> None:
    """What is to be done about an event; long work belongs into a queue of your own."""
    data = event["data"]
    if event["type"] == "job.completed":
        counts = data["counts"]
        print(f"job {data['job']} {data['state']}: {counts['done']} of {counts['total']} done")
        print(f"  its results are at {data['links']['results']}", flush=True)
    elif event["type"] == "match.found":
        print(f"subject {data['subject']} is in {data['links']['results']}", flush=True)
    else:
        print(f"{event['type']} {data}", flush=True)


if __name__ == "__main__":
    port, seen_file = int(sys.argv[1]), sys.argv[2]
    make_app(os.environ["WEBHOOK_SECRET"], seen_file).run(port=port)
