"""Cost models of devices that are not at hand, from their data sheets: a roofline, not a measurement.

A step reads the weights once and the KV that its rows attend to, at the memory's bandwidth; a prompt token costs its
multiplications, at the arithmetic peak. Both are reached in part only. Prompt and decode work of one step add up, as
kernels run one after another.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...passes.cost_model import CostModel

MEMORY_SHARE, ARITHMETIC_SHARE, ATTENTION_SHARE = 0.8, 0.55, 0.3
"""What well-made kernels reach of a data sheet's bandwidth and half-precision peak; the last is of attention."""
LAUNCH_SECONDS = 3e-3
"""A step's time beside its arithmetic: the launch of some hundred kernels, sampling, and the scheduler."""
ROW_SECONDS, CALL_SECONDS = 3e-5, 1e-3
USABLE_MEMORY = 0.9


@dataclass(frozen=True)
class Device:
    """A data sheet: bytes per second, half-precision operations per second, bytes of memory."""

    name: str
    bandwidth: float
    arithmetic: float
    memory: float


@dataclass(frozen=True)
class ModelShape:
    """A decoder in half precision. `width`: of queries, `kv_width`: of keys (and of values) in each layer."""

    name: str
    parameters: float
    layers: int
    width: int
    kv_width: int

    @property
    def kv_bytes(self) -> int:
        """Bytes of the keys and values of one token."""
        return 2 * self.layers * self.kv_width * 2


A100_80GB = Device("A100-80GB", 2.039e12, 312e12, 80e9)
H100_80GB = Device("H100-80GB", 3.35e12, 989e12, 80e9)
A6000_48GB = Device("A6000-48GB", 0.768e12, 155e12, 48e9)
LLAMA_7B = ModelShape("Llama-7B", 6.74e9, 32, 4096, 4096)
LLAMA_13B = ModelShape("Llama-13B", 13.0e9, 40, 5120, 5120)
LLAMA3_8B = ModelShape("Llama-3-8B", 8.03e9, 32, 4096, 1024)


@dataclass(frozen=True)
class SimulatedDevice:
    """A device with a model on it: what steps cost and how much KV it holds."""

    name: str
    costs: CostModel
    kv_slots: int


def roofline(device: Device, model: ModelShape, *, max_batch: int = 256,
             max_step_tokens: int = 2048) -> SimulatedDevice:
    """The cost model of `model` on `device`, seconds."""
    bandwidth, arithmetic = MEMORY_SHARE * device.bandwidth, ARITHMETIC_SHARE * device.arithmetic
    weights = 2 * model.parameters
    costs = CostModel(
        step=LAUNCH_SECONDS + weights / bandwidth, prefill_token=2 * model.parameters / arithmetic,
        batch=0.0, decode_row=ROW_SECONDS, kv_token=model.kv_bytes / bandwidth,
        attention=4 * model.layers * model.width / (ATTENTION_SHARE * device.arithmetic),
        call=CALL_SECONDS, max_batch=max_batch, max_step_tokens=max_step_tokens)
    slots = int((USABLE_MEMORY * device.memory - weights) / model.kv_bytes)
    return SimulatedDevice(f"{model.name} on {device.name}", costs, slots)


DEVICES = {
    "a100-13b": roofline(A100_80GB, LLAMA_13B),
    "a100-7b": roofline(A100_80GB, LLAMA_7B),
    "h100-8b": roofline(H100_80GB, LLAMA3_8B),
    "a6000-7b": roofline(A6000_48GB, LLAMA_7B),
    "embedded": SimulatedDevice("the embedded model on one CPU core", CostModel(), 1 << 17),
}
"""By the names of `--costs`."""
