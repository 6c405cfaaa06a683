"""One way to log, for every process: JSON lines on stderr, an event name with fields.

Fields are ids, counts and codes. Never a name, a file name, an embedding, image bytes or a key.
"""

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """Sets up structlog for this process; events below `level` are dropped."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
