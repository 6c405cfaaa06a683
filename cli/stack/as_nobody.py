"""Gives up root and becomes another program: `python -m cli.stack.as_nobody FOLDER PROGRAM …`.

PostgreSQL refuses to run as root. This becomes `nobody`; where `nobody` cannot get to the program
or to its data in FOLDER, it keeps one capability that lets it through (docs/decisions/0007).
"""

import ctypes
import os
import pwd
import stat
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_GET_PDEATHSIG = 2
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def nobody() -> tuple[int, int]:
    """The ids of `nobody` and its group, by custom where the machine does not name them."""
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        return 65534, 65534
    return entry.pw_uid, entry.pw_gid


def become_nobody(folder: Path, program: Path) -> None:
    """Changes this process's user for good; raises `OSError` where the machine forbids it."""
    user, group = nobody()
    at_parents_death = ctypes.c_int()
    _checked(_libc.prctl(PR_GET_PDEATHSIG, ctypes.byref(at_parents_death), 0, 0, 0))
    _prctl(PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
    # A change of user makes the kernel forget it.
    _prctl(PR_SET_PDEATHSIG, at_parents_death.value)
    if _can_use(folder, program):
        _hold(0)
    elif not (_may_hold(CAP_DAC_READ_SEARCH) and _is_executable(program)):
        # Containers are seldom given the former; programs installed for root alone need the latter.
        _hold(1 << CAP_DAC_OVERRIDE)


def main() -> int:
    """Does not return where all goes well."""
    folder, program = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        os.chdir("/")
        become_nobody(folder, program)
        os.execv(program, sys.argv[2:])  # noqa: S606 - what this module is for.
    except OSError as exc:
        sys.stderr.write(
            f"facebatch: PostgreSQL cannot run as root, and running {program} as `nobody` on "
            f"{folder} does not work here either ({exc.strerror}); run facebatch as an ordinary "
            "user, or set FACEBATCH_HOME to a folder that everybody may enter\n"
        )
    return 1


def _can_use(folder: Path, program: Path) -> bool:
    # access(2) asks for the real user, without capabilities.
    return os.access(program, os.X_OK) and os.access(folder, os.R_OK | os.W_OK | os.X_OK)


def _may_hold(capability: int) -> bool:
    try:
        _hold(1 << capability)
    except PermissionError:
        return False
    return True


def _is_executable(program: Path) -> bool:
    """Whether `program` may be run by all; CAP_DAC_READ_SEARCH opens folders, and runs nothing."""
    return bool(program.stat().st_mode & stat.S_IXOTH)


def _hold(mask: int) -> None:
    """Makes the capabilities in `mask` those of this process and of the program it becomes."""
    header, sets = _Header(CAPABILITY_VERSION_3, 0), (_Sets * 2)()
    _checked(_libc.capget(ctypes.byref(header), sets))
    sets[0].effective = sets[0].inheritable = mask
    sets[1].effective = sets[1].inheritable = 0
    _checked(_libc.capset(ctypes.byref(header), sets))
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if mask & 1 << capability:
            _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)


def _prctl(option: int, *arguments: int) -> None:
    padded = [ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(option, *padded))


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    sys.exit(main())
