"""Faces that are cut out of their photos: asked for by requests, made by workers, soon deleted."""
