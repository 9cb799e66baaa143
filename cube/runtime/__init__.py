"""What every room stands on: processes, log, errors, locks, namespaces, redaction."""
