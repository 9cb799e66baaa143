"""The passport of one unit: what hardware settled, signed."""
