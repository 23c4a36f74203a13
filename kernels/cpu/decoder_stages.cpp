// The stages of a decoder between its attentions.
#include "decoder_stages.h"

namespace {

// Turns pairs of a head by their angles: numbers d and d + rotated / 2 are a pair.
void rotate(float* head, const float* turns, int rotated) {
    const int half = rotated / 2;
    const float *cosines = turns, *sines = turns + half;
    int d = 0;
    for (; d + LANES <= half; d += LANES) {
        const Floats low = load(head + d), high = load(head + half + d), c = load(cosines + d), s = load(sines + d);
        store(head + d, low * c - high * s);
        store(head + half + d, high * c + low * s);
    }
    for (; d < half; d++) {
        const float low = head[d], high = head[half + d];
        head[d] = low * cosines[d] - high * sines[d];
        head[half + d] = high * cosines[d] + low * sines[d];
    }
}

// Root-mean-square norm of `count` heads together, each in whole panels padded with zeros.
void normalize_together(const Norm& norm, float* x, int width, int size) {
    Floats squares = {};
    for (int i = 0; i < width; i += LANES) squares += load(x + i) * load(x + i);
    const float factor = 1.0f / std::sqrt(sum(squares) / size + norm.epsilon);
    for (int i = 0; i < width; i += LANES) store(x + i, load(x + i) * factor * load(norm.weight + i));
}

int panels_of_size(int size) { return (size + PANEL - 1) / PANEL; }

// Number k of an embedding that stands in panels, as a linear layer's outputs do.
inline float packed_number(const float* packed, long inputs, int64_t id, int k) {
    return packed[(id / PANEL * inputs + k) * PANEL + id % PANEL];
}
inline float packed_number(const bf16* packed, long inputs, int64_t id, int k) {
    return widen(packed[(id / PANEL * inputs + k / 2 * 2) * PANEL + id % PANEL * 2 + k % 2]);
}

}  // namespace

template <class T>
Stages<T>::Stages(const Decoder& decoder, const DecoderStep& step, Buffers& buffers)
    : decoder_(decoder), step_(step), hidden_(decoder.hidden) {
    long heads = 0, inner = 0, attended = 0, partials = 0, sums = 0, raw = 0, change = 0, parallel = 0;
    for (int l = 0; l < decoder.layer_count; l++) {
        const Layer& layer = decoder.layers[l];
        const long rows = long(step.partials[layer.plan]) * layer.head_count;
        heads = std::max(heads, long(layer.head_count) * layer.key_size);
        attended = std::max(attended, long(layer.head_count) * layer.value_size);
        inner = std::max(inner, long(layer.down.inputs));
        sums = std::max(sums, rows);
        partials = std::max(partials, rows * layer.value_size);
        if (layer.whole_norms) raw = std::max(raw, long(panels_of(layer.heads)) * PANEL);
        if (layer.after_attention.kind != NormKind::none || layer.after_feed_forward.kind != NormKind::none)
            change = hidden_;
        if (layer.parallel) parallel = hidden_;
    }
    const long tokens = step.tokens;
    residual_ = buffers.residual.reserve<float>(tokens * hidden_);
    last_residual_ = buffers.last_residual.reserve<float>(step.wanted_count * hidden_);
    change_ = buffers.change.reserve<float>(tokens * change);
    raw_ = buffers.raw.reserve<float>(tokens * raw);
    partials_ = buffers.partials.reserve<float>(partials);
    sums_ = buffers.sums.reserve<float>(sums);
    normed_ = buffers.normed.reserve<T>(tokens * hidden_);
    parallel_normed_ = buffers.parallel_normed.reserve<T>(tokens * parallel);
    query_ = buffers.query.reserve<T>(tokens * heads);
    attended_ = buffers.attended.reserve<T>(tokens * attended);
    inner_ = buffers.inner.reserve<T>(tokens * inner);
    is_wanted_ = buffers.wanted.reserve<char>(tokens);
    std::fill_n(is_wanted_, tokens, char(0));
    for (int w = 0; w < step.wanted_count; w++) is_wanted_[step.wanted[w]] = 1;
}

template <class T> AttentionStep Stages<T>::attention(const Layer& layer) const {
    AttentionStep step = step_.plans[layer.plan];
    step.query = query_;
    step.key_pool = layer.key_pool;
    step.value_pool = layer.value_pool;
    step.output = attended_;
    step.partial_outputs = partials_;
    step.partial_sums = sums_;
    step.sinks = layer.sinks;
    step.query_stride = long(layer.head_count) * layer.key_size;
    step.tokens = step_.tokens;
    step.heads = layer.head_count;
    step.kv_heads = layer.kv_heads;
    step.key_size = layer.key_size;
    step.value_size = layer.value_size;
    step.scale = layer.scale;
    step.soft_cap = layer.soft_cap;
    return step;
}

template <class T> bool Stages<T>::is_wanted(const AttentionStep& step, int work) const {
    const AttentionItem& item = reinterpret_cast<const AttentionItem*>(step.items)[work / step.kv_heads];
    const int32_t* rows = step.rows + item.first_row;
    return std::any_of(rows, rows + item.row_count, [&](int32_t row) { return is_wanted_[row] != 0; });
}

