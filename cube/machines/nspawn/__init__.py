"""Machines in systemd-nspawn."""
