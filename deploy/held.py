"""Packages that move together or not at all: layer 1 keeps updates away, layer 2 holds them."""

#: What layer 2 and 3 install, in the archives of Debian, Ubuntu and NVIDIA: names begin so.
#: Spelled out, because libcu and libnv alone would hold libcurl, libcups and libnvme as well.
HELD = (
    "nvidia-", "libnvidia-", "xserver-xorg-video-nvidia", "firmware-nvidia", "libxnvctrl",
    "linux-(modules|objects|signatures)-nvidia", "cuda", "libcuda", "cudnn", "libcudnn",
    "libcu(blas|dart|fft|file|inj|pti|rand|solver|sparse|tensor)",
    "libnv(blas|fatbin|infer|jitlink|jpeg|onnxparsers|ptxcompiler|rtc|toolsext|vm)",
    "libnpp", "libnccl", "tensorrt",
)  # fmt: skip
