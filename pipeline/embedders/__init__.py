"""Embedders: numbers whose distance says how alike two faces are. An engine has one."""
