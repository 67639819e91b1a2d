"""One node's routing: channels, fan-out, presence, recovery.

It declares the ports that the floors above implement.
"""
