"""The command `facebatch`."""

import importlib
import sys

import click

from db.settings import SettingsError
from pipeline.errors import FaceBatchError

COMMANDS = {name: f"cli.commands.{name}" for name in ("match", "demo", "up", "down", "status")}
INTERRUPTED = 130


class _Commands(click.Group):
    """Imports a command when it is used: the supervisor needs no database library in memory."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature.
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        return command if isinstance(command, click.Command) else None


@click.group(cls=_Commands)
@click.version_option(package_name="facebatch")
def facebatch() -> None:
    """Who is in these photos?"""


def main() -> int:
    """Runs the command; returns its exit status, and never shows a traceback for a known error."""
    try:
        returned = facebatch.main(prog_name="facebatch", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except FaceBatchError as exc:
        print(f"facebatch: {exc}", file=sys.stderr, flush=True)
        return 2 if isinstance(exc, SettingsError) else 1
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as exc:
        where = f" ({exc.filename})" if exc.filename else ""
        print(f"facebatch: {exc.strerror or exc}{where}", file=sys.stderr, flush=True)
        return 1
    return returned if isinstance(returned, int) else 0


if __name__ == "__main__":
    sys.exit(main())
