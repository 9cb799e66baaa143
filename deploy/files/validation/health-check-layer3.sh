#!/bin/bash
# Judge layer 3 of the live box: the CUDA toolkit and GPUs in containers.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

PATH=$PATH:/usr/local/cuda/bin

check_gpu_runtime() {
  run nvcc --version
  if ((CODE == 0)); then
    ok "CUDA compiler" "$(grep release <<<"$OUTPUT")"
  else
    fail "CUDA compiler" "$(explain nvcc)"
  fi
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

begin_layer 3 "Judge layer 3: the CUDA toolkit and GPUs in containers" "$@"
has_role gpu_runtime && check_gpu_runtime
finish
