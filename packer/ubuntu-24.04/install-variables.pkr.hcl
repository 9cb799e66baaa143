# Set and used as those of variables.pkr.hcl.

variable "iso" {
  type        = string
  description = "The live-server ISO, a local file."
  default     = "ubuntu-24.04-live-server-amd64.iso"
}

variable "iso_sha256" {
  type        = string
  description = "Its checksum."
  default     = "0000000000000000000000000000000000000000000000000000000000000000"
}

variable "kernel" {
  type        = string
  description = "/casper/vmlinuz of the ISO."
  default     = "vmlinuz"
}

variable "initrd" {
  type        = string
  description = "/casper/initrd of the ISO."
  default     = "initrd"
}

variable "install_seed_dir" {
  type        = string
  description = "Folder with the answers: user-data and meta-data; empty for none."
  default     = ""
}

variable "install_timeout" {
  type        = string
  description = "How long the installer may take until it powers off, like 3600s."
  default     = "3600s"
}

variable "firmware_code" {
  type        = string
  description = "UEFI firmware."
  default     = "/usr/share/OVMF/OVMF_CODE_4M.fd"
}

variable "firmware_vars" {
  type        = string
  description = "The machine's UEFI variables, a copy: they are written to."
  default     = "uefi-variables.fd"
}
