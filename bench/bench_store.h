#pragma once

// The common part of the services' benchmarks: a store of their own on this disk, and requests.

#include "bench_states.h"

#include <cairn/cairn.h>

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace cairn::bench {

/// Ends the program on an error: a benchmark of something that failed has no meaning.
template <class T>
T must(Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "%s\n", result.error().to_string().c_str());
        std::exit(EXIT_FAILURE);
    }
    if constexpr (!std::is_void_v<T>) return *std::move(result);
}

/// A folder below the working folder (the disk that is measured), removed with the object.
class ScratchFolder {
public:
    ScratchFolder() {
        std::string pattern = "cairn-bench-XXXXXX";
        if (mkdtemp(pattern.data()) == nullptr) must<void>(fail(ErrorCode::kReadOnly, "no folder can be made here"));
        path_ = std::filesystem::absolute(pattern);
    }
    ~ScratchFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;

    std::shared_ptr<Store> open_store() const {
        return must(cairn::open_store("sqlite:" + (path_ / "bench.db").string()));
    }
    std::filesystem::path operator/(const char* name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

inline StatePersistenceRequest request_for(std::string run_id, State state) {
    return {.run_id = std::move(run_id), .thread_id = "thread", .user_id = "user", .state_data = std::move(state)};
}

inline std::string run_of(std::size_t index) {
    return "run-" + std::to_string(index);
}

/// Saves each state as the head of a run of its own.
inline void save_heads(StatePersistence& service, const SizeClass& sizes) {
    for (std::size_t index = 0; index < sizes.states.size(); ++index) {
        must(service.save_agent_state(request_for(run_of(index), sizes.states[index])));
    }
}

/// Registers `function(benchmark, sizes)` as "name/size class", for every class and for the mix. It runs until its own
/// calls have taken `seconds_min`; 0: as the command line says.
template <class Function>
void register_by_size(const std::string& name, const Function& function, double seconds_min = 0) {
    const auto add = [&](const SizeClass& sizes) {
        auto* benchmark = benchmark::RegisterBenchmark(
            (name + '/' + sizes.name).c_str(), [function, &sizes](benchmark::State& state) { function(state, sizes); });
        benchmark->UseManualTime()->Unit(benchmark::kMicrosecond);
        if (seconds_min > 0) benchmark->MinTime(seconds_min);
    };
    for (const SizeClass& sizes : size_classes()) add(sizes);
    add(mixed_sizes());
}

}  // namespace cairn::bench
