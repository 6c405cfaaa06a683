"""All that persists: settings, models, queries, sessions, migrations and object storage."""
