"""Clients of benchmarks: what they do when their engine is closed under them."""

from semlang.backend.engine import EngineError, Generation
from semlang.backend.reference import reference_engine
from semlang.backend.simulate.virtual_clock import VirtualClock
from semlang.backend.workloads.client_session import Server
from semlang.backend.workloads.workload import Request


def test_a_closed_engine_answers_nobody() -> None:
    engine = reference_engine()
    answers: list[Generation | EngineError] = []
    server = Server([engine], VirtualClock())
    engine.close()
    server.send([Request(("Say",), 4)], lambda _, result: answers.append(result))
    assert answers == []
