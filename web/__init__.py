"""The HTTP API. Thin: parse, call, answer. It enqueues by writing rows, and computes nothing."""
