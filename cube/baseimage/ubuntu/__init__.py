"""A bare Ubuntu: its ISO, its installer, and the installer's answers."""
