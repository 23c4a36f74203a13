"""Workloads after those of Parrot (OSDI 2024): programs, generated documents, request-by-request clients."""
