"""The local stack: every part that facebatch needs, on this machine, below one home folder."""
