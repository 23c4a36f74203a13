// What a decoder is made of, and one step of it, as flat structures that Python fills in.
#pragma once
#include "attention.h"
#include "elementwise.h"
#include "linear.h"

struct Layer {
    Norm before_attention, after_attention, before_feed_forward, after_feed_forward;
    Norm query_norm, key_norm;  // of each head, or with `whole_norms` of all heads together
    Linear heads;               // query, key and value heads, each in panels of its own
    Linear output;
    Linear up;                  // with a gate: a panel of the gate, then the same of its partner, and so on
    Linear down;
    const float* turns;         // [positions][rotated]: cosines, then sines
    const float* sinks;         // [heads] or null
    void* key_pool;
    void* value_pool;
    float scale, soft_cap, attention_factor, feed_forward_factor;
    int32_t head_count, kv_heads, key_size, value_size, rotated, plan;
    Activation activation;
    int32_t gated, parallel, whole_norms;
};

struct Decoder {
    const Layer* layers;
    const void* embedding;   // [vocabulary][hidden], or panels with `embedding_packed`
    const float* positions;  // [positions][hidden] or null
    Norm before_head;
    Linear head;
    float embedding_factor, logit_factor, logit_cap;  // a cap of 0 is none
    int32_t layer_count, hidden, embedding_packed;
};

struct DecoderStep {
    const int64_t* token_ids;
    const int64_t* positions;
    const int64_t* slots;
    const int64_t* wanted;        // rows whose logits are wanted, ascending
    const AttentionStep* plans;   // their items, rows, spans, ranges and merges
    const int32_t* partials;      // of each plan
    float* logits;                // [wanted][head.outputs]
    int32_t tokens, wanted_count, plan_count;
};
