"""Cleaning: a provisioned disk becomes an image that belongs to no machine and to no build.

Works on the mounted root of a machine that is off, so that nothing writes meanwhile. What the
image's own programs must do is run in that root (see `cube.seal.cleaning.image`).
"""
