#!/bin/bash
# Judge layer 2 of the live box: the NVIDIA driver.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

check_nvidia_driver() {
  check_nouveau
  check "driver module for this kernel" modinfo --field version nvidia
  if gpu_present; then
    check "driver answers" nvidia-smi --query-gpu=driver_version --format=csv,noheader
    check_unit "persistence daemon" nvidia-persistenced.service
  else
    skip "driver answers" "no NVIDIA GPU on the PCI bus"
    skip "persistence daemon" "no NVIDIA GPU on the PCI bus"
  fi
}

check_nouveau() {
  if grep -q '^nouveau ' "$ROOT/proc/modules"; then
    fail "nouveau absent" "the module is loaded: it keeps the NVIDIA driver out"
  else
    ok "nouveau absent" "not loaded"
  fi
}

gpu_present() {
  # Source: the PCI ID registry, vendor 10de; PCI class 03 is a display controller.
  local device vendor class
  for device in "$ROOT"/sys/bus/pci/devices/*; do
    [[ -r $device/vendor && -r $device/class ]] || continue
    vendor=$(<"$device/vendor") class=$(<"$device/class")
    if [[ $vendor == 0x10de && $class == 0x03* ]]; then
      return 0
    fi
  done
  return 1
}

begin_layer 2 "Judge layer 2: the NVIDIA driver" "$@"
has_role nvidia_driver && check_nvidia_driver
finish
