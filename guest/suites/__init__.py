"""The suites of workloads: one package each, and what they have in common.

A suite's own process needs the standard library only. Its `worker` runs in the environment of a
framework, as a child.
"""
