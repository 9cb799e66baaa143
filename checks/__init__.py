"""Checks that judge a live host over SSH, and a sealed image offline; see docs/validate.md."""
