"""What the authors of Parrot measured with the same kinds of workload, for context; none of it is measured here.

Sources: the figures of the paper (OSDI'24) and, where they differ, the results in its public artifact. Their clients
had a network round trip of 244 ms on average.
"""

PUBLISHED: dict[str, tuple[str, ...]] = {
    "chain": (
        "figure 11a, Llama-13B, A100, outputs of 25/50/75/100 tokens: 40.9/75.5/110.3/145.2 s, "
        "vLLM 56.5/91.0/125.8/160.9 s: 1.38/1.21/1.14/1.11x",
        "their gain is the round trip of each step: vLLM lost 15.5 to 15.7 s at every length",
    ),
    "chain-background": (
        "figure 12a, 0/1/2/3/3.5 other requests each second: 1.21/1.19/1.31/1.79/2.38x over vLLM",
    ),
    "chains": (
        "figure 12b, 10/15/20/25 documents at once, mean time: 81.7/113.3/143.7/174.6 s, "
        "vLLM 112.8/171.9/234.7/292.9 s: 1.38/1.52/1.63/1.68x",
    ),
    "map-reduce": (
        "figure 13, outputs of 25/50/75/100 tokens: 1.70/2.04/2.22/2.37x over vLLM, "
        "which was held to 4,096 KV tokens",
    ),
    "copilot": (
        "figure 14, Llama-7B, A100, batches of 8/16: 1.76/2.37x over no sharing; "
        "batches of 8/16/32/64: 1.02/1.23/1.38/1.63x over paged attention with a shared prompt",
    ),
    "gpts": (
        "figure 16, Llama-7B on 4 A6000, milliseconds for each token at 1/2/4/6/8/16 requests each second: "
        "32.0/34.7/42.9/67.9/109.5/329",
        "with paged attention at 1/2/4/6: 59/78.6/146/305; vLLM without sharing at 0.25/0.5/1: 47/55.9/207",
    ),
    "multi-agent": (
        "figure 17a, Llama-13B, A100, 4/8/12/16 calls in a round: 187/196/207/216 s; vLLM for throughput "
        "237/311/422/529 s: 1.27/1.58/2.03/2.45x; vLLM for latency (7,096 KV tokens) 554/963/1492/2533 s: "
        "2.96/4.90/7.19/11.7x",
        "with paged attention 1.00/1.04/1.14/1.16x",
    ),
    "mixed": (
        "figure 18, Llama-7B on 4 A6000, chat: 149.1 ms for each token, vLLM for latency 827.6, for throughput 184.6",
        "map-reduce: 23.2 s, vLLM for latency 86.4 s, for throughput 24.5 s",
    ),
}
"""By the names of the catalogue."""
