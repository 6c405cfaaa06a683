"""Passwords that nobody has to choose or know."""

import secrets

from cli.stack.errors import HomeError
from cli.stack.home import Home, home_errors, write_private

SECRET_KEY = "secret_key"  # noqa: S105 - the name of a file.
"""That from which others are derived, where no setting has one."""


def password(home: Home, name: str) -> str:
    """The password of this `name`, generated at the first call; raises `HomeError`.

    One process at a time may call this: the one that holds the home's lock.
    """
    path = home.secrets / name
    with home_errors(home.path):
        if not path.exists():
            write_private(path, secrets.token_urlsafe(32))
        found = path.read_text(encoding="ascii", errors="replace").strip()
    if not found:
        raise HomeError(f"the password in {path} is empty; put it back, or delete {home.path}")
    return found


def has_password(home: Home, name: str) -> bool:
    """Whether a password of this `name` was ever generated."""
    return (home.secrets / name).exists()
