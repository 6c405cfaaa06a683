"""The bound of a submission: a bare Flask route that stores a photo, and does nothing else.

It parses the form as Flask does, and puts the bytes through the client that the API itself uses.
"""

import uuid

from flask import Flask, request
from flask.typing import ResponseReturnValue

from db.settings import load_settings
from db.storage import ObjectStore

app = Flask(__name__)
store = ObjectStore.from_settings(load_settings().require_stores())


@app.get("/health")
def health() -> ResponseReturnValue:
    """Say that it serves."""
    return {"status": "healthy"}


@app.post("/photos")
def store_photo() -> ResponseReturnValue:
    """Store the photo under a key of its own."""
    key = f"{uuid.uuid4()}/0"
    store.put(key, [request.files["photos"].read()])
    return {"key": key}, 201
