"""When a delivery is tried again: ten attempts over a little more than three days."""

import random

MINUTE_S, HOUR_S = 60, 3600
PAUSES_S = (
    *(5, 5 * MINUTE_S, 30 * MINUTE_S),
    *(2 * HOUR_S, 5 * HOUR_S, 10 * HOUR_S, 14 * HOUR_S, 20 * HOUR_S, 24 * HOUR_S),
)
"""Between one attempt and the next: 75 hours and a half in all."""
MAX_ATTEMPTS = len(PAUSES_S) + 1
JITTER = 0.1
"""A pause is longer or shorter by up to so much: what failed together does not return together."""
LONGEST_WISH_S = 24 * HOUR_S
"""A receiver may ask for a longer pause (`Retry-After`), up to this."""


def pause_s(attempt: int, wish_s: float | None = None) -> float | None:
    """Until the attempt after this one; None where it was the last."""
    if attempt >= MAX_ATTEMPTS:
        return None
    pause = PAUSES_S[attempt - 1] * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - no secret.
    return max(pause, min(wish_s or 0, LONGEST_WISH_S))
