"""The parts of `make accuracy`: data, embeddings, error rates, tables and curves."""
