// The stages of a decoder: what is computed of some rows, and of some outputs, without a team of threads around it.
#pragma once
#include <algorithm>
#include <cstdlib>
#include <memory>

#include "decoder.h"
#include "pages.h"

// Memory that grows with the largest step.
class Buffer {
  public:
    template <class X> X* reserve(long count) {
        const long bytes = (count * long(sizeof(X)) + 63) / 64 * 64;
        if (bytes > bytes_) {
            memory_.reset(static_cast<char*>(std::aligned_alloc(64, bytes)));
            bytes_ = bytes;
        }
        return reinterpret_cast<X*>(memory_.get());
    }

  private:
    struct Free {
        void operator()(char* memory) const { std::free(memory); }
    };
    std::unique_ptr<char, Free> memory_;
    long bytes_ = 0;
};

struct Buffers {
    Buffer residual, last_residual, change, raw, normed, parallel_normed, query, attended, inner, partials, sums, wanted;
};

// The rows that a chain of stages computes: all tokens, or only those whose logits are wanted.
struct Rows {
    float* residual;        // [count][hidden]
    const int64_t* tokens;  // of each row, or null: its own number
    int count;
};

template <class T> class Stages {
  public:
    // Goes by rows without chunks; else each chunk is some outputs of a linear layer.
    struct Stage {
        void (Stages::*run)(const Layer&, const Rows&, int from, int to, int chunk);
        const Layer* layer;
        int chunks;
    };

    Stages(const Decoder& decoder, const DecoderStep& step, Buffers& buffers);

    void run(const Stage& stage, const Rows& rows, int from, int to, int chunk) {
        (this->*stage.run)(*stage.layer, rows, from, to, chunk);
    }

    Rows all_rows() const { return {residual_, nullptr, step_.tokens}; }
    Rows wanted_rows() const { return {last_residual_, step_.wanted, step_.wanted_count}; }
    int logit_chunks() const { return (panels_of(decoder_.head) + LOGIT_PANELS - 1) / LOGIT_PANELS; }

    AttentionStep attention(const Layer& layer) const;
    // Whether a unit of attention's work belongs to a row whose logits are wanted.
    bool is_wanted(const AttentionStep& step, int work) const;

    void embed(const Layer&, const Rows&, int from, int to, int);
    void normalize_first(const Layer& layer, const Rows& rows, int from, int to, int);
    void compute_head(const Layer& layer, const Rows&, int from, int to, int head);
    void finish_heads(const Layer& layer, const Rows&, int from, int to, int);
    void merge(const Layer& layer, const Rows& rows, int from, int to, int);
    void project(const Layer& layer, const Rows& rows, int from, int to, int panel);
    void settle_attention(const Layer& layer, const Rows& rows, int from, int to, int);
    void normalize_second(const Layer& layer, const Rows& rows, int from, int to, int);
    void activate(const Layer& layer, const Rows& rows, int from, int to, int panel);
    void contract(const Layer& layer, const Rows& rows, int from, int to, int panel);
    void settle_feed_forward(const Layer& layer, const Rows& rows, int from, int to, int);
    void normalize_last(const Layer&, const Rows& rows, int from, int to, int);
    void compute_logits(const Layer&, const Rows&, int from, int to, int chunk);

  private:
    static constexpr int LOGIT_PANELS = 2;
    static constexpr int TILE = 96 * 2 * PANEL;  // floats of a linear layer that wait for what follows it
    static constexpr int TILE_ROWS = 12;         // a tile of the linear kernel
    static constexpr int MOST_SIZE = 256;        // of a head

    // Hands panels of a linear layer's outputs to then(row, outputs of the row), rows [from, to), some rows at a time.
    template <class Then>
    void multiply(const Linear& linear, const T* x, int from, int to, int first_panel, int panels, Then then) {
        alignas(64) float y[TILE];
        const int width = panels * PANEL, most = TILE / width / TILE_ROWS * TILE_ROWS;
        for (int start = from; start < to; start += most) {
            const int count = std::min(most, to - start);
            linear_block<T>(linear, x + long(start) * linear.inputs, linear.inputs, count, first_panel, panels, y, width);
            for (int m = 0; m < count; m++) then(start + m, y + m * width);
        }
    }

    void add_panel(const Linear& linear, const T* x, const Norm& after, float factor, const Rows& rows, int from, int to,
                   int panel);
    void settle(const Norm& norm, float factor, const Rows& rows, int from, int to);
    template <Activation KIND> void activate_as(const Layer& layer, const Rows& rows, int from, int to, int panel);
    void finish_head(const Layer& layer, float* y, int row, int head);
    const T* second_input(const Layer& layer, const Rows& rows) const {
        return layer.parallel && !rows.tokens ? parallel_normed_ : normed_;
    }

    const Decoder& decoder_;
    const DecoderStep& step_;
    const long hidden_;
    float *residual_, *last_residual_, *change_, *raw_, *partials_, *sums_;
    T *normed_, *parallel_normed_, *query_, *attended_, *inner_;
    char* is_wanted_;
};

extern template class Stages<bf16>;
extern template class Stages<float>;
