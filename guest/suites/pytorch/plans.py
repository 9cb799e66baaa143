"""Sizes of a training, by what it runs on."""

from dataclasses import dataclass

#: Source: He et al., "Deep Residual Learning", and torchvision's resnet50, which has as many.
PARAMETERS = 25_557_032
#: Channels of the first layer of the real ResNet-50.
WIDTH = 64


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes of a training; `seconds` is the least that is measured on GPUs."""

    batch: int
    image: int
    warmup: int
    steps: int
    seconds: float
    limit_s: float
    alone: int = 2
    width: int = WIDTH
    pretend_s: float = 0.0


#: On GPUs the efficiency depends on the batch: 63, 79, 86 and 94 % at 64, 128, 256 and 512 images
#: for fp16 on RTX 4090. Source: shared measurements of others, docs/validate.md.
PLANS = {
    ("gpu", False): Plan(
        batch=256, image=224, warmup=10, steps=50, seconds=30, limit_s=900, alone=20
    ),
    ("gpu", True): Plan(
        batch=256, image=224, warmup=5, steps=20, seconds=12, limit_s=600, alone=10
    ),
    ("cpu", False): Plan(batch=8, image=96, warmup=2, steps=16, seconds=0, limit_s=900),
    ("cpu", True): Plan(batch=4, image=64, warmup=1, steps=8, seconds=0, limit_s=300, alone=1),
    ("pretended", False): Plan(
        batch=4, image=32, warmup=1, steps=8, seconds=0, limit_s=300, width=4, pretend_s=1.0
    ),
    ("pretended", True): Plan(
        batch=4, image=32, warmup=1, steps=6, seconds=0, limit_s=300, width=4, pretend_s=0.8
    ),
}
