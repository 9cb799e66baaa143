# Set by cube/packer/inputs.py. Both sources are always looked at, so all have a value in each run.

variable "disk" {
  type        = string
  description = "The raw disk that the installer has filled."
}

variable "disk_size" {
  type        = string
  description = "Virtual size of the disk, like 16384M."
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

variable "iso" {
  type        = string
  description = "The live-server ISO, a local file."
}

variable "iso_sha256" {
  type        = string
  description = "Its checksum."
}

variable "kernel" {
  type        = string
  description = "/casper/vmlinuz of the ISO."
}

variable "initrd" {
  type        = string
  description = "/casper/initrd of the ISO."
}

variable "install_seed_dir" {
  type        = string
  description = "Folder with the installer's NoCloud seed: user-data (the answers) and meta-data."
}

variable "install_timeout" {
  type        = string
  description = "How long the installer may take until it powers off, like 3600s."
}

variable "firmware_code" {
  type        = string
  description = "UEFI firmware."
}

variable "firmware_vars" {
  type        = string
  description = "The machine's UEFI variables; written to."
}
