"""The stages of a chunk: claim, compute, record."""
