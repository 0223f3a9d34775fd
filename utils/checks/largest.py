"""How much an answer makes on its way, which its result does not show."""

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Largest"]


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that is made meanwhile."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        many = result if isinstance(result, tuple | list) else [result]
        sizes = [each.numel() for each in many if isinstance(each, Tensor)]
        self.numel = max([self.numel, *sizes])
        return result
