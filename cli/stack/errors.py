"""What can keep the local stack from running."""

from pipeline.errors import FaceBatchError


class StackError(FaceBatchError):
    """The local stack cannot do what was asked of it; the message says why."""

    code = "stack_failed"


class HomeError(StackError):
    """The home folder cannot be used."""

    code = "home_unusable"


class AlreadyRunningError(StackError):
    """Another supervisor has this home."""

    code = "stack_already_running"
