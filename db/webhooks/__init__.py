"""Webhooks: events, the endpoints that want to be told of them, and how that went."""
