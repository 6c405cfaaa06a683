"""Requests to URLs that strangers have chosen, which reach nothing but what they may."""
