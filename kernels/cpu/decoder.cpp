// A whole decoder for the packed rows of one step, computed by a team of threads in one call.
//
// Between two attentions stands a chain of stages. Many rows are cut in blocks: a thread takes a block through all
// stages, so that its numbers stay in the L2 cache. Few rows, as in decoding, are cut by outputs of the linear layers:
// each weight is read once, by one thread. The sums of a row are the same either way. The residual stream is float32;
// what linear layers and attention read is rounded to T.
#include "decoder_stages.h"
#include "team.h"

namespace {

constexpr int MOST_BLOCK = 64;   // rows that a thread takes through the stages together
constexpr int LEAST_BLOCK = 48;  // fewer for each thread are cut by outputs
constexpr int COLUMN_ROWS = 96;  // rows that meet a weight together where works are outputs
constexpr int MOST_STAGES = 16;

// What stays from step to step.
struct Workspace {
    explicit Workspace(int threads) : team(threads) {}
    Team team;
    Buffers buffers;
};

template <class T> struct Chain {
    using Stage = typename Stages<T>::Stage;
    Stage stages[MOST_STAGES];
    int count = 0;
    void add(Stage stage) { stages[count++] = stage; }
};

template <class T> class Pass {
  public:
    Pass(const Decoder& decoder, const DecoderStep& step, Buffers& buffers)
        : decoder_(decoder), step_(step), stages_(decoder, step, buffers) {}

    void operator()(Team::Lane& lane) {
        const Layer* layers = decoder_.layers;
        const Rows all = stages_.all_rows(), wanted = stages_.wanted_rows();
        for (int l = 0; l < decoder_.layer_count; l++) {
            Chain<T> chain;
            if (l) close(chain, layers[l - 1]);
            else chain.add({&Stages<T>::embed, layers, 0});
            open(chain, layers[l]);
            run(lane, all, chain);
            const bool last = l == decoder_.layer_count - 1;
            if (!last || wanted.count) attend(lane, layers[l], last);
        }
        Chain<T> chain;
        close(chain, layers[decoder_.layer_count - 1]);
        chain.add({&Stages<T>::normalize_last, layers, 0});
        chain.add({&Stages<T>::compute_logits, layers, stages_.logit_chunks()});
        run(lane, wanted, chain);
    }

  private:
    using S = Stages<T>;

    void open(Chain<T>& chain, const Layer& layer) {
        chain.add({&S::normalize_first, &layer, 0});
        chain.add({&S::compute_head, &layer, layer.head_count + 2 * layer.kv_heads});
        if (layer.whole_norms) chain.add({&S::finish_heads, &layer, 0});
    }

    void close(Chain<T>& chain, const Layer& layer) {
        chain.add({&S::merge, &layer, 0});
        chain.add({&S::project, &layer, panels_of(layer.output)});
        if (layer.after_attention.kind != NormKind::none) chain.add({&S::settle_attention, &layer, 0});
        if (!layer.parallel) chain.add({&S::normalize_second, &layer, 0});
        chain.add({&S::activate, &layer, layer.down.inputs / PANEL});
        chain.add({&S::contract, &layer, panels_of(layer.down)});
        if (layer.after_feed_forward.kind != NormKind::none) chain.add({&S::settle_feed_forward, &layer, 0});
    }

    void run(Team::Lane& lane, const Rows& rows, const Chain<T>& chain) {
        const int threads = lane.threads();
        if (rows.count >= LEAST_BLOCK * threads) {
            const int blocks = (rows.count + threads * MOST_BLOCK - 1) / (threads * MOST_BLOCK) * threads;
            lane.share(blocks, [&](int block) {
                const int from = int(long(rows.count) * block / blocks), to = int(long(rows.count) * (block + 1) / blocks);
                for (int s = 0; s < chain.count; s++)
                    for (int chunk = 0; chunk < std::max(1, chain.stages[s].chunks); chunk++)
                        stages_.run(chain.stages[s], rows, from, to, chunk);
            });
            return;
        }
        for (int s = 0; s < chain.count;) s = run_phase(lane, rows, chain, s);
    }

    // One stage by its outputs, or as many stages as go by rows; the number of the next stage.
    int run_phase(Team::Lane& lane, const Rows& rows, const Chain<T>& chain, int first) {
        const int chunks = chain.stages[first].chunks;
        if (chunks) {
            const int blocks = (rows.count + COLUMN_ROWS - 1) / COLUMN_ROWS;
            lane.share(chunks * blocks, [&](int work) {
                const int from = work % blocks * COLUMN_ROWS, to = std::min(rows.count, from + COLUMN_ROWS);
                stages_.run(chain.stages[first], rows, from, to, work / blocks);
            });
            return first + 1;
        }
        int end = first;
        while (end < chain.count && !chain.stages[end].chunks) end++;
        lane.share(rows.count, [&](int row) {
            for (int s = first; s < end; s++) stages_.run(chain.stages[s], rows, row, row + 1, 0);
        });
        return end;
    }

    void attend(Team::Lane& lane, const Layer& layer, bool only_wanted) {
        const AttentionStep step = stages_.attention(layer);
        lane.deal(attention_works(step), [&](int work) {
            if (!only_wanted || stages_.is_wanted(step, work)) attend_work<T>(step, work);
        });
    }

    const Decoder& decoder_;
    const DecoderStep& step_;
    Stages<T> stages_;
};

template <class T> void run_decoder(const Decoder& decoder, const DecoderStep& step, Workspace& space) {
    Pass<T> pass(decoder, step, space.buffers);
    space.team.run(pass);
}

}  // namespace

extern "C" void* workspace_new(int threads) { return new Workspace(threads); }
extern "C" void workspace_free(void* space) { delete static_cast<Workspace*>(space); }
extern "C" void decode_bf16(const Decoder* decoder, const DecoderStep* step, void* space) {
    run_decoder<bf16>(*decoder, *step, *static_cast<Workspace*>(space));
}
extern "C" void decode_float(const Decoder* decoder, const DecoderStep* step, void* space) {
    run_decoder<float>(*decoder, *step, *static_cast<Workspace*>(space));
}
