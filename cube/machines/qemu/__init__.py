"""Virtual machines under QEMU, through libvirt."""
