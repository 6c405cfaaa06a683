"""The command `facebatch`, and the local stack it can start."""
