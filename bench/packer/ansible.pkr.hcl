# What a user of Packer and Ansible builds: the bare OS boots, the playbook is applied to it. The
# virtual machine is the one of our own first boot (packer/debian-13), put before this by
# bench/peers/packer.py.

variable "cache" {
  type        = string
  description = "URL of the cache of packages, as the guest reaches it."
}

variable "wheels" {
  type        = string
  description = "Folder of the wheels that the playbook installs."
}

variable "ansible" {
  type        = string
  description = "Path of ansible-playbook."
}

variable "ansible_variables" {
  type        = string
  description = "File of the playbook's variables."
}

variable "ansible_environment" {
  type        = list(string)
  description = "Ansible's settings, NAME=VALUE."
}

variable "playbook" {
  type        = string
  description = "The playbook."
}

build {
  sources = ["source.qemu.first-boot"]

  provisioner "shell" {
    inline = ["cloud-init status --wait >/dev/null", "mkdir -p /var/tmp/bench-wheels"]
  }

  provisioner "file" {
    source      = "${var.wheels}/"
    destination = "/var/tmp/bench-wheels"
  }

  provisioner "shell" {
    inline = [
      "echo 'Acquire::http::Proxy \"${var.cache}\";' | sudo tee /etc/apt/apt.conf.d/01bench-cache >/dev/null",
      "printf '[global]\\nno-index = true\\nfind-links = file:///var/tmp/bench-wheels\\n' | sudo tee /etc/pip.conf >/dev/null",
    ]
  }

  provisioner "ansible" {
    command          = var.ansible
    playbook_file    = var.playbook
    user             = var.ssh_user
    use_proxy        = false # Ansible connects by itself: the quicker way of the two
    ansible_env_vars = var.ansible_environment
    extra_arguments  = ["--extra-vars", "@${var.ansible_variables}"]
  }

  provisioner "shell" {
    inline = [
      "systemctl is-active docker",
      "systemctl is-active fail2ban",
      "sudo ufw status | grep -x 'Status: active'",
      "sudo rm -rf /etc/apt/apt.conf.d/01bench-cache /etc/pip.conf /var/tmp/bench-wheels",
    ]
  }
}
