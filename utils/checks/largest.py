"""How much an answer makes on its way, which its result does not show."""

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Largest"]


class Largest(TorchDispatchMode):
    """Notes the largest tensor that is made meanwhile, and the largest eigenproblem.

    `numel` is how many numbers the tensor has, `eigen` how many rows the matrix has of
    which PyTorch computes eigenvalues.
    """

    def __init__(self):
        super().__init__()
        self.numel = self.eigen = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "linalg_eig" in str(func):
            self.eigen = max(self.eigen, args[0].shape[-1])
        result = func(*args, **(kwargs or {}))
        many = result if isinstance(result, tuple | list) else [result]
        sizes = [each.numel() for each in many if isinstance(each, Tensor)]
        self.numel = max([self.numel, *sizes])
        return result
