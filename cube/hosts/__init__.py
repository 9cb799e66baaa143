"""Boxes on the network: layers applied to live machines, judged, and taken back."""
