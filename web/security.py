"""Headers with which browsers keep to themselves what they get from here."""

import base64
import hashlib
import re

from flask import Flask, Response, request

DOCS = "/docs"
EVERYWHERE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
NOTHING = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""For answers, which are no pages: where a browser shows one all the same, nothing in it runs."""
OUR_PAGE = (
    "default-src 'none'; script-src 'self'{}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
"""For the page to try the API, with the hashes of its own scripts; nothing comes from elsewhere."""
PERSONAL = "no-store"
"""Answers tell who is in photos: nothing on the way is to keep one."""


def guard(app: Flask) -> None:
    """Has all answers carry these headers."""
    app.after_request(_secured)


def _secured(response: Response) -> Response:
    is_page = request.path == DOCS or request.path.startswith(f"{DOCS}/")
    for name, value in EVERYWHERE.items():
        response.headers.setdefault(name, value)
    policy = _page_policy(response) if is_page else NOTHING
    response.headers.setdefault("Content-Security-Policy", policy)
    if not is_page:
        response.headers.setdefault("Cache-Control", PERSONAL)
    return response


def _page_policy(response: Response) -> str:
    """Admits the scripts that stand in the page as it was made here, and no other."""
    if response.mimetype != "text/html" or response.direct_passthrough:
        return OUR_PAGE.format("")
    scripts = re.findall(rb"<script>(.*?)</script>", response.get_data(), re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(one).digest()).decode() for one in scripts]
    return OUR_PAGE.format("".join(f" 'sha256-{one}'" for one in hashes))
