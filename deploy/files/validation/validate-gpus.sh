#!/bin/bash
# Judge the GPUs of the live box against /etc/cube/expectations.json.
#
# nvidia-smi refuses a whole query for one unknown field (exit code 2), and answers 0 for a GPU
# that is lost: optional fields are asked one by one, and every field is looked at.

# shellcheck source=health.sh
. "${CUBE_LIB:-/usr/local/lib/cube}/health.sh"

# A GPU that idles stays far below; NVIDIA's consumer cards slow themselves down at about 90.
TEMPERATURE_LIMIT_C=85
LANES=16 # every slot of a Cube has 16
# Source: README of NVIDIA's open-gpu-kernel-modules; device 0x2B85 appears in this release first.
RTX_5090=0x2B8510DE RTX_5090_DRIVER=570.86.16

FIELDS=index,name,pci.device_id,driver_version,memory.total,temperature.gpu
declare -A FIELD=() # "INDEX FIELD" -> value
INDEXES=()

expect() {
  local damaged="$EXPECTATIONS is missing or damaged: apply layer 5 again"
  EXPECTED_COUNT=$(read_json "$EXPECTATIONS" "int(d['gpu_count'])") || cannot_run "$damaged"
  EXPECTED_MEMORY_MIB=$(read_json "$EXPECTATIONS" "int(d['gpu_memory_mib'])") || cannot_run "$damaged"
}

