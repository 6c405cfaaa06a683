"""Aligners: a face turned upright and cut out for an embedder. An engine has one."""
