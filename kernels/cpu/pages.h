// The pages of the KV pools: 16 slots each. A page of keys is [D][16] for float and [D/2][16][2] for bf16, a page of
// values [16][V] and [8][V][2], so that both products of attention are vector loads times broadcast numbers.
#pragma once
#include <algorithm>

#include "vector.h"

constexpr int PAGE = 16;

static inline void write_key(float* page, int slot, const float* key, int size) {
    for (int d = 0; d < size; d++) page[d * PAGE + slot] = key[d];
}
static inline void write_key(bf16* page, int slot, const bf16* key, int size) {
    for (int d = 0; d < size / 2; d++) std::memcpy(page + (d * PAGE + slot) * 2, key + 2 * d, 4);
}

// A value as it is kept: finite. Rows that do not see it multiply it by 0, and would get NaN from what is none; those
// that see it get NaN from its key, where the hidden state was NaN.
static inline float bounded(float x) {
    constexpr float MOST = 3.4028235e38f;
    return std::max(-MOST, std::min(MOST, x));  // MOST in place of NaN
}
static inline bf16 bounded(bf16 x) { return (x & 0x7f80) == 0x7f80 ? bf16((x & 0x8000) | 0x7f7f) : x; }

static inline void write_value(float* page, int slot, const float* value, int size) {
    for (int d = 0; d < size; d++) page[long(slot) * size + d] = bounded(value[d]);
}
static inline void write_value(bf16* page, int slot, const bf16* value, int size) {
    bf16* pair = page + long(slot / 2) * size * 2 + slot % 2;
    for (int d = 0; d < size; d++) pair[2 * d] = bounded(value[d]);
}

// Copies the key or value in slot `from` of a page to slot `to` of another.
static inline void move_key(float* target, int to, const float* page, int from, int size) {
    for (int d = 0; d < size; d++) target[d * PAGE + to] = page[d * PAGE + from];
}
static inline void move_key(bf16* target, int to, const bf16* page, int from, int size) {
    for (int d = 0; d < size / 2; d++) std::memcpy(target + (d * PAGE + to) * 2, page + (d * PAGE + from) * 2, 4);
}
static inline void move_value(float* target, int to, const float* page, int from, int size) {
    std::memcpy(target + long(to) * size, page + long(from) * size, size * sizeof(float));
}
static inline void move_value(bf16* target, int to, const bf16* page, int from, int size) {
    bf16* pair = target + long(to / 2) * size * 2 + to % 2;
    const bf16* source = page + long(from / 2) * size * 2 + from % 2;
    for (int d = 0; d < size; d++) pair[2 * d] = source[2 * d];
}
