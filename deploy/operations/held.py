"""Packages that move together or not at all: layer 1 keeps updates away, layer 2 holds them.

Expressions that match from a name's start, and that Python and apt.conf read alike.
"""

#: What layer 2 and 3 install, in the archives of Debian, Ubuntu and NVIDIA: names begin so.
#: Spelled out, because libcu and libnv alone would hold libcurl, libcups and libnvme as well.
HELD = (
    "nvidia-", "libnvidia-", "xserver-xorg-video-nvidia", "firmware-nvidia", "libxnvctrl",
    "linux-(modules|objects|signatures)-nvidia", "cuda", "libcuda", "cudnn", "libcudnn",
    "libcu(blas|dart|fft|file|inj|pti|rand|solver|sparse|tensor)",
    "libnv(blas|fatbin|infer|jitlink|jpeg|onnxparsers|ptxcompiler|rtc|toolsext|vm)",
    "libnpp", "libnccl", "tensorrt",
)  # fmt: skip

#: Metapackages of Ubuntu that bring each new kernel of a flavour, "-hwe-24.04" or not: where
#: the driver's modules are prebuilt and signed, a kernel without its modules boots without GPUs.
#: Kernels by their version, tools and firmware are not among them.
#: Source: packages.ubuntu.com (noble), "linux-generic" and "linux-meta-*".
KERNELS = (
    "linux-((image|headers|image-extra|modules-extra)-)?"
    "(generic|virtual|lowlatency|kvm|oem|aws|azure|gcp|gke|gkeop|ibm|intel|nvidia|oracle|realtime)"
    "(-|$)",
)
