"""The command `facebatch`."""

import atexit
import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import TextIO

import click

from db.settings import SettingsError
from facebatch.errors import ClientError, ServerAwayError, UnauthorizedError
from pipeline.errors import FaceBatchError

COMMANDS = {
    "match": "Find the people of one folder in the photos of another.",
    "submit": "Send a folder, a zip or a place in a bucket as one job.",
    "jobs": "List jobs, and control them.",
    "results": "Write what came of a job.",
    "webhooks": "Have events sent to a URL, and see whether they arrive.",
    "search": "Find every photo of a job that shows somebody.",
    "crop": "Cut a face out of its photo.",
    "embed": "Make embeddings of all faces of a folder, without a stack.",
    "import-encodings": "Take over encodings of face_recognition.",
    "keys": "Make, list, rotate and revoke API keys.",
    "tenants": "Make and list tenants, and say how much they may have.",
    "demo": "Match a sample of real photos, or your own.",
    "up": "Serve until interrupted.",
    "down": "Stop the local stack.",
    "status": "Show the parts and where the API listens.",
}
"""What the help says of each: as the command says it itself, and without loading all of them."""
KEY_HINT = (
    "FACEBATCH_API_KEY must be a key of this server: `facebatch keys create` makes one where its "
    "database is at hand"
)
AWAY_HINT = "see `facebatch status` and its logs"
INTERRUPTED = 128 + signal.SIGINT


class _Commands(click.Group):
    """Imports a command when it is used: the supervisor needs no database library in memory."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature.
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(importlib.import_module(f"cli.commands.{name}"), name)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([*COMMANDS.items()])


@click.group(cls=_Commands)
@click.version_option(package_name="facebatch")
def facebatch() -> None:
    """Who is in these photos?"""


def main() -> int:
    """Runs the command; returns its exit status, and never shows a traceback for a known error."""
    # What is left goes with the process: to look through it for garbage takes up to a second.
    atexit.register(gc.freeze)
    if sys.stderr is None:  # It was closed: `print` would take standard output in its place.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for good.
    with _ends_by_signal() as signals:
        status = _run()
        if status == INTERRUPTED and signals:
            status = 128 + signals[0]
    for stream in (sys.stdout, sys.stderr):
        try:
            _flush(stream)
        except OSError as exc:
            # What failed before may have been this very stream, and been said.
            status = status or _failed(exc)
    return status


@contextlib.contextmanager
def _ends_by_signal() -> Iterator[list[int]]:
    """Makes SIGTERM and SIGHUP end the command as Ctrl-C does; yields those that came.

    Their default is to end it at once, with files half-written, jobs and stacks left running.
    """
    signals: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP)}
    for one, handler in before.items():
        if handler is signal.SIG_DFL:  # Who started it with nohup wants it to go on.
            signal.signal(one, interrupt)
    try:
        yield signals
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _run() -> int:
    try:
        returned = facebatch.main(prog_name="facebatch", standalone_mode=False)
    except click.ClickException as exc:
        with contextlib.suppress(OSError):
            exc.show()
        return exc.exit_code
    except FaceBatchError as exc:
        _say(str(exc))
        return 2 if isinstance(exc, SettingsError) else 1
    except ClientError as exc:
        _say(_with_advice(exc))
        return 1
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as exc:
        return _failed(exc)
    return returned if isinstance(returned, int) else 0


def _with_advice(exc: ClientError) -> str:
    """What went wrong with the server, and what can be done about it here."""
    if isinstance(exc, UnauthorizedError):
        return f"{exc}; {KEY_HINT}"
    return f"{exc}; {AWAY_HINT}" if isinstance(exc, ServerAwayError) else str(exc)


def _failed(exc: OSError) -> int:
    where = f" ({exc.filename})" if exc.filename else ""
    _say(f"{exc.strerror or exc}{where}")
    return 1


def _say(message: str) -> None:
    # Nobody can be told that standard error takes nothing.
    with contextlib.suppress(OSError):
        print(f"facebatch: {message}", file=sys.stderr, flush=True)


def _flush(stream: TextIO | None) -> None:
    """Writes out what the stream holds back; raises `OSError` where it does not take it.

    The interpreter would try once more at its exit, and end with a traceback and a status of 120:
    so the rest goes nowhere.
    """
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        raise


if __name__ == "__main__":
    sys.exit(main())