template <class T> void Stages<T>::embed(const Layer&, const Rows& rows, int from, int to, int) {
    const T* table = static_cast<const T*>(decoder_.embedding);
    for (int m = from; m < to; m++) {
        const int64_t id = step_.token_ids[m];
        float* x = rows.residual + m * hidden_;
        if (decoder_.embedding_packed)
            for (int k = 0; k < hidden_; k++) x[k] = packed_number(table, hidden_, id, k) * decoder_.embedding_factor;
        else
            for (int k = 0; k < hidden_; k += LANES)
                store(x + k, widen_all(table + id * hidden_ + k) * decoder_.embedding_factor);
        if (!decoder_.positions) continue;
        const float* position = decoder_.positions + step_.positions[m] * hidden_;
        for (int k = 0; k < hidden_; k += LANES) store(x + k, load(x + k) + load(position + k));
    }
}

template <class T> void Stages<T>::normalize_first(const Layer& layer, const Rows& rows, int from, int to, int) {
    for (int m = from; m < to; m++) {
        normalize(layer.before_attention, rows.residual + m * hidden_, normed_ + m * hidden_, hidden_);
        if (layer.parallel)
            normalize(layer.before_feed_forward, rows.residual + m * hidden_, parallel_normed_ + m * hidden_, hidden_);
    }
}

template <class T> void Stages<T>::compute_head(const Layer& layer, const Rows&, int from, int to, int head) {
    const int kv = head - layer.head_count, size = kv < layer.kv_heads ? layer.key_size : layer.value_size;
    const int keys = panels_of_size(layer.key_size), values = panels_of_size(layer.value_size);
    const int before = kv <= layer.kv_heads ? head * keys
                                            : (layer.head_count + layer.kv_heads) * keys + (kv - layer.kv_heads) * values;
    multiply(layer.heads, normed_, from, to, before, panels_of_size(size), [&](int row, float* y) {
        if (layer.whole_norms)
            std::copy_n(y, panels_of_size(size) * PANEL, raw_ + (long(row) * panels_of(layer.heads) + before) * PANEL);
        else
            finish_head(layer, y, row, head);
    });
}

template <class T> void Stages<T>::finish_heads(const Layer& layer, const Rows&, int from, int to, int) {
    const int keys = panels_of_size(layer.key_size) * PANEL, values = panels_of_size(layer.value_size) * PANEL;
    for (int row = from; row < to; row++) {
        float* y = raw_ + long(row) * panels_of(layer.heads) * PANEL;
        const int queries = layer.head_count * keys;
        if (layer.query_norm.kind != NormKind::none)
            normalize_together(layer.query_norm, y, queries, layer.head_count * layer.key_size);
        if (layer.key_norm.kind != NormKind::none)
            normalize_together(layer.key_norm, y + queries, layer.kv_heads * keys, layer.kv_heads * layer.key_size);
        for (int head = 0; head < layer.head_count + 2 * layer.kv_heads; head++) {
            finish_head(layer, y, row, head);
            y += head < layer.head_count + layer.kv_heads ? keys : values;
        }
    }
}

// A head of one row, as the linear layer gave it: norm and angles, then to where attention reads it.
template <class T> void Stages<T>::finish_head(const Layer& layer, float* y, int row, int head) {
    const int kv = head - layer.head_count;
    const int64_t slot = step_.slots[row];
    T narrowed[MOST_SIZE];
    if (kv >= layer.kv_heads) {
        const long at = slot / PAGE * layer.kv_heads + kv - layer.kv_heads;
        for (int d = 0; d < layer.value_size; d += LANES) store_narrow(narrowed + d, load(y + d));
        write_value(static_cast<T*>(layer.value_pool) + at * PAGE * layer.value_size, int(slot % PAGE), narrowed,
                    layer.value_size);
        return;
    }
    const Norm& norm = kv < 0 ? layer.query_norm : layer.key_norm;
    if (norm.kind != NormKind::none && !layer.whole_norms) normalize(norm, y, y, layer.key_size);
    if (layer.rotated) rotate(y, layer.turns + step_.positions[row] * layer.rotated, layer.rotated);
    T* place = kv < 0 ? query_ + (long(row) * layer.head_count + head) * layer.key_size : narrowed;
    for (int d = 0; d < layer.key_size; d += LANES) store_narrow(place + d, load(y + d));
    if (kv < 0) return;
    const long at = slot / PAGE * layer.kv_heads + kv;
    write_key(static_cast<T*>(layer.key_pool) + at * PAGE * layer.key_size, int(slot % PAGE), narrowed, layer.key_size);
}

template <class T> void Stages<T>::merge(const Layer& layer, const Rows& rows, int from, int to, int) {
    AttentionStep step = attention(layer);
    if (!rows.tokens) return merge_tokens<T>(step, from, to);
    const int32_t* starts = step.merge_starts;
    for (int m = from; m < to; m++) {
        const int64_t token = rows.tokens[m];
        step.merge_starts = starts + token - m;  // the token's results go to row m
        merge_tokens<T>(step, m, m + 1);
        std::copy_n(residual_ + token * hidden_, hidden_, rows.residual + m * hidden_);
        if (layer.parallel) std::copy_n(parallel_normed_ + token * hidden_, hidden_, normed_ + m * hidden_);
    }
}

