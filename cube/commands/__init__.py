"""The commands of `cube`, a module for each group; `cube.cli` puts them together."""
