"""What tests of commands share: a server that listens, and the command run against it."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator

from api_kit import Api
from werkzeug.serving import make_server


@contextlib.contextmanager
def listening(api: Api) -> Iterator[str]:
    """The address at which the app answers."""
    server = make_server("127.0.0.1", 0, api.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def run(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *map(str, arguments)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == status, done.stderr.decode()
    return done
