// What the memory and the cores of a machine give at most; `machine_limits.py` compiles and calls it.
#include <cstdint>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

using Lanes = int64_t __attribute__((vector_size(64)));

// Reads `bytes` bytes once, each of `threads` threads a part of its own; `sink` takes the sum.
extern "C" void read_memory(const char* data, long bytes, int threads, int64_t* sink) {
    int64_t total = 0;
#pragma omp parallel for schedule(static) num_threads(threads) reduction(+ : total)
    for (int part = 0; part < threads; part++) {
        const long count = bytes / threads / 64;
        const Lanes* from = reinterpret_cast<const Lanes*>(data) + count * part;
        Lanes sums[4] = {};
        for (long i = 0; i + 4 <= count; i += 4)
            for (int j = 0; j < 4; j++) {
                __builtin_prefetch(from + i + j + 48);
                sums[j] += from[i + j];
            }
        for (int i = 0; i < 8; i++) total += sums[0][i] + sums[1][i] + sums[2][i] + sums[3][i];
    }
    *sink = total;
}

// Multiplies pairs of bf16 in registers, `steps` times; how many operations a step has, 0 where the machine cannot.
extern "C" int multiply_pairs(long steps) {
#if defined(__AVX512BF16__)
    __m512 sums[12] = {};
    const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
    for (long i = 0; i < steps; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < 12; j++) {
            sums[j] = _mm512_dpbf16_ps(sums[j], ones, ones);
            asm volatile("" : "+v"(sums[j]));
        }
    }
    return 12 * 64;
#else
    return 0;
#endif
}
