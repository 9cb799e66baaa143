"""The GPU stack as data: profiles of versions that work together. Pure data: it imports no spec."""
