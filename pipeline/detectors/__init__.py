"""Detectors: where the faces of a photo are. An engine has one."""
