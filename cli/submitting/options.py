"""The options that say what a submission's job is to do."""

from typing import Any

import click

from cli.job_options import (
    ENGINE,
    GALLERIES,
    LIMITS,
    MULTIPLE_FACES,
    PRIORITY,
    THRESHOLD,
    TOP,
    given,
    together,
)
from cli.submitting.wanted import Detect, Enrol, Identify, WantedJob
from cli.thresholds import wanted_threshold
from pipeline.face_limits import FaceLimits

_DECIDING = ("threshold_distance", "target_fmr", "target_fpir")
JOB = together(
    GALLERIES,
    click.option("--detect", is_flag=True, help="Only find faces, in no gallery."),
    click.option(
        "--enrol-as",
        metavar="PERSON",
        help="All photos show this person, who is to be known in the gallery from then on; both "
        "are made where there are none.",
    ),
    ENGINE,
    THRESHOLD,
    TOP,
    MULTIPLE_FACES,
    LIMITS,
    PRIORITY,
)
"""Identify, or what another flag says."""


def wanted_job(chosen: dict[str, Any]) -> WantedJob:
    """What the options ask for; raises `click.UsageError` where they do not go together."""
    return WantedJob(
        what=_what(chosen),
        limits=FaceLimits(min_face_px=chosen["min_face_px"], min_quality=chosen["min_quality"]),
        priority=chosen["priority"],
    )


def _what(chosen: dict[str, Any]) -> Identify | Enrol | Detect:
    if chosen["detect"]:
        _refuse("--detect", "galleries", "enrol_as", *_DECIDING, "top_k", "multiple_faces")
        return Detect(engine=chosen["engine"])
    if chosen["enrol_as"] is not None:
        _refuse("--enrol-as", *_DECIDING, "top_k")
        if len(chosen["galleries"]) != 1:
            raise click.UsageError("--enrol-as needs one --gallery")
        return Enrol(
            gallery=chosen["galleries"][0],
            subject=chosen["enrol_as"],
            engine=chosen["engine"],
            multiple_faces=chosen["multiple_faces"],
        )
    _refuse("looking for people, whose gallery has an engine,", "engine", "multiple_faces")
    return identification(chosen)


def identification(chosen: dict[str, Any]) -> Identify:
    """A search of the galleries that were chosen; raises `click.UsageError`."""
    if not chosen["galleries"]:
        raise click.UsageError("name the people's gallery with --gallery")
    threshold = wanted_threshold(
        None,
        distance=chosen["threshold_distance"],
        target_fmr=chosen["target_fmr"],
        target_fpir=chosen["target_fpir"],
    )
    galleries = tuple(chosen["galleries"])
    return Identify(galleries=galleries, threshold=threshold, top_k=chosen["top_k"])


def _refuse(what: str, *parameters: str) -> None:
    if flags := given(*parameters):
        raise click.UsageError(f"{what} takes no {' nor '.join(flags)}")
