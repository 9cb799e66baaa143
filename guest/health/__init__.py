"""Checks of a live box: one module a layer; `health-check-layer1.sh` and so on start them."""
