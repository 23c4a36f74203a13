// A team of threads that computes one step: the caller and helpers that wait between steps.
//
// A step is a row of phases, each a number of works that any thread may take. A phase ends when its works are done, not
// when all threads have met: a helper that sleeps or has lost its core delays nobody unless it holds a work, and joins
// where the others are. Waiting spins for some microseconds, then sleeps, since cores may be shared.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

class Team {
  public:
    explicit Team(int threads) : threads_(threads), ranges_(new Range[threads]) {
        for (int thread = 1; thread < threads; thread++) helpers_.emplace_back([this, thread] { help(thread); });
    }

    ~Team() {
        leaving_ = true;
        tell(step_, step_ + 1);
        for (std::thread& helper : helpers_) helper.join();
    }

    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int threads() const { return threads_; }

    // The way of one thread through the phases of a step. All threads go through the same phases.
    class Lane {
      public:
        Lane(Team& team, int thread) : team_(team), thread_(thread) {}

        // Has work(0) ... work(works - 1) done by whoever is there; returns when all of them are done. Each thread
        // begins with a run of them of its own, to read memory as a stream.
        template <class Work> void share(int works, Work&& work) { take<false>(works, work); }

        // The same for works in order of size, the largest first: they are dealt out like cards.
        template <class Work> void deal(int works, Work&& work) { take<true>(works, work); }

        int thread() const { return thread_; }
        int threads() const { return team_.threads_; }

      private:
        template <bool DEAL, class Work> void take(int works, Work& work) {
            if (team_.threads_ == 1) {
                for (int w = 0; w < works; w++) work(w);
            } else if (works) {
                team_.take<DEAL>(phase_++, thread_, works, work);
            }
        }

        Team& team_;
        int thread_;
        uint32_t phase_ = 0;
    };

    // Runs job(lane) on the caller and on the helpers that come in time; returns when all its phases are done.
    template <class Job> void run(Job& job) {
        Lane lane(*this, 0);
        if (threads_ == 1) return job(lane);
        job_ = &job;
        enter_ = [](void* given, Lane& own) { (*static_cast<Job*>(given))(own); };
        for (int thread = 0; thread < threads_; thread++) ranges_[thread].next = 0;
        done_ = 0;
        phase_ = 0;
        inside_.fetch_and(~CLOSED);
        tell(step_, step_ + 1);
        job(lane);
        inside_.fetch_or(CLOSED);
        for (int spin = 0; inside_.load() != CLOSED; spin++) spin < SPINS ? relax() : std::this_thread::yield();
    }

  private:
    static constexpr int SPINS = 2000;         // about 30 microseconds
    static constexpr uint32_t CLOSED = 1u << 31;

    // The works that a thread begins with: the number of the phase above, of those taken below.
    struct alignas(64) Range {
        std::atomic<uint64_t> next{0};
    };

    static void relax() {
#if defined(__x86_64__)
        _mm_pause();
#else
        std::this_thread::yield();
#endif
    }

    // Own works first, then those of the others.
    template <bool DEAL, class Work> void take(uint32_t phase, int thread, int works, Work& work) {
        int taken = 0;
        for (int turn = 0; turn < threads_ && phase_.load(std::memory_order_acquire) == phase; turn++) {
            const int owner = (thread + turn) % threads_;
            const int first = int(int64_t(works) * owner / threads_), end = int(int64_t(works) * (owner + 1) / threads_);
            const int count = DEAL ? (works - owner + threads_ - 1) / threads_ : end - first;
            for (int number; (number = claim(ranges_[owner].next, phase, count)) >= 0; taken++)
                work(DEAL ? number * threads_ + owner : first + number);
        }
        if (taken && done_.fetch_add(taken) + taken == works) {
            done_ = 0;
            for (int t = 0; t < threads_; t++) ranges_[t].next.store(uint64_t(phase + 1) << 32);
            tell(phase_, phase + 1);
        } else {
            wait_past(phase_, phase);
        }
    }

    static int claim(std::atomic<uint64_t>& next, uint32_t phase, int count) {
        uint64_t seen = next.load(std::memory_order_acquire);
        while (seen >> 32 == phase && int(uint32_t(seen)) < count)
            if (next.compare_exchange_weak(seen, seen + 1)) return int(uint32_t(seen));
        return -1;
    }

    // Returns once `value` is above `old`.
    void wait_past(const std::atomic<uint32_t>& value, uint32_t old) {
        for (int spin = 0; spin < SPINS; spin++) {
            if (value.load(std::memory_order_acquire) > old) return;
            relax();
        }
        std::unique_lock<std::mutex> lock(mutex_);
        sleepers_++;
        changed_.wait(lock, [&] { return value.load() > old; });
        sleepers_--;
    }

    void tell(std::atomic<uint32_t>& value, uint32_t now) {
        value = now;
        if (!sleepers_) return;
        std::lock_guard<std::mutex> lock(mutex_);
        changed_.notify_all();
    }

    void help(int thread) {
        uint32_t seen = 0;
        while (true) {
            wait_past(step_, seen);
            if (leaving_) return;
            seen = step_;
            if (!(inside_.fetch_add(1) & CLOSED)) {
                Lane lane(*this, thread);
                enter_(job_, lane);
            }
            inside_.fetch_sub(1);
        }
    }

    const int threads_;
    std::unique_ptr<Range[]> ranges_;
    alignas(64) std::atomic<uint32_t> phase_{0};
    alignas(64) std::atomic<int> done_{0};
    alignas(64) std::atomic<uint32_t> step_{0};
    std::atomic<uint32_t> inside_{CLOSED};  // helpers inside the step, and whether more may come in
    std::atomic<int> sleepers_{0};
    std::atomic<bool> leaving_{false};
    std::mutex mutex_;
    std::condition_variable changed_;
    void* job_ = nullptr;
    void (*enter_)(void*, Lane&) = nullptr;
    std::vector<std::thread> helpers_;
};
