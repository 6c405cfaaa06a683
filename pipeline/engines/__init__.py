"""The engines: a folder each, with `spec.py` (plain data) and `engine.py` (which loads it)."""
