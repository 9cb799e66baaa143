"""Disks: qcow2 files, partitions, logical volumes, mounts."""
