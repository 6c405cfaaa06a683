"""Large galleries in a process's memory: it says where to look, and the tables what is there."""
