"""What users of face_recognition write: a loop over photos, here in several processes.

Run as `python -m bench.library_loop FOLDER OUT.npz PROCESSES`; OUT gets each face's photo and
encoding, in the order of the photos.
"""

import sys
from multiprocessing import get_context
from pathlib import Path

import face_recognition
import numpy as np

Found = tuple[str, list[np.ndarray]]


def encoded(path: str) -> Found:
    """The encodings of one photo."""
    image = face_recognition.load_image_file(path)
    return Path(path).name, face_recognition.face_encodings(image)


def main(folder: str, out: str, processes: str) -> None:
    """Runs the loop over all files of `folder`."""
    paths = sorted(str(path) for path in Path(folder).iterdir())
    with get_context("forkserver").Pool(int(processes)) as pool:
        found = pool.map(encoded, paths, chunksize=1)
    np.savez(
        out,
        photo=np.array([name for name, encodings in found for _ in encodings]),
        embedding=np.array([one for _, many in found for one in many]).reshape(-1, 128),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
