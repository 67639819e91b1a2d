"""The Socket.IO door, met by real clients and by hands that type packets."""
