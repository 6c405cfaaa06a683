"""How each kind of source is read: pages of what is in it, from where the listing stands."""
