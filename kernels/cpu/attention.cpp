// Attention over a context tree on a CPU. A work item is "these query rows x these runs of KV slots"; one loop over
// items and KV heads computes partial results, which a second loop merges by log-sum-exp in a fixed order.
//
// All heads of a KV head are rows of one tile, so each key is read once for all of them and for every sequence below it.
#include <algorithm>
#include <cmath>
#include <limits>

#include "attention.h"
#include "pages.h"

namespace {

constexpr int BLOCK = 16;          // pages whose scores are held at once; their K and V stay in the L2 cache
constexpr int KEYS = BLOCK * PAGE;
constexpr int TILE_ROWS = 8;       // rows of one register tile
constexpr int MOST_ROWS = 64;      // rows of one item (tokens x heads of a KV head)
constexpr int MOST_SIZE = 256;     // of a key or value
constexpr float LOG2E = 1.44269504f;
constexpr float NEVER = -std::numeric_limits<float>::infinity();

struct Span {
    int32_t page, from, to;
};

// The keys that a row of a masked item sees: numbers [from, to) among the item's keys.
struct Range {
    int32_t from, to;
};

template <class T> struct Layout;

template <> struct Layout<float> {
    template <int ROWS, int PAGES>
    static void scores(const float* const* query, const float* const* pages, int size, float (*out)[KEYS]) {
        Floats sums[ROWS][PAGES] = {};
        for (int d = 0; d < size; d++) {
            Floats key[PAGES];
            for (int g = 0; g < PAGES; g++) key[g] = load(pages[g] + d * PAGE);
            for (int m = 0; m < ROWS; m++)
                for (int g = 0; g < PAGES; g++) sums[m][g] += key[g] * query[m][d];
        }
        for (int m = 0; m < ROWS; m++)
            for (int g = 0; g < PAGES; g++) store(out[m] + g * PAGE, sums[m][g]);
    }
    template <int ROWS, int VECTORS>
    static void add_page(const float (*weights)[KEYS], int key, const float* page, int size, int from, int to,
                         Floats (*sums)[VECTORS]) {
        for (int k = from; k < to; k++) {
            Floats value[VECTORS];
            for (int v = 0; v < VECTORS; v++) value[v] = load(page + long(k) * size + v * LANES);
            for (int m = 0; m < ROWS; m++)
                for (int v = 0; v < VECTORS; v++) sums[m][v] += value[v] * weights[m][key + k];
        }
    }
};

template <> struct Layout<bf16> {
    template <int ROWS, int PAGES>
    static void scores(const bf16* const* query, const bf16* const* pages, int size, float (*out)[KEYS]) {
        Floats sums[ROWS][PAGES] = {};
        for (int d = 0; d < size / 2; d++) {
            Ints key[PAGES];
            for (int g = 0; g < PAGES; g++) key[g] = *reinterpret_cast<const Ints*>(pages[g] + d * PAGE * 2);
            for (int m = 0; m < ROWS; m++)
                for (int g = 0; g < PAGES; g++) sums[m][g] = dot_pairs(sums[m][g], key[g], query[m] + 2 * d);
        }
        for (int m = 0; m < ROWS; m++)
            for (int g = 0; g < PAGES; g++) store(out[m] + g * PAGE, sums[m][g]);
    }
    template <int ROWS, int VECTORS>
    static void add_page(const bf16 (*weights)[KEYS], int key, const bf16* page, int size, int from, int to,
                         Floats (*sums)[VECTORS]) {
        if (from % 2) add_pair<ROWS, VECTORS>(weights, key, page, size, from / 2, int32_t(0xffff0000), sums);
        for (int k = (from + 1) / 2; k < to / 2; k++) add_pair<ROWS, VECTORS>(weights, key, page, size, k, -1, sums);
        if (to % 2) add_pair<ROWS, VECTORS>(weights, key, page, size, to / 2, 0xffff, sums);
    }

  private:
    template <int ROWS, int VECTORS>
    static void add_pair(const bf16 (*weights)[KEYS], int key, const bf16* page, int size, int k, int32_t which,
                         Floats (*sums)[VECTORS]) {
        Ints value[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            value[v] = *reinterpret_cast<const Ints*>(page + (long(k) * size + v * LANES) * 2) & which;
        for (int m = 0; m < ROWS; m++)
            for (int v = 0; v < VECTORS; v++) sums[m][v] = dot_pairs(sums[m][v], value[v], weights[m] + key + 2 * k);
    }
};

// What one thread needs beside its stack.
struct Scratch {
    alignas(64) float sums[MOST_ROWS][MOST_SIZE];
    alignas(64) float total[MOST_ROWS][LANES];  // of weights, lane by lane
    float largest[MOST_ROWS];
    alignas(64) float keys[BLOCK][PAGE * MOST_SIZE];  // pages of aligned items that are put together here
    alignas(64) float values[BLOCK][PAGE * MOST_SIZE];
};

// The pages of up to KEYS keys of an item: where they are, which of their slots count, and the numbers of their keys.
template <class T> struct Block {
    const T* keys[BLOCK];
    const T* values[BLOCK];
    Span span[BLOCK];
    int first_key[BLOCK];  // number of the key in slot 0 of the page, were it one
    int count = 0;
    bool partial = false;
};

template <class T> class Worker {
  public:
    Worker(const AttentionStep& step, Scratch& scratch) : step_(step), scratch_(scratch) {}

    void run(const AttentionItem& item, int kv_head) {
        const int group = step_.heads / step_.kv_heads, rows = item.row_count * group;
        for (int m = 0; m < rows; m++) {
            const int token = step_.rows[item.first_row + m / group];
            query_[m] = static_cast<const T*>(step_.query) + token * step_.query_stride +
                        long(kv_head * group + m % group) * step_.key_size;
            if (item.masked) {
                const int32_t* range = step_.ranges + 2L * (item.first_row + m / group);
                range_[m] = {range[0], range[1]};
            } else {
                range_[m] = {0, item.key_count};
            }
            scratch_.largest[m] = NEVER;
            store(scratch_.total[m], Floats{});
            std::fill_n(scratch_.sums[m], step_.value_size, 0.0f);
        }
        int first_seen = item.key_count, last_seen = 0;
        for (int m = 0; m < rows; m++) {
            first_seen = std::min(first_seen, range_[m].from);
            last_seen = std::max(last_seen, range_[m].to);
        }
        const Span* spans = reinterpret_cast<const Span*>(step_.spans) + item.first_span;
        ahead_ = spans;
        ahead_count_ = std::min(BLOCK, item.span_count);
        fetch_ahead(kv_head, 0, 1);
        int key = 0;
        for (int s = 0; s < item.span_count;) {
            Block<T> block;
            const int block_start = key;
            if (item.aligned) {
                while (s < item.span_count && block.count < BLOCK) s += add_aligned(block, spans + s, item, key, kv_head);
            } else for (; s < item.span_count && block.count < BLOCK; s++) {
                const int length = spans[s].to - spans[s].from;
                if (key < last_seen && key + length > first_seen) add_page(block, spans[s], key, kv_head);
                key += length;
            }
            if (block.count) {
                ahead_ = spans + s;
                ahead_count_ = std::min(BLOCK, item.span_count - s);
                attend(block, kv_head, rows, item.masked, block_start, key);
            }
        }
        finish(item, kv_head, rows, group);
    }

  private:
    void add_page(Block<T>& block, Span span, int key, int kv_head) {
        const int g = block.count++;
        const long page = long(span.page) * step_.kv_heads + kv_head;
        block.keys[g] = static_cast<const T*>(step_.key_pool) + page * PAGE * step_.key_size;
        block.values[g] = static_cast<const T*>(step_.value_pool) + page * PAGE * step_.value_size;
        block.span[g] = span;
        block.first_key[g] = key - span.from;
        block.partial |= span.from != 0 || span.to != PAGE;
    }

    // A page of an aligned item, where keys PAGE * n to PAGE * n + 15 are in slots 0 to 15 of page n wherever they are in
    // the pool: in place where they are so there, else copied. No page is left out, whatever its rows see. Returns how
    // many spans it is made of.
    int add_aligned(Block<T>& block, const Span* spans, const AttentionItem& item, int& key, int kv_head) {
        const int length = std::min(PAGE, item.key_count - key);
        const int first = spans->to - spans->from;
        if (first == length && spans->from == 0) {
            add_page(block, *spans, key, kv_head);
            key += length;
            return 1;
        }
        const int g = block.count++;
        T *keys = reinterpret_cast<T*>(scratch_.keys[g]), *values = reinterpret_cast<T*>(scratch_.values[g]);
        int count = 0;
        for (int to = 0; to < length; count++) {
            const Span span = spans[count];
            const long page = long(span.page) * step_.kv_heads + kv_head;
            const T* from_keys = static_cast<const T*>(step_.key_pool) + page * PAGE * step_.key_size;
            const T* from_values = static_cast<const T*>(step_.value_pool) + page * PAGE * step_.value_size;
            for (int slot = span.from; slot < span.to; slot++, to++) {
                move_key(keys, to, from_keys, slot, step_.key_size);
                move_value(values, to, from_values, slot, step_.value_size);
            }
        }
        block.keys[g] = keys;
        block.values[g] = values;
        block.span[g] = {0, 0, length};
        block.first_key[g] = key;
        block.partial |= length != PAGE;
        key += length;
        return count;
    }

    void attend(const Block<T>& block, int kv_head, int rows, bool masked, int from, int to) {
        const int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS;
        int m = 0;
        for (; m + TILE_ROWS <= rows; m += TILE_ROWS) {
            fetch_ahead(kv_head, m / TILE_ROWS, tiles);
            tile<TILE_ROWS>(block, m, masked, from, to);
        }
        if (m < rows) fetch_ahead(kv_head, m / TILE_ROWS, tiles);
        switch (rows - m) {
            case 7: tile<7>(block, m, masked, from, to); break;
            case 6: tile<6>(block, m, masked, from, to); break;
            case 5: tile<5>(block, m, masked, from, to); break;
            case 4: tile<4>(block, m, masked, from, to); break;
            case 3: tile<3>(block, m, masked, from, to); break;
            case 2: tile<2>(block, m, masked, from, to); break;
            case 1: tile<1>(block, m, masked, from, to); break;
        }
    }

    // Asks for the next block's keys and values, a share of them for each tile of this one.
    void fetch_ahead(int kv_head, int tile, int tiles) const {
        const long key_bytes = sizeof(T) * PAGE * step_.key_size, value_bytes = sizeof(T) * PAGE * step_.value_size;
        for (int g = ahead_count_ * tile / tiles; g < ahead_count_ * (tile + 1) / tiles; g++) {
            const long page = long(ahead_[g].page) * step_.kv_heads + kv_head;
            const char* keys = static_cast<const char*>(step_.key_pool) + page * key_bytes;
            const char* values = static_cast<const char*>(step_.value_pool) + page * value_bytes;
            for (long at = 0; at < key_bytes; at += 64) __builtin_prefetch(keys + at, 0, 2);
            for (long at = 0; at < value_bytes; at += 64) __builtin_prefetch(values + at, 0, 2);
        }
    }

    template <int ROWS> void tile(const Block<T>& block, int first, bool masked, int from, int to) {
        alignas(64) float scores[ROWS][KEYS];
        alignas(64) T weights[ROWS][KEYS];
        const T* const* query = query_ + first;
        bool some_hidden = block.partial;
        int count = block.count;
        if (masked) {
            int first_seen = to, last_seen = from;
            for (int m = first; m < first + ROWS; m++) {
                first_seen = std::min(first_seen, range_[m].from);
                last_seen = std::max(last_seen, range_[m].to);
                some_hidden |= range_[m].from > from || range_[m].to < to;
            }
            while (count && block.first_key[count - 1] + block.span[count - 1].from >= last_seen) count--;
            if (!count || first_seen >= to) return;
        }
        constexpr int SUMS = ROWS > 4 ? 2 : 4;  // vectors of a row at once: enough to hide how long a product takes
        int g = 0;
        for (; g + SUMS <= count; g += SUMS) multiply<ROWS, SUMS>(query, block.keys + g, scores, g);
        for (; g < count; g++) multiply<ROWS, 1>(query, block.keys + g, scores, g);
        for (int m = 0; m < ROWS; m++) soften(block, count, first + m, scores[m], weights[m], some_hidden);
        int column = 0;
        for (; column + SUMS * LANES <= step_.value_size; column += SUMS * LANES)
            accumulate<ROWS, SUMS>(weights, block, count, first, column);
        for (; column < step_.value_size; column += LANES) accumulate<ROWS, 1>(weights, block, count, first, column);
    }

    template <int ROWS, int PAGES>
    void multiply(const T* const* query, const T* const* pages, float (*scores)[KEYS], int g) {
        Layout<T>::template scores<ROWS, PAGES>(query, pages, step_.key_size,
                                                reinterpret_cast<float(*)[KEYS]>(&scores[0][g * PAGE]));
    }

    template <int ROWS, int VECTORS>
    void accumulate(const T (*weights)[KEYS], const Block<T>& block, int count, int first, int column) {
        Floats sums[ROWS][VECTORS];
        for (int m = 0; m < ROWS; m++)
            for (int v = 0; v < VECTORS; v++) sums[m][v] = load(&scratch_.sums[first + m][column + v * LANES]);
        const int size = step_.value_size, place = column * int(sizeof(float) / sizeof(T));
        for (int g = 0; g < count; g++) {
            const T* page = block.values[g] + place;
            const Span span = block.span[g];
            if (span.from == 0 && span.to == PAGE)  // of known length, so that the loop is unrolled
                Layout<T>::template add_page<ROWS, VECTORS>(weights, g * PAGE, page, size, 0, PAGE, sums);
            else
                Layout<T>::template add_page<ROWS, VECTORS>(weights, g * PAGE, page, size, span.from, span.to, sums);
        }
        for (int m = 0; m < ROWS; m++)
            for (int v = 0; v < VECTORS; v++) store(&scratch_.sums[first + m][column + v * LANES], sums[m][v]);
    }

    // Scores to weights of one row, and what was summed before to the new scale (online softmax, base 2).
    void soften(const Block<T>& block, int count, int row, float* scores, T* weights, bool some_hidden) {
        float scale = step_.scale * LOG2E;
        if (step_.soft_cap != 0 || scale <= 0) {
            for (int g = 0; g < count; g++) {
                const Floats s = load(scores + g * PAGE);
                store(scores + g * PAGE, step_.soft_cap != 0 ? capped(s) : s * scale);
            }
            scale = 1;
        }
        if (some_hidden) hide(block, count, row, scores);
        Floats best = all(NEVER);
        for (int g = 0; g < count; g++) best = larger(load(scores + g * PAGE), best);
        const float before = scratch_.largest[row];
        float now = before;
        if (any_above(best * scale, before)) {
            now = largest(best * scale);
            if (before != NEVER) rescale(row, std::exp2(before - now));
            scratch_.largest[row] = now;
        }
        if (now == NEVER) {
            std::fill_n(weights, count * PAGE, T(0));
            return;
        }
        const Floats factor = all(scale), shift = all(-now);
        Floats total[2] = {load(scratch_.total[row]), Floats{}};
        int g = 0;
        for (; g + 2 <= count; g += 2) {
            const Floats low = weight_of(multiply_add(load(scores + g * PAGE), factor, shift));
            const Floats high = weight_of(multiply_add(load(scores + (g + 1) * PAGE), factor, shift));
            total[0] += low;
            total[1] += high;
            store_narrow(weights + g * PAGE, low, high);
        }
        if (g < count) {
            const Floats last = weight_of(multiply_add(load(scores + g * PAGE), factor, shift));
            total[0] += last;
            store_narrow(weights + g * PAGE, last);
        }
        store(scratch_.total[row], total[0] + total[1]);
    }

    static Floats weight_of(Floats x) { return sizeof(T) == 2 ? rough_exp2_of(x) : exp2_of(x); }

    void hide(const Block<T>& block, int count, int row, float* scores) const {
        const Range range = range_[row];
        for (int g = 0; g < count; g++) {
            const Span span = block.span[g];
            const int first = block.first_key[g];
            if (span.from == 0 && span.to == PAGE && first >= range.from && first + PAGE <= range.to) continue;
            const Ints lane = lane_numbers(), key = lane + first;
            const Ints seen = (lane >= span.from) & (lane < span.to) & (key >= range.from) & (key < range.to);
            store(scores + g * PAGE, choose(seen, load(scores + g * PAGE), all(NEVER)));
        }
    }

    void rescale(int row, float factor) {
        store(scratch_.total[row], load(scratch_.total[row]) * factor);
        for (int d = 0; d < step_.value_size; d += LANES)
            store(&scratch_.sums[row][d], load(&scratch_.sums[row][d]) * factor);
    }

    // soft_cap * tanh(score * scale / soft_cap), in base 2.
    Floats capped(Floats score) const {
        const Floats x = score * (step_.scale / step_.soft_cap);
        const Floats e = exp2_of((x < 0 ? x : -x) * (2 * LOG2E));  // e^(-2|x|)
        const Floats t = (1.0f - e) / (1.0f + e);
        return (x < 0 ? -t : t) * (step_.soft_cap * LOG2E);
    }

    void finish(const AttentionItem& item, int kv_head, int rows, int group) {
        for (int m = 0; m < rows; m++) {
            const long at = long(item.first_partial + m / group) * step_.heads + kv_head * group + m % group;
            const float total = sum(load(scratch_.total[m])), factor = total == 0 ? 0 : 1 / total;
            float* output = step_.partial_outputs + at * step_.value_size;
            for (int d = 0; d < step_.value_size; d += LANES) store(output + d, load(&scratch_.sums[m][d]) * factor);
            // NaN in what the row sees stays in its output, and out of the comparisons of the merge.
            const float weight = total > 0 ? std::log2(total) : 0.0f;
            step_.partial_sums[at] = total == 0 ? NEVER : scratch_.largest[m] + weight;
        }
    }

    const AttentionStep& step_;
    Scratch& scratch_;
    const T* query_[MOST_ROWS];
    Range range_[MOST_ROWS];
    const Span* ahead_ = nullptr;  // of the block after this one
    int ahead_count_ = 0;
};

template <class T> void write_new(const AttentionStep& step, int token) {
    const long page = step.new_slots[token] / PAGE, slot = step.new_slots[token] % PAGE;
    for (int h = 0; h < step.kv_heads; h++) {
        const long at = page * step.kv_heads + h;
        const T* key = static_cast<const T*>(step.new_keys) + token * step.key_stride + long(h) * step.key_size;
        const T* value = static_cast<const T*>(step.new_values) + token * step.value_stride + long(h) * step.value_size;
        write_key(static_cast<T*>(step.key_pool) + at * PAGE * step.key_size, slot, key, step.key_size);
        write_value(static_cast<T*>(step.value_pool) + at * PAGE * step.value_size, slot, value, step.value_size);
    }
}

template <class T> void merge(const AttentionStep& step, int token) {
    const int32_t* first = step.merge_partials + step.merge_starts[token];
    const int32_t* end = step.merge_partials + step.merge_starts[token + 1];
    for (int h = 0; h < step.heads; h++) {
        float best = step.sinks ? step.sinks[h] * LOG2E : NEVER, total = 0;
        for (const int32_t* p = first; p < end; p++) best = std::max(best, step.partial_sums[long(*p) * step.heads + h]);
        alignas(64) float sums[MOST_SIZE] = {};
        if (best != NEVER) {
            if (step.sinks) total = std::exp2(step.sinks[h] * LOG2E - best);
            for (const int32_t* p = first; p < end; p++) {
                const long at = long(*p) * step.heads + h;
                const float weight = std::exp2(step.partial_sums[at] - best);
                total += weight;
                for (int d = 0; d < step.value_size; d += LANES)
                    store(sums + d, load(sums + d) + load(step.partial_outputs + at * step.value_size + d) * weight);
            }
        }
        const float factor = total > 0 ? 1 / total : 0;
        T* output = static_cast<T*>(step.output) + (long(token) * step.heads + h) * step.value_size;
        for (int d = 0; d < step.value_size; d++) output[d] = from_float<T>(sums[d] * factor);
    }
}

template <class T> void run(const AttentionStep& step) {
#pragma omp parallel num_threads(step.threads)
    {
#pragma omp for schedule(static)
        for (int token = 0; token < step.tokens; token++) store_new_tokens<T>(step, token, token + 1);
        const int works = attention_works(step);
#pragma omp for schedule(dynamic, 1)
        for (int work = 0; work < works; work++) attend_work<T>(step, work);
#pragma omp for schedule(static)
        for (int token = 0; token < step.tokens; token++) merge_tokens<T>(step, token, token + 1);
    }
}

}  // namespace

template <class T> void store_new_tokens(const AttentionStep& step, int first, int last) {
    for (int token = first; token < last; token++) write_new<T>(step, token);
}

template <class T> void attend_work(const AttentionStep& step, int work) {
    static thread_local Scratch scratch;
    const AttentionItem* items = reinterpret_cast<const AttentionItem*>(step.items);
    Worker<T>(step, scratch).run(items[work / step.kv_heads], work % step.kv_heads);
}

template <class T> void merge_tokens(const AttentionStep& step, int first, int last) {
    for (int token = first; token < last; token++) merge<T>(step, token);
}

template void store_new_tokens<bf16>(const AttentionStep&, int, int);
template void store_new_tokens<float>(const AttentionStep&, int, int);
template void attend_work<bf16>(const AttentionStep&, int);
template void attend_work<float>(const AttentionStep&, int);
template void merge_tokens<bf16>(const AttentionStep&, int, int);
template void merge_tokens<float>(const AttentionStep&, int, int);

extern "C" void attend_bf16(const AttentionStep* step) { run<bf16>(*step); }
extern "C" void attend_float(const AttentionStep* step) { run<float>(*step); }
extern "C" const char* instruction_set() { return instructions(); }
