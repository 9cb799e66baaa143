"""Stage 5: cleaning, flattening, the boot test, the manifest."""
