"""What a caller of the HTTP API may do."""

import enum


class Scope(enum.StrEnum):
    """A kind of routes. None brings another with it: a key has each scope that it is to have."""

    READ = "read"
    """Look at galleries, subjects, jobs and what came of them."""
    SUBMIT = "submit"
    """Make jobs, send photos, control and delete jobs."""
    MANAGE = "manage"
    """Make, change and delete galleries and their subjects."""
    ADMIN = "admin"
    """Make, list, rotate and revoke API keys."""
