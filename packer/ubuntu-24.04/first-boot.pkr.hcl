# Second step: the installed disk boots by itself for the first time, lets the build key in, proves
# itself and shuts down.

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
    ["-machine", "q35,pflash0=code,pflash1=vars"],
    # By node name: a -drive of ours would take the place of Packer's own disks.
    ["-blockdev", "driver=file,node-name=code,read-only=on,filename=${var.firmware_code}"],
    ["-blockdev", "driver=file,node-name=vars,filename=${var.firmware_vars}"],
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
