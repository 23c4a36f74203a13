// Attention over a context tree in parts: what a thread does of a step, without a team of threads around it.
#pragma once
#include "vector.h"

// One item of work. Rows are tokens `rows[first_row ...]`; keys are those of `spans[first_span ...]`, each (page, from, to).
struct AttentionItem {
    int32_t first_row, row_count, first_span, span_count;
    int32_t first_partial, masked, key_count;
    int32_t aligned;  // its first key is at a multiple of all pages of a block, and no bit depends on where its slots are
};

struct AttentionStep {
    const void* query;        // [tokens][heads][D]
    const void* new_keys;     // [tokens][kv_heads][D]
    const void* new_values;   // [tokens][kv_heads][V]
    const int64_t* new_slots; // [tokens]
    void* key_pool;
    void* value_pool;
    void* output;             // [tokens][heads][V]
    float* partial_outputs;   // [partials][heads][V]
    float* partial_sums;      // [partials][heads], base 2
    const int32_t* items;     // AttentionItem each
    const int32_t* rows;
    const int32_t* spans;
    const int32_t* ranges;    // beside rows; read for masked items
    const int32_t* merge_starts;  // [tokens + 1]
    const int32_t* merge_partials;
    const float* sinks;       // [heads] or null
    int64_t query_stride, key_stride, value_stride;  // elements between tokens
    int32_t tokens, item_count, heads, kv_heads, key_size, value_size, threads;
    float scale, soft_cap;    // soft_cap 0 is none
};

// Writes the new keys and values of tokens [first, last) into the pools.
template <class T> void store_new_tokens(const AttentionStep& step, int first, int last);

// Units of work that threads may take in any order, once all new tokens are stored.
static inline int attention_works(const AttentionStep& step) { return step.item_count * step.kv_heads; }
template <class T> void attend_work(const AttentionStep& step, int work);

// The results of tokens [first, last) from their partial ones, once all work is done.
template <class T> void merge_tokens(const AttentionStep& step, int first, int last);

#define DECLARE_ATTENTION(T)                                               \
    extern template void store_new_tokens<T>(const AttentionStep&, int, int); \
    extern template void attend_work<T>(const AttentionStep&, int);           \
    extern template void merge_tokens<T>(const AttentionStep&, int, int);
DECLARE_ATTENTION(bf16)
DECLARE_ATTENTION(float)
#undef DECLARE_ATTENTION
