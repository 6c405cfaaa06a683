"""Results as files: one line of values for each photo or subject, written in several formats."""
