"""Commands for boxes on the network: `cube apply`, `cube drift`, snapshots."""
