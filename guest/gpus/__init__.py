"""GPU detection: validate-gpus.sh; docs/suites.md lists the checks."""
