"""How many threads a process that computes may use: one, because there is one process a core."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""For the process's environment: the libraries read it when they are loaded."""
