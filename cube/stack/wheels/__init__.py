"""Wheels of the GPU stack: resolving what to lock, and looking into what was locked."""
