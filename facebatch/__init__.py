"""What other programs use of facebatch: the client of its HTTP API, and no other part of it."""
