"""What the user is told beside the results, on standard error."""

import sys

from cli.scan import FoundPeople, FoundPhotos, spelt


def warn(message: str) -> None:
    """A line for the user that is no result; one line, whatever the files in it are called."""
    print(f"facebatch: {spelt(message)}", file=sys.stderr, flush=True)


def warn_of_left_out(*folders: FoundPeople | FoundPhotos) -> None:
    """Says what lies in the folders and is not looked at, and why."""
    for found in folders:
        if isinstance(found, FoundPhotos) and found.left_out:
            warn(f"{found.left_out} files in {found.root} are no photos and were left out")
    for link in (link for found in folders for link in found.linked):
        warn(f"{link} is a link to a folder and was not followed")
    for reason in (reason for found in folders for reason in found.unreadable):
        warn(f"{reason}; what is in it was left out")
