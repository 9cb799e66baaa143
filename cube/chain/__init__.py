"""The layer chain: qcow2 overlays, each keyed by what made it.

One mechanism gives cache (same key: reuse), resume (what was frozen stays), rollback (the head
moves), bisect and the proof of idempotence (see `cube.build.layers`).
"""
