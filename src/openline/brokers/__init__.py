"""Engines: what keeps the logs and links the nodes."""
