# First boot of a bare disk, whatever its operating system: cloud-init lets the build key in, the root
# grows, the image proves itself and shuts down. The disk comes from cube/baseimage/debian/bootstrap.py or from the
# installer of the folder ubuntu-24.04, and every variable from cube/baseimage/packer/inputs.py.
#
# The disk boots by BIOS here; that it boots by UEFI too is shown by the clones of stage 5.

packer {
  required_version = ">= 1.6.6"
}

locals {
  # Packer looks for the files when it validates; by hand there is no seed.
  seed = [for name in ["user-data", "meta-data"] : "${var.seed_dir}/${name}" if var.seed_dir != ""]
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
  cd_files         = local.seed
  cd_label         = "cidata"

  headless    = true
  disable_vnc = true # nothing is typed, and nobody looks
  boot_wait   = "-1s"
  cpus        = var.cpus
  memory      = var.memory_mib
  accelerator = "none" # -accel below says it, with its options
  qemuargs = [
    ["-display", "none"],
    # As in the machines of the other stages: no driver starts for a screen, and the firmware
    # speaks on the serial line too.
    ["-vga", "none"],
    ["-machine", "q35,graphics=off"],
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
