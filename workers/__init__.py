"""The Celery app, its thin tasks, the stages they call, the dispatcher and the reconciler."""
