"""ResNet-50, without torchvision. It runs in PyTorch's environment."""

from typing import Any


def make_resnet50(width: int) -> Any:
    """Build ResNet-50; a width of 64 is the real one. Stride in the 3x3, as torchvision has it."""
    import torch
    from torch import nn

    class Bottleneck(nn.Module):  # type: ignore[misc, unused-ignore]
        def __init__(self, inside: int, middle: int, stride: int) -> None:
            super().__init__()
            out = 4 * middle
            self.main = nn.Sequential(
                nn.Conv2d(inside, middle, 1, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(),
                nn.Conv2d(middle, middle, 3, stride, 1, bias=False),
                nn.BatchNorm2d(middle),
                nn.ReLU(),
                nn.Conv2d(middle, out, 1, bias=False),
                nn.BatchNorm2d(out),
            )
            same = stride == 1 and inside == out
            self.side = (
                nn.Identity()
                if same
                else nn.Sequential(
                    nn.Conv2d(inside, out, 1, stride, bias=False), nn.BatchNorm2d(out)
                )
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.main(x) + self.side(x))

    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 7, 2, 3, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    inside = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        middle = width << stage
        for block in range(blocks):
            layers.append(Bottleneck(inside, middle, 2 if stage and not block else 1))
            inside = 4 * middle
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, 1000)]
    return nn.Sequential(*layers)
