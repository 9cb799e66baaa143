"""Links in an archive: export and import."""
