"""Keys: what a link is made from."""
