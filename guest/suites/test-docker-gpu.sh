#!/bin/bash
exec /usr/bin/python3 -IB "${CUBE_LIB:-/usr/local/lib/cube}/test_docker_gpu.py" "$@"
