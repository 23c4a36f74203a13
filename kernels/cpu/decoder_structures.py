"""The structures of decoder.h for ctypes, field by field."""

from __future__ import annotations

import ctypes
from enum import IntEnum

_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int32, ctypes.c_float


class WeightKind(IntEnum):
    """Of linear.h."""

    float32 = 0
    bfloat16 = 1
    int8 = 2


class NormKind(IntEnum):
    """Of elementwise.h."""

    none = 0
    rms = 1
    layer = 2


class Activation(IntEnum):
    """Of elementwise.h."""

    silu = 0
    gelu = 1
    gelu_tanh = 2
    relu = 3
    relu_squared = 4
    quick_gelu = 5


class NormFields(ctypes.Structure):
    """`Norm` of elementwise.h."""

    _fields_ = [("weight", _POINTER), ("bias", _POINTER), ("epsilon", _FLOAT), ("kind", _INT)]


class LinearFields(ctypes.Structure):
    """`Linear` of linear.h."""

    _fields_ = [("packed", _POINTER), ("scale", _POINTER), ("bias", _POINTER), ("outputs", _INT), ("inputs", _INT),
                ("kind", _INT)]


NORMS = ("before_attention", "after_attention", "before_feed_forward", "after_feed_forward", "query_norm", "key_norm")
LINEARS = ("heads", "output", "up", "down")
FACTORS = ("scale", "soft_cap", "attention_factor", "feed_forward_factor")
SHAPE = ("head_count", "kv_heads", "key_size", "value_size")
FLAGS = ("activation", "gated", "parallel", "whole_norms")


class LayerFields(ctypes.Structure):
    """`Layer` of decoder.h."""

    _fields_ = (
        [(name, NormFields) for name in NORMS] + [(name, LinearFields) for name in LINEARS]
        + [(name, _POINTER) for name in ("turns", "sinks", "key_pool", "value_pool")]
        + [(name, _FLOAT) for name in FACTORS]
        + [(name, _INT) for name in (*SHAPE, "rotated", "plan", *FLAGS)]
    )


class DecoderFields(ctypes.Structure):
    """`Decoder` of decoder.h."""

    _fields_ = (
        [(name, _POINTER) for name in ("layers", "embedding", "positions")]
        + [("before_head", NormFields), ("head", LinearFields)]
        + [(name, _FLOAT) for name in ("embedding_factor", "logit_factor", "logit_cap")]
        + [(name, _INT) for name in ("layer_count", "hidden", "embedding_packed")]
    )


class StepFields(ctypes.Structure):
    """`DecoderStep` of decoder.h."""

    _fields_ = (
        [(name, _POINTER) for name in ("token_ids", "positions", "slots", "wanted", "plans", "partials", "logits")]
        + [(name, _INT) for name in ("tokens", "wanted_count", "plan_count")]
    )
