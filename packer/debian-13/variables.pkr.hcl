# cube/baseimage/packer/inputs.py sets them in a build. The defaults make `packer validate` work by hand.

variable "disk" {
  type        = string
  description = "The bare raw disk image."
  default     = "disk.img"
}

variable "disk_size" {
  type        = string
  description = "Virtual size of the disk that Packer makes, like 16384M."
  default     = "16384M"
}

variable "output_dir" {
  type        = string
  description = "Folder that Packer makes, for that disk."
  default     = "packer-output"
}

variable "seed_dir" {
  type        = string
  description = "Folder with the NoCloud seed: user-data and meta-data; empty for none."
  default     = ""
}

variable "ssh_user" {
  type        = string
  description = "Account that the seed makes."
  default     = "cube-build"
}

variable "ssh_key_file" {
  type        = string
  description = "Private half of the build key."
  default     = ""
}

variable "ssh_timeout" {
  type        = string
  description = "How long the first boot may take until sshd lets the key in, like 300s."
  default     = "900s"
}

variable "console_log" {
  type        = string
  description = "File that gets everything the guest says on its serial line."
  default     = "console.log"
}

variable "qemu_accel" {
  type        = string
  description = "Value of QEMU's -accel."
  default     = "tcg"
}

variable "qemu_cpu" {
  type        = string
  description = "Value of QEMU's -cpu."
  default     = "max"
}

variable "cpus" {
  type        = number
  description = "Virtual processors."
  default     = 1
}

variable "memory_mib" {
  type        = number
  description = "Memory in MiB."
  default     = 2048
}

variable "nonce" {
  type        = string
  description = "What the guest writes to its disk once it has proven itself."
  default     = ""
}
