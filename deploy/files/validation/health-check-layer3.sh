#!/bin/bash
# Judge layer 3 of the live box: GPUs in containers.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

check_gpu_runtime() {
  check "container toolkit" nvidia-ctk --version
  check_docker_runtime
}

check_docker_runtime() {
  run docker info --format '{{json .Runtimes}}'
  if ((CODE != 0)); then
    fail "docker knows the GPU runtime" "$(explain docker)"
  elif [[ $OUTPUT == *'"nvidia"'* ]]; then
    ok "docker knows the GPU runtime" "nvidia"
  else
    fail "docker knows the GPU runtime" "no runtime nvidia: nvidia-ctk runtime configure --runtime=docker"
  fi
}

begin_layer 3 "Judge layer 3: GPUs in containers" "$@"
has_role gpu_runtime && check_gpu_runtime
finish
