"""GPU detection: validate-gpus.sh; docs/validate.md lists the checks."""
