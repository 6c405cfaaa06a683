"""Does any broken image take the decoder down? A table, and one JSON object as the last line.

Images are made from real ones by seeded mutation, and bombs beside them. Each goes through
`open_photo`, `pixels` and `reduced` in a process of its own kind, in both colours and with two caps
of pixels. Exits with 1 where anything but pixels or a documented error code came of one.

A photo's memory is capped by its size: see `fuzzing.Plan.most_mb`.
"""

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path

import fuzzing
from image_corpus import good_images

MAX_PIXELS = 100_000_000


def main() -> int:
    """Runs the command."""
    with tempfile.TemporaryDirectory() as models:
        return _fuzz(_options(), models)


def _fuzz(options: argparse.Namespace, models: str) -> int:
    plan = fuzzing.Plan(
        images=tuple(good_images(options.photos, options.seed)),
        count=options.count,
        seed=options.seed,
        max_pixels=options.max_pixels,
        limit_s=options.limit_s,
        processes=options.processes,
        engine=options.engine,
        models_dir=Path(models),
    )
    endings: list[fuzzing.Ending] = []
    indices = range(plan.count) if options.only is None else [options.only]
    _say_caps(plan)
    fuzzing.run(plan, indices, endings.append)
    _print_table(endings)
    _print_unexpected(plan, endings, options.keep)
    print(json.dumps(summary(plan, endings)))
    return int(any(ending.unexpected for ending in endings))


def summary(plan: fuzzing.Plan, endings: list[fuzzing.Ending]) -> dict[str, object]:
    """A run in numbers."""
    codes = Counter(ending.outcome for ending in endings if not ending.crashed)
    results = codes.pop("pixels", 0)
    return {
        "images": len(endings),
        "results": results,
        "errors": codes.total(),
        "codes": dict(codes.most_common()),
        "crashed": sum(ending.crashed for ending in endings),
        "unexpected": sum(bool(ending.unexpected) for ending in endings),
        "slowest_s": round(max((ending.took_s for ending in endings), default=0), 2),
        "peak_rss_mb": round(max((ending.process_mb for ending in endings), default=0)),
        "max_pixels": plan.max_pixels,
        "seed": plan.seed,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument(
        "--photos",
        type=Path,
        default=default if default.is_dir() else None,
        help="a folder of real photos; without one, pictures are made up",
    )
    parser.add_argument("--count", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-pixels", type=int, default=MAX_PIXELS)
    parser.add_argument(
        "--limit-s", type=float, default=60.0, help="for one image, in all its ways"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--engine", help="find faces with it too, in whatever can be decoded")
    parser.add_argument("--only", type=int, help="the one image of this number")
    parser.add_argument("--keep", type=Path, help="a folder for images that misbehave")
    return parser.parse_args()


def _say_caps(plan: fuzzing.Plan) -> None:
    fixed_mb = plan.most_mb(pixels=0, size_bytes=0)
    most_mb = plan.most_mb(pixels=plan.max_pixels, size_bytes=0)
    print(
        f"{len(plan.images)} good images, seed {plan.seed}. "
        f"An image may take {fixed_mb:.0f} MB, "
        f"{fuzzing.BYTES_PER_PIXEL} bytes for each pixel that its header promises, of "
        f"{plan.max_pixels:,} at most, and {fuzzing.BYTES_PER_BYTE} for each of its bytes: "
        f"{most_mb:,.0f} MB at the very most. It may take {plan.limit_s:.0f} s."
    )


def _print_table(endings: list[fuzzing.Ending]) -> None:
    outcomes = Counter((_kind(one), one.outcome) for one in endings)
    columns = sorted(
        {outcome for _, outcome in outcomes}, key=lambda name: (name != "pixels", name)
    )
    print("".join(f"{name:>20}" for name in ("mutation", *columns, "unexpected")))
    for kind in fuzzing.KINDS:
        odd = sum(bool(one.unexpected) for one in endings if _kind(one) == kind)
        counts = [*(outcomes[kind, column] for column in columns), odd]
        print(f"{kind:>20}" + "".join(f"{count:>20}" for count in counts))


def _kind(ending: fuzzing.Ending) -> str:
    return fuzzing.KINDS[ending.index % len(fuzzing.KINDS)]


def _print_unexpected(plan: fuzzing.Plan, endings: list[fuzzing.Ending], keep: Path | None) -> None:
    for ending in endings:
        for reason in ending.unexpected:
            print(f"image {ending.index} ({_kind(ending)}): {reason}")
        if ending.unexpected and keep:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{plan.seed}-{ending.index}").write_bytes(
                fuzzing.mutant(plan, ending.index)[1]
            )


if __name__ == "__main__":
    raise SystemExit(main())
