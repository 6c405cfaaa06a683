"""Embeddings of all faces of a folder: processes with an engine each, and the file they fill."""
