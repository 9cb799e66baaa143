# First boot of a bootstrapped Debian disk: cloud-init lets the build key in, the root grows,
# the image proves itself and shuts down. The disk comes from cube/bootstrap.py, and every
# variable from cube/packer/inputs.py.

packer {
  required_version = ">= 1.6.6"
}

variable "disk" {
  type        = string
  description = "The bootstrapped raw disk image."
}

variable "disk_size" {
  type        = string
  description = "Virtual size to grow it to, like 16384M."
}

variable "output_dir" {
  type        = string
  description = "Folder that Packer makes, for the grown disk."
}

variable "seed_dir" {
  type        = string
  description = "Folder with the NoCloud seed: user-data and meta-data."
}

variable "ssh_user" {
  type        = string
  description = "Account that the seed makes."
}

variable "ssh_key_file" {
  type        = string
  description = "Private half of the build key."
}

variable "ssh_timeout" {
  type        = string
  description = "How long the first boot may take until sshd lets the key in, like 300s."
}

variable "console_log" {
  type        = string
  description = "File that gets everything the guest says on its serial line."
}

variable "qemu_accel" {
  type        = string
  description = "Value of QEMU's -accel."
}

variable "qemu_cpu" {
  type        = string
  description = "Value of QEMU's -cpu."
}

variable "cpus" {
  type        = number
  description = "Virtual processors."
}

variable "memory_mib" {
  type        = number
  description = "Memory in MiB."
}

variable "nonce" {
  type        = string
  description = "What the guest writes to its disk once it has proven itself."
}

source "qemu" "first-boot" {
  iso_url          = var.disk
  iso_checksum     = "none" # made on this machine a moment ago
  disk_image       = true
  disk_size        = var.disk_size
  format           = "raw" # cube reads the proof from it, then makes the qcow2
  skip_compaction  = true
  disk_interface   = "virtio"
  disk_cache       = "unsafe"
  disk_discard     = "unmap"
  vm_name          = "disk.raw"
  output_directory = var.output_dir
  cd_files         = ["${var.seed_dir}/user-data", "${var.seed_dir}/meta-data"]
  cd_label         = "cidata"

  headless    = true
  disable_vnc = true # nothing is typed, and nobody looks
  boot_wait   = "-1s"
  cpus        = var.cpus
  memory      = var.memory_mib
  accelerator = "none" # -accel below says it, with its options
  qemuargs = [
    ["-display", "none"],
    ["-vga", "none"], # as in the machines of the other stages: no driver starts for a screen
    ["-machine", "q35,graphics=off"], # the firmware speaks on the serial line too
    ["-accel", var.qemu_accel],
    ["-cpu", var.qemu_cpu],
    ["-serial", "file:${var.console_log}"],
    # Packer's own forward listens on every interface.
    ["-netdev", "user,id=user.0,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22"],
  ]

  communicator           = "ssh"
  ssh_username           = var.ssh_user
  ssh_private_key_file   = var.ssh_key_file
  ssh_timeout            = var.ssh_timeout
  ssh_handshake_attempts = 1000 # the time limit decides
  shutdown_command       = "sudo systemctl poweroff"
  shutdown_timeout       = "5m"
}

build {
  sources = ["source.qemu.first-boot"]

  provisioner "shell" {
    script           = "${path.root}/../prove.sh"
    environment_vars = ["CUBE_NONCE=${var.nonce}"]
    execute_command  = "sudo env {{ .Vars }} sh {{ .Path }}"
  }
}
