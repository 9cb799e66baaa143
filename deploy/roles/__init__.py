"""One file a role, one `@deploy` function of the same name in it."""
