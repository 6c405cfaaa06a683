"""Secrets in files: `NAME_FILE` in place of `NAME`, as Docker and Kubernetes hand them over.

They are in no environment that `docker inspect` shows.
"""

from collections.abc import Mapping
from pathlib import Path

SECRET_NAMES = frozenset(
    {
        *("DATABASE_URL", "DB_PASSWORD", "REDIS_URL"),
        *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("FACEBATCH_SECRET_KEY", "FACEBATCH_API_KEY"),
    }
)
"""Settings whose value may stand in a file."""
FILE_NAMES = frozenset(f"{name}_FILE" for name in SECRET_NAMES)


def overridden(source: Mapping[str, str], by: Mapping[str, str]) -> dict[str, str]:
    """`source` without the secrets and files for which `by` has either."""
    decided = {name for name in SECRET_NAMES if by.get(name) or by.get(f"{name}_FILE")}
    return {
        name: value for name, value in source.items() if name.removesuffix("_FILE") not in decided
    }


def secrets_of(source: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The secrets whose files `source` names, by their settings; and what is wrong with others."""
    # No message has the path in it, which by a slip may be the secret itself.
    found: dict[str, str] = {}
    problems: list[str] = []
    for name in sorted(SECRET_NAMES):
        path = source.get(f"{name}_FILE")
        if not path:
            continue
        if source.get(name):
            problems.append(f"{name} and {name}_FILE are both set; set one of them")
            continue
        try:
            # Editors and `echo` end a file with a new line, and some begin it with a mark of its
            # encoding; neither is a part of the secret.
            secret = Path(path).read_text(encoding="utf-8-sig").rstrip("\r\n")
        except OSError as exc:
            problems.append(f"{name}_FILE: the file cannot be read ({exc.strerror})")
        except UnicodeDecodeError:
            problems.append(f"{name}_FILE: the file is no text in UTF-8")
        else:
            if secret:
                found[name] = secret
            else:
                problems.append(f"{name}_FILE: the file is empty; put the value of {name} there")
    return found, problems
