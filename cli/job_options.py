"""Options of several commands that say what a job is to do."""

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from cli.numbers import Count, Number
from db.states import JobPriority, MultipleFaces
from pipeline.face_limits import MAX_MIN_FACE_PX
from pipeline.specs import DEFAULT_ENGINE, ENGINE_SPECS
from pipeline.thresholds import DEFAULT_TARGET_FPIR

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def together(*options: Decorator) -> Decorator:
    """One decorator for several, which stand in this order in the help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def given(*parameters: str) -> list[str]:
    """The flags of those parameters that stand on the command line, whatever their defaults."""
    context = click.get_current_context()
    flags = {one.name: one.opts[0] for one in context.command.params}
    return [
        flags[name]
        for name in parameters
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]


ENGINE = click.option(
    "--engine",
    type=click.Choice(sorted(ENGINE_SPECS)),
    default=DEFAULT_ENGINE.name,
    show_default=True,
    help="What makes embeddings of faces.",
)
THRESHOLD = together(
    click.option(
        "--threshold",
        "threshold_distance",
        type=Number(0, min_open=True),
        metavar="T",
        help="Distance up to which a face is taken for a person.",
    ),
    click.option(
        "--target-fmr",
        type=Number(0, 1, min_open=True, max_open=True),
        metavar="RATE",
        help="Instead: the share of strangers that may be taken for one person.",
    ),
    click.option(
        "--target-fpir",
        type=Number(0, 1, min_open=True, max_open=True),
        metavar="RATE",
        help="Instead: the share of strangers that may be taken for any of the people. Default: "
        f"{DEFAULT_TARGET_FPIR:g}, at a distance that is never looser than the engine's own.",
    ),
)
TOP = click.option(
    "--top",
    "top_k",
    type=Count(1, 100),
    default=5,
    show_default=True,
    metavar="K",
    help="Candidates to list for each face.",
)
MULTIPLE_FACES = click.option(
    "--multiple-faces",
    type=click.Choice([one.value for one in MultipleFaces]),
    default=MultipleFaces.REFUSE.value,
    show_default=True,
    help="What to do with a person's photo that shows several faces.",
)
LIMITS = together(
    click.option(
        "--min-face-px",
        type=Count(0, MAX_MIN_FACE_PX),
        default=0,
        show_default=True,
        metavar="PX",
        help="Pass over faces that are narrower, of people and in the photos.",
    ),
    click.option(
        "--min-quality",
        type=Number(0, 1),
        default=0.0,
        show_default=True,
        metavar="Q",
        help="Pass over faces of a lower quality, from 0 to 1, of people and in the photos.",
    ),
)
PRIORITY = click.option(
    "--priority",
    type=click.Choice([one.name.lower() for one in JobPriority]),
    help="Whose photos go first. Default: normal.",
)
GALLERIES = click.option(
    "--gallery",
    "galleries",
    multiple=True,
    metavar="NAME",
    help="The gallery of the people to look for; several are searched as if they were one.",
)