# Source: the PCI ID registry, vendor 10de; PCI class 03 is a display controller.
count_on_bus() {
  local device vendor class count=0
  for device in "$ROOT"/sys/bus/pci/devices/*; do
    [[ -r $device/vendor && -r $device/class ]] || continue
    vendor=$(<"$device/vendor") class=$(<"$device/class")
    if [[ $vendor == 0x10de && $class == 0x03* ]]; then
      count=$((count + 1))
    fi
  done
  echo "$count"
}

check_count() {
  if (($2 == EXPECTED_COUNT)); then
    ok "$1" "$2"
  else
    fail "$1" "$2, expected $EXPECTED_COUNT"
  fi
}

# Source: nvidia-smi(1), "RETURN VALUE".
explain_smi() {
  case $CODE in
    9) echo "the NVIDIA driver is not loaded (exit code 9)" ;;
    12) echo "the library libnvidia-ml is missing (exit code 12)" ;;
    *) explain nvidia-smi ;;
  esac
}

# query FIELDS: one CSV line a GPU in OUTPUT; false when nvidia-smi refuses.
query() {
  run nvidia-smi --query-gpu="$1" --format=csv,noheader,nounits
  ((CODE == 0))
}

read_gpus() {
  if ! query "$FIELDS"; then
    fail "driver answers" "$(explain_smi)"
    return 1
  fi
  local index name device driver memory temperature
  while IFS=, read -r index name device driver memory temperature; do
    index=${index// /}
    if [[ ! $index =~ ^[0-9]+$ ]]; then
      fail "driver answers" "$index,$name"
      continue
    fi
    INDEXES+=("$index")
    FIELD["$index name"]=${name# } FIELD["$index device"]=${device// /}
    FIELD["$index driver"]=${driver// /} FIELD["$index memory"]=${memory# }
    FIELD["$index temperature"]=${temperature# }
  done <<<"$OUTPUT"
  ((${#INDEXES[@]} > 0))
}

# read_optional FIELD: keep a field of every GPU; a driver that does not know it leaves none.
read_optional() {
  local index value
  query "index,$1" || return 0
  while IFS=, read -r index value; do
    FIELD["${index// /} $1"]=${value# }
  done <<<"$OUTPUT"
}

is_number() { [[ $1 =~ ^[0-9]+$ ]]; }

check_gpu() {
  local index=$1
  if [[ "${FIELD["$index name"]}${FIELD["$index memory"]}${FIELD["$index temperature"]}" == *lost* ]]; then
    fail "GPU $index" "lost: restart the machine, then look for Xid lines in the kernel log"
    return
  fi
  ok "GPU $index" "${FIELD["$index name"]}, driver ${FIELD["$index driver"]}"
  check_driver "$index"
  check_memory "$index"
  check_temperature "$index"
  check_persistence "$index"
  check_link "$index"
  check_ecc "$index"
}

check_driver() {
  local driver=${FIELD["$1 driver"]} oldest
  [[ ${FIELD["$1 device"]^^} == "${RTX_5090^^}" ]] || return 0
  oldest=$(printf '%s\n' "$driver" "$RTX_5090_DRIVER" | sort --version-sort | head -n 1)
  if [[ $oldest == "$RTX_5090_DRIVER" ]]; then
    ok "GPU $1 driver" "$driver"
  else
    fail "GPU $1 driver" "$driver, this GPU needs $RTX_5090_DRIVER"
  fi
}

check_memory() {
  local memory=${FIELD["$1 memory"]}
  if is_number "$memory" && ((memory >= EXPECTED_MEMORY_MIB)); then
    ok "GPU $1 memory" "$memory MiB"
  else
    fail "GPU $1 memory" "$memory MiB, expected $EXPECTED_MEMORY_MIB"
  fi
}

check_temperature() {
  local temperature=${FIELD["$1 temperature"]}
  if ! is_number "$temperature"; then
    fail "GPU $1 temperature" "cannot be read: $temperature"
  elif ((temperature > TEMPERATURE_LIMIT_C)); then
    fail "GPU $1 temperature" "$temperature C, limit $TEMPERATURE_LIMIT_C C"
  else
    ok "GPU $1 temperature" "$temperature C"
  fi
}

check_persistence() {
  case ${FIELD["$1 persistence_mode"]:-unknown} in
    Enabled) ok "GPU $1 persistence" "enabled" ;;
    Disabled) fail "GPU $1 persistence" "disabled: systemctl enable --now nvidia-persistenced" ;;
    *) skip "GPU $1 persistence" "the driver does not say" ;;
  esac
}

# The link's generation drops while a GPU idles: what it can reach is judged here.
check_link() {
  local width=${FIELD["$1 pcie.link.width.max"]:-} generation=${FIELD["$1 pcie.link.gen.max"]:-}
  local able=${FIELD["$1 pcie.link.gen.gpumax"]:-}
  if ! is_number "$width" || ! is_number "$generation"; then
    skip "GPU $1 link" "the driver does not say"
  elif ((width < LANES)); then
    fail "GPU $1 link" "x$width, expected x$LANES: seat the card again, look at its slot"
  elif is_number "$able" && ((generation < able)); then
    fail "GPU $1 link" "generation $generation, the GPU is able of $able: look at the slot and the BIOS"
  else
    ok "GPU $1 link" "generation $generation x$width"
  fi
}

# GeForce cards say [N/A]: not applicable, which is not zero.
check_ecc() {
  local errors=${FIELD["$1 ecc.errors.uncorrected.volatile.total"]:-}
  if ! is_number "$errors"; then
    skip "GPU $1 memory errors" "this GPU does not count them"
  elif ((errors > 0)); then
    fail "GPU $1 memory errors" "$errors uncorrected since the driver was loaded"
  else
    ok "GPU $1 memory errors" "none"
  fi
}

# Xid is the driver's word for a GPU that failed. Source: NVIDIA, "XID Errors".
check_kernel_log() {
  run journalctl --dmesg --boot --output=cat --no-pager
  if ((CODE != 0)); then
    skip "kernel log" "cannot be read, root can"
    return
  fi
  local faults count
  faults=$(grep -E 'NVRM: Xid|fallen off the bus' <<<"$OUTPUT")
  if [[ -z $faults ]]; then
    ok "kernel log" "no GPU fault since the boot"
  else
    count=$(wc -l <<<"$faults")
    fail "kernel log" "$count GPU faults since the boot: $(remedy "$faults"): $(tail -n 1 <<<"$faults")"
  fi
}

# remedy LINES: what the worst Xid among them asks for.
remedy() {
  local xids
  xids=" $(sed -nE 's/.*NVRM: Xid \([^)]*\)[^0-9]*([0-9]+),.*/\1/p' <<<"$1" | paste -sd ' ') "
  if [[ $xids =~ \ 79\  || $1 == *"fallen off the bus"* ]]; then
    echo "restart the machine"
  elif [[ $xids =~ \ 54\  ]]; then
    echo "check the power cables"
  elif [[ $xids =~ \ (46|48|62|64|95|109|110|119|120|136|140|143|155|156|158)\  ]]; then
    echo "reset the GPU"
  else
    echo "look at the application"
  fi
}

begin gpus "Judge the GPUs: count, memory, driver, temperature, persistence, link, errors" "$@"
ON_BUS=$(count_on_bus)
((ON_BUS > 0)) || not_run "there is no NVIDIA GPU on the PCI bus"
[[ $EVIDENCE == simulated ]] || EVIDENCE=hardware
expect
check_count "GPUs on the PCI bus" "$ON_BUS"
if read_gpus; then
  check_count "GPUs that the driver sees" "${#INDEXES[@]}"
  for field in persistence_mode pcie.link.gen.max pcie.link.gen.gpumax pcie.link.width.max \
    ecc.errors.uncorrected.volatile.total; do
    read_optional "$field"
  done
  for index in "${INDEXES[@]}"; do check_gpu "$index"; done
fi
check_kernel_log
finish
