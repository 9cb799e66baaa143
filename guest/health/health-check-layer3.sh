#!/bin/bash
# Judge layer 3 of the live box: GPUs in containers.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

check_gpu_runtime() {
  check "container toolkit" nvidia-ctk --version
  check_held
  check "docker's settings" dockerd --validate --config-file "$ROOT/etc/docker/daemon.json"
  check_docker_runtime
  check_cdi
}

# An upgrade by itself would move the toolkit away from the version that was proven.
check_held() {
  run apt-mark showhold
  if [[ $OUTPUT == *nvidia-container-toolkit-base* ]]; then
    ok "toolkit is held" "no upgrade moves it"
  else
    fail "toolkit is held" "apt-mark hold nvidia-container-toolkit nvidia-container-toolkit-base"
  fi
}

# Without a GPU there is nothing to describe; that is passed over, and has not failed.
check_cdi() {
  local unit=nvidia-cdi-refresh.service
  run systemctl is-failed "$unit"
  if [[ $OUTPUT == failed ]]; then
    fail "GPUs are described to containers" "$unit failed: journalctl -u $unit"
  else
    ok "GPUs are described to containers" "$unit: ${OUTPUT:-unknown}"
  fi
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
