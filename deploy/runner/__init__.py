"""What runs in pyinfra's process: inventory, layers, events, records."""
