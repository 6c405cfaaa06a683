"""Zip archives read where they lie, by ranges of bytes, and refused where they are hostile."""