// A panel of what a linear layer adds to the residual stream; it waits where a norm comes first.
template <class T>
void Stages<T>::add_panel(const Linear& linear, const T* x, const Norm& after, float factor, const Rows& rows, int from,
                          int to, int panel) {
    const int column = panel * PANEL, width = std::min<int>(PANEL, int(hidden_) - column);
    multiply(linear, x, from, to, panel, 1, [&](int row, const float* y) {
        if (after.kind != NormKind::none) {
            std::copy_n(y, width, change_ + row * hidden_ + column);
            return;
        }
        float* sums = rows.residual + row * hidden_ + column;
        for (int i = 0; i < width; i += LANES) store(sums + i, load(sums + i) + load(y + i) * factor);
    });
}

template <class T> void Stages<T>::settle(const Norm& norm, float factor, const Rows& rows, int from, int to) {
    for (int m = from; m < to; m++) {
        float *change = change_ + m * hidden_, *sums = rows.residual + m * hidden_;
        normalize(norm, change, change, hidden_);
        for (int i = 0; i < hidden_; i += LANES) store(sums + i, load(sums + i) + load(change + i) * factor);
    }
}

template <class T> void Stages<T>::project(const Layer& layer, const Rows& rows, int from, int to, int panel) {
    add_panel(layer.output, attended_, layer.after_attention, layer.attention_factor, rows, from, to, panel);
}

template <class T> void Stages<T>::settle_attention(const Layer& layer, const Rows& rows, int from, int to, int) {
    settle(layer.after_attention, layer.attention_factor, rows, from, to);
}

template <class T> void Stages<T>::normalize_second(const Layer& layer, const Rows& rows, int from, int to, int) {
    for (int m = from; m < to; m++)
        normalize(layer.before_feed_forward, rows.residual + m * hidden_, normed_ + m * hidden_, hidden_);
}

template <class T>
template <Activation KIND>
void Stages<T>::activate_as(const Layer& layer, const Rows& rows, int from, int to, int panel) {
    const int panels = layer.gated ? 2 : 1;
    multiply(layer.up, second_input(layer, rows), from, to, panel * panels, panels, [&](int row, const float* y) {
        T* inner = inner_ + long(row) * layer.down.inputs + panel * PANEL;
        for (int i = 0; i < PANEL; i += LANES) {
            const Floats x = activated<KIND>(load(y + i));
            store_narrow(inner + i, layer.gated ? x * load(y + PANEL + i) : x);
        }
    });
}

template <class T> void Stages<T>::activate(const Layer& layer, const Rows& rows, int from, int to, int panel) {
    switch (layer.activation) {
        case Activation::silu: return activate_as<Activation::silu>(layer, rows, from, to, panel);
        case Activation::gelu: return activate_as<Activation::gelu>(layer, rows, from, to, panel);
        case Activation::gelu_tanh: return activate_as<Activation::gelu_tanh>(layer, rows, from, to, panel);
        case Activation::relu: return activate_as<Activation::relu>(layer, rows, from, to, panel);
        case Activation::relu_squared: return activate_as<Activation::relu_squared>(layer, rows, from, to, panel);
        case Activation::quick_gelu: return activate_as<Activation::quick_gelu>(layer, rows, from, to, panel);
    }
}

template <class T> void Stages<T>::contract(const Layer& layer, const Rows& rows, int from, int to, int panel) {
    add_panel(layer.down, inner_, layer.after_feed_forward, layer.feed_forward_factor, rows, from, to, panel);
}

template <class T> void Stages<T>::settle_feed_forward(const Layer& layer, const Rows& rows, int from, int to, int) {
    settle(layer.after_feed_forward, layer.feed_forward_factor, rows, from, to);
}

template <class T> void Stages<T>::normalize_last(const Layer&, const Rows& rows, int from, int to, int) {
    for (int m = from; m < to; m++)
        normalize(decoder_.before_head, rows.residual + m * hidden_, normed_ + m * hidden_, hidden_);
}

template <class T> void Stages<T>::compute_logits(const Layer&, const Rows&, int from, int to, int chunk) {
    const Linear& head = decoder_.head;
    const int first = chunk * LOGIT_PANELS, panels = std::min(LOGIT_PANELS, panels_of(head) - first);
    const int width = std::min(panels * PANEL, head.outputs - first * PANEL);
    multiply(head, normed_, from, to, first, panels, [&](int row, float* y) {
        for (int i = 0; i < panels * PANEL; i += LANES) {
            Floats x = load(y + i) * decoder_.logit_factor;
            if (decoder_.logit_cap != 0) x = decoder_.logit_cap * tanh_of(x / decoder_.logit_cap);
            store(y + i, x);
        }
        std::copy_n(y, width, step_.logits + long(row) * head.outputs + first * PANEL);
    });
}

template class Stages<bf16>;
template class Stages<float>;
