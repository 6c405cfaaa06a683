"""Asks the API in this container whether it is well: `python -m web.healthcheck [PORT]`.

By no proxy, and by a name that the API answers to.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

PORT = 8765
LIMIT_S = 4.5


def main() -> int:
    """0 where it is well, else 1."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else PORT
    name = (os.environ.get("FACEBATCH_TRUSTED_HOSTS") or "localhost").partition(",")[0].strip()
    connection = HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.request("GET", "/health", headers={"Host": "localhost" if name == "*" else name})
        return int(connection.getresponse().status != 200)
    except (OSError, HTTPException):
        return 1


if __name__ == "__main__":
    sys.exit(main())
