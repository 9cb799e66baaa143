"""Command line (in the making)."""
def main() -> int:
    """Run."""
    return 0
