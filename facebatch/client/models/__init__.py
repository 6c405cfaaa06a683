"""What the API answers, as values: a module for each kind of thing."""
