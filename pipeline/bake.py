"""Converts the models of every engine into a folder, for an image whose workers write nothing.

Run as `python -m pipeline.bake DIR`.
"""

import sys
from pathlib import Path

from pipeline.loader import load_engine
from pipeline.specs import ENGINE_SPECS


def bake(models_dir: Path) -> None:
    """Makes what is missing in `models_dir`; raises what `load_engine` raises."""
    for name in ENGINE_SPECS:
        load_engine(name, models_dir)


def main() -> int:
    """Bakes into the folder that is named; 2 where none is."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m pipeline.bake DIR\n")
        return 2
    bake(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
