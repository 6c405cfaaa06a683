"""`make soak`: submit real photos, break everything in turn, and look whether each came out once.

Prints the seed, each fault with its time, a table of faults and one of invariants, and as the last
line one JSON object. Exits with 1 where an invariant is broken.
"""

import argparse
import contextlib
import json
import random
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from bench.soak.acts import acts
from bench.soak.disk import SmallDisk, small_disk
from bench.soak.faults import FAULTS
from bench.soak.photos import make_photos
from bench.soak.report import fault_table, summary, verdict_table
from bench.soak.run import Outcome, Soak
from bench.soak.stack import SoakStack
from cli.stack.home import Home
from cli.stack.ports import FreePorts

DISK_BYTES = 800_000_000


def main() -> int:
    """Runs the command."""
    options = _options()
    seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="facebatch-soak-"))
    # PostgreSQL, where it runs as `nobody`, has to get through.
    folder.chmod(0o711)
    (folder / "home").mkdir()
    disk = small_disk(folder / "home", DISK_BYTES)
    keep = True  # What broke can be looked at.
    try:
        outcome = _soak(folder, disk, seed, options)
        keep = options.keep or not all(one.holds for one in outcome.verdicts)
    finally:
        _clear(folder, disk, keep=keep)
    print(f"\n{fault_table(outcome.struck)}\n\n{verdict_table(outcome.verdicts)}\n")
    told = summary(outcome, seed, options.items)
    print(json.dumps(told))
    return int(not told["passed"])


def _soak(folder: Path, disk: SmallDisk | str, seed: int, options: argparse.Namespace) -> Outcome:
    rng = random.Random(seed)
    if isinstance(disk, str):
        _say(f"the disk will not be filled: {disk}")
    _say(f"{options.items} photos are made")
    photos = make_photos(folder / "photos", options.items, rng)
    soak = Soak(
        stack=SoakStack(Home(folder / "home"), port=FreePorts().one()),
        photos=photos,
        acts=acts(options.items, rng, options.faults),
        rng=rng,
        disk=disk,
        folder=folder,
        within_s=options.within_s,
        say=_say,
    )
    return soak.run()


def _clear(folder: Path, disk: SmallDisk | str, *, keep: bool) -> None:
    """Deletes the folder, or keeps of it what tells something."""
    if keep:
        with contextlib.suppress(OSError):
            shutil.copytree(folder / "home" / "logs", folder / "logs", dirs_exist_ok=True)
        print(f"the journal and the logs are kept in {folder}", file=sys.stderr)
    if not isinstance(disk, str):
        disk.remove()
    shutil.rmtree(folder / "home" if keep else folder, ignore_errors=True)


def _faults(names: str) -> tuple[str, ...]:
    wanted = tuple(name.strip() for name in names.split(","))
    if unknown := sorted({*wanted} - FAULTS.keys()):
        raise argparse.ArgumentTypeError(f"there is no fault {', '.join(unknown)}")
    return wanted


def _say(line: str) -> None:
    print(line, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--items", type=int, default=2000, help="photos to submit")
    parser.add_argument("--seed", type=int, help="default: one drawn at random")
    parser.add_argument(
        "--within-s", type=float, default=300.0, help="limit from the last fault to the end"
    )
    parser.add_argument(
        "--faults",
        type=_faults,
        default=(),
        help=f"these alone, in this order, by commas: {', '.join(FAULTS)}",
    )
    parser.add_argument(
        "--keep", action="store_true", help="keep the journal and the logs in any case"
    )
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
