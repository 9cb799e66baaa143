# First step: the live-server ISO installs Ubuntu onto an empty disk and powers off. The second one,
# the first boot, is the same as Debian's, and so are its variables: the other files are links.
#
# The installer runs under UEFI: curtin installs the signed boot chain only then, and a late command
# adds GRUB for BIOS.
#
# Kernel and initial RAM disk come from the ISO and are started directly: nothing is typed, so
# nothing depends on how fast the machine is. What follows --- would stay in the installed system.

locals {
  answers = [
    for name in ["user-data", "meta-data"] : "${var.install_seed_dir}/${name}" if var.install_seed_dir != ""
  ]
}

source "qemu" "install" {
  iso_url          = var.iso
  iso_checksum     = "sha256:${var.iso_sha256}"
  disk_size        = var.disk_size
  format           = "raw"
  skip_compaction  = true
  disk_interface   = "virtio"
  disk_cache       = "unsafe"
  disk_discard     = "unmap"
  vm_name          = "disk.raw"
  output_directory = var.output_dir
  cd_files         = local.answers
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
    ["-kernel", var.kernel],
    ["-initrd", var.initrd],
    ["-append", "autoinstall noprompt console=tty0 console=ttyS0,115200 ---"],
    ["-netdev", "user,id=user.0"],
    ["-no-reboot", ""],
  ]

  # The installer ends by powering off. Packer calls any end a success: cube looks at the disk.
  communicator     = "none"
  shutdown_timeout = var.install_timeout
}

build {
  sources = ["source.qemu.install"]
}
