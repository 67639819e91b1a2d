"""One node's routing: channels, fan-out, presence, recovery; it declares the ports that the floors above implement."""
