"""What programs that check the box have in common: running programs, files, results."""
