"""What a submission tells: lines for a person, or lines of JSON for a script."""

import json
from collections import Counter
from dataclasses import dataclass, field

from cli.asking import Json
from cli.sending import Refusal
from cli.telling import counted, warn
from facebatch.client.models.jobs import Job

TOLD_AT_MOST = 100
"""Refused photos that are named to a person, one by one; a script gets them all."""


@dataclass(slots=True, kw_only=True)
class Report:
    """Counts what became of the photos, and tells it: the job first, all numbers at the end."""

    as_json: bool
    by_photo: bool = False
    """Whether photos are sent one by one; else the server counts them."""
    sent: int = 0
    known: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Photos that are not in the job, by error code."""

    @property
    def n_refused(self) -> int:
        """How many photos are not in the job."""
        return self.refused.total()

    def job(self, job_id: str) -> None:
        """The job, before anything is sent."""
        if self.as_json:
            _print({"job": job_id})
        else:
            print(job_id, flush=True)

    def refuse(self, photo: str, refusal: Refusal) -> None:
        """A photo that is not in the job, and why."""
        self.refused[refusal.code] += 1
        if self.as_json:
            _print({"photo": photo, "error": {"code": refusal.code, "detail": refusal.reason}})
        elif self.n_refused <= TOLD_AT_MOST:
            warn(f"{photo} is not in the job: {refusal.reason} ({refusal.code})")
        elif self.n_refused == TOLD_AT_MOST + 1:
            warn("there are more; they are counted at the end, and --json names them all")

    def submitted(self) -> None:
        """What became of the photos that were to be sent."""
        if self.by_photo and not self.as_json:
            warn(self._summary())

    def end(self, job: Job) -> None:
        """For a script: all numbers, and where the job stands."""
        numbers = {"sent": self.sent, "known": self.known, "refused": self.n_refused}
        of_job = {"job": str(job.id), "state": job.state, "counts": job.counts.as_json()}
        if self.as_json:
            _print(of_job | (numbers if self.by_photo else {}))

    def _summary(self) -> str:
        told = f"{counted(self.sent, 'photo')} sent, {self.known} known already"
        if self.n_refused:
            by_code = ", ".join(f"{count} {code}" for code, count in self.refused.most_common())
            told += f", {self.n_refused} not in the job ({by_code})"
        return told


def _print(body: Json) -> None:
    print(json.dumps(body), flush=True)
