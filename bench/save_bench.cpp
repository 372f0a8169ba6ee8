// A durable save of a changed state, compared with appending as many bytes to a file in the same folder and waiting for
// the disk, as every program must.

#include "bench_store.h"
#include "benchmarks.h"
#include "in_turn.h"

#include <fcntl.h>
#include <unistd.h>

namespace cairn::bench {
namespace {

constexpr double kRatioAim = 1.5;
constexpr double kSecondsMin = 2;  ///< A disk has good and bad moments: this includes more of them.

class AppendedFile {
public:
    explicit AppendedFile(const std::filesystem::path& path)
        : descriptor_(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {}
    ~AppendedFile() { close(descriptor_); }
    AppendedFile(const AppendedFile&) = delete;
    AppendedFile& operator=(const AppendedFile&) = delete;

    void append_durably(std::string_view bytes) const {
        const bool written = write(descriptor_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
        if (!written || fdatasync(descriptor_) != 0) std::abort();
    }

private:
    int descriptor_;
};

template <class Service>
void save_changed(benchmark::State& state, const SizeClass& sizes) {
    const ScratchFolder folder;
    Service service(folder.open_store());
    const AppendedFile file(folder / "appended");
    std::vector<StatePersistenceRequest> requests;
    for (const State& changed : sizes.states) requests.push_back(request_for("run", changed));

    std::vector<std::uint64_t> frame_bytes(sizes.states.size());
    for (std::size_t index = 0; index < requests.size(); ++index) {
        frame_bytes[index] = must(service.save_agent_state(requests[index])).frame_bytes;
    }
    InTurn in_turn(sizes.states.size());
    in_turn.run(
        state, [&](std::size_t index) { must(service.save_agent_state(requests[index])); },
        [&](std::size_t index) {
            // The text is at least as long as its frame without the header; the content of the bytes does not matter.
            file.append_durably(sizes.states[index].text().substr(0, frame_bytes[index]));
        });
    in_turn.report_p50(state, kRatioAim);
}

}  // namespace

void register_save_benchmarks() {
    register_by_size("save_optimized_vs_append", save_changed<OptimizedStatePersistence>, kSecondsMin);
    register_by_size("save_standard_vs_append", save_changed<StatePersistenceService>, kSecondsMin);
}

}  // namespace cairn::bench
