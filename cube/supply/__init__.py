"""What an image is made from: caches of packages and wheels."""
