"""The sealed image, judged offline on its mounted root."""
