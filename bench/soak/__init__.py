"""The proof that no photo is lost and none counts twice, whatever is killed, stopped or emptied."""
