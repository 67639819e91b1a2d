"""Codecs: bytes to commands, pushes to bytes; no I/O and no clock."""
