"""The HTTP front: it parses, calls and answers, and computes nothing."""
