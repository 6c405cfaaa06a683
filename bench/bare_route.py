"""The peers of a submission: bare Flask routes that store a photo, and do nothing else.

Both parse the form as Flask does. One puts the bytes with boto3, as whoever writes such a route
does; the other with the client that the API itself uses, which costs a third of that.
"""

import uuid
from functools import cache

import boto3
from flask import Flask, request
from flask.typing import ResponseReturnValue

from db.settings import load_settings
from db.storage import ObjectStore

app = Flask(__name__)
settings = load_settings().require_stores()
store = ObjectStore.from_settings(settings)


@cache
def boto() -> "boto3.client":
    """The client; it finds the keys in the environment."""
    endpoint = settings.s3_endpoint_url
    return boto3.client("s3", endpoint_url=endpoint.get_secret_value() if endpoint else None)


@app.get("/health")
def health() -> ResponseReturnValue:
    """Say that it serves."""
    return {"status": "healthy"}


@app.post("/boto")
def store_with_boto() -> ResponseReturnValue:
    """Store the photo under a key of its own."""
    key = f"{uuid.uuid4()}/0"
    boto().put_object(Bucket=settings.s3_bucket, Key=key, Body=request.files["photos"].read())
    return {"key": key}, 201


@app.post("/photos")
def store_photo() -> ResponseReturnValue:
    """Likewise, with our client."""
    key = f"{uuid.uuid4()}/0"
    store.put(key, [request.files["photos"].read()])
    return {"key": key}, 201
