"""The extension: see the modules of the package for what the functions mean."""

import os
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import numpy as np

__version__: str

# An array (images, channels, height, width), contiguous, or a path.
Input = Union[np.ndarray, str, os.PathLike]
Labelled = Tuple[np.ndarray, np.ndarray, List[str]]

class Model:
    name: str
    sha256: str
    kind: str
    classes: List[str]
    shape: Tuple[int, int, int]
    noise_levels: Tuple[float, float]
    can_classify: bool
    can_denoise: bool
    info: Dict[str, Any]
    def __new__(
        cls,
        path: Union[None, str, os.PathLike],
        bundled: Optional[str],
        device: str,
        threads: Optional[int],
        bf16: bool,
        views: int,
    ) -> "Model": ...
    def class_index(self, which: str) -> int: ...
    def classify(
        self, inputs: List[Input], level: Optional[float], estimate: bool, top: Optional[int]
    ) -> List[Dict[str, Any]]: ...
    def probabilities(
        self, inputs: List[Input], level: Optional[float], estimate: bool
    ) -> np.ndarray: ...
    def denoise(
        self,
        inputs: List[Input],
        noise: Tuple[Optional[float], bool],
        label: Optional[int],
        strength: Optional[Tuple[float, float]],
    ) -> Tuple[List[np.ndarray], List[float]]: ...
    def score(self, inputs: List[Input], sigma: float) -> List[np.ndarray]: ...
    def log_prob(self, inputs: List[Input], sigma: float) -> np.ndarray: ...
    def explain(self, input: Input, classes: List[int], sigma: float) -> List[Dict[str, Any]]: ...
    def estimate_noise(self, inputs: List[Input]) -> List[float]: ...

def bundled() -> List[str]: ...
def read_checkpoint(
    path: Optional[str], bundled: Optional[str]
) -> Tuple[Dict[str, Any], Dict[str, np.ndarray]]: ...
def write_checkpoint(path: str, info: str, params: Dict[str, np.ndarray], bf16: bool) -> None: ...
def read_image(path: Union[str, os.PathLike]) -> np.ndarray: ...
def run(args: List[str]) -> int: ...
def document(
    args: List[str], watch: Optional[Callable[[str, float], Any]]
) -> Dict[str, Any]: ...
def train(
    config: Optional[str],
    settings: List[str],
    out: str,
    resume: bool,
    device: str,
    data: Optional[Labelled],
    test: Optional[Labelled],
    callback: Optional[Callable[[Dict[str, Any]], Any]],
) -> Dict[str, Any]: ...
