#!/bin/bash
# Judge layer 2 of the live box: the NVIDIA driver and the CUDA toolkit.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

PATH=$PATH:/usr/local/cuda/bin
HELP=/etc/cube/secure-boot.txt

check_nvidia_driver() {
  check_nouveau
  check_module
  check_running
  check_secure_boot
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

# Debian names the module after its flavour; VERSION is what modinfo says of the disk's module.
check_module() {
  local name="driver module for this kernel" module
  VERSION=""
  if in_container; then
    skip "$name" "a container has its host's kernel"
    return
  fi
  for module in nvidia nvidia-current nvidia-current-open; do
    run modinfo --field version "$module"
    if ((CODE == 0)); then
      VERSION=$OUTPUT
      ok "$name" "$module $VERSION for $(uname -r)"
      return
    fi
  done
  fail "$name" "none for $(uname -r): see dkms status, and make.log in /var/lib/dkms"
}

# A driver that was replaced under a running system ends in "Driver/library version mismatch".
check_running() {
  local file=$ROOT/sys/module/nvidia/version running
  if [[ -z $VERSION || ! -r $file ]]; then
    skip "running driver is the installed one" "no driver is loaded"
    return
  fi
  running=$(<"$file")
  if [[ $running == "$VERSION" ]]; then
    ok "running driver is the installed one" "$running"
  else
    fail "running driver is the installed one" "$running runs, $VERSION is installed: restart"
  fi
}

# Source: mokutil(1), --sb-state; it fails where there are no EFI variables. Its second line says
# that shim was told not to validate.
check_secure_boot() {
  local name="Secure Boot lets the driver in"
  run mokutil --sb-state
  if [[ $OUTPUT != "SecureBoot enabled" ]]; then
    ok "$name" "Secure Boot is off"
  elif [[ -d $ROOT/sys/module/nvidia ]]; then
    ok "$name" "Secure Boot is on, the driver is loaded"
  elif gpu_present; then
    fail "$name" "the driver is not loaded: $(key_state)"
  else
    skip "$name" "Secure Boot is on, and no GPU asks for the driver: $(key_state)"
  fi
}

# key_state: how things stand with the key that signs the modules; Canonical's need none of ours.
key_state() {
  run cube-secure-boot --status
  case $CODE in
    0 | 1) printf '%s' "$OUTPUT" ;;
    127) printf 'the modules are signed by the distribution: see %s' "$HELP" ;;
    *) printf '%s; see %s' "$(explain cube-secure-boot)" "$HELP" ;;
  esac
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

check_cuda() {
  run nvcc --version
  if ((CODE == 0)); then
    ok "CUDA compiler" "$(grep release <<<"$OUTPUT")"
  else
    fail "CUDA compiler" "$(explain nvcc)"
  fi
}

begin_layer 2 "Judge layer 2: the NVIDIA driver and the CUDA toolkit" "$@"
has_role nvidia_driver && check_nvidia_driver
has_role cuda && check_cuda
finish
