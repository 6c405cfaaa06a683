"""What the user is told beside the results, on standard error."""

import sys

from cli.scan import FoundPeople, FoundPhotos, PhotoWalk
from pipeline.names import spelt


def warn(message: str) -> None:
    """A line for the user that is no result; one line, whatever the files in it are called."""
    print(f"facebatch: {spelt(message)}", file=sys.stderr, flush=True)


def counted(count: int, one: str, many: str | None = None) -> str:
    """The number and what it counts: "1 photo", "2 photos"; `many` where an s does not do."""
    return f"{count} {one}" if count == 1 else f"{count} {many or one + 's'}"


def warn_of_left_out(*folders: FoundPeople | FoundPhotos | PhotoWalk) -> None:
    """Says what lies in the folders and is not looked at, and why."""
    for found in folders:
        if not isinstance(found, FoundPeople) and found.left_out:
            warn(_left_out(found))
    for link in (link for found in folders for link in found.linked):
        warn(f"{link} is a link to a folder and was not followed")
    for reason in (reason for found in folders for reason in found.unreadable):
        warn(f"{reason}; what is in it was left out")


def _left_out(found: FoundPhotos | PhotoWalk) -> str:
    if found.left_out == 1:
        return f"1 file in {found.root} is no photo and was left out"
    return f"{found.left_out} files in {found.root} are no photos and were left out"
