#!/bin/bash
# Judge the GPUs of the live box against /etc/cube/expectations.json: --help tells more.
exec /usr/bin/python3 -IB "${CUBE_LIB:-/usr/local/lib/cube}/validate_gpus.py" "$@"
