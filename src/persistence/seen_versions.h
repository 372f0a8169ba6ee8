#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

namespace cairn {

/// The head version that this service last saw of each run, so that `on_conflict=fail` notices a second writer.
/// Bounded: the run noted longest ago is forgotten first, and is then as unknown as to a new process.
/// Threads: safe to call concurrently.
class SeenVersions {
public:
    explicit SeenVersions(std::size_t runs_max = 65'536) : runs_max_(runs_max) {}

    void note(const std::string& run_id, std::int64_t version);
    std::optional<std::int64_t> find(const std::string& run_id) const;

private:
    struct Entry {
        std::string run_id;
        std::int64_t version;
    };

    const std::size_t runs_max_;
    mutable std::mutex mutex_;
    std::list<Entry> entries_;  // guarded by mutex_, as is all below; the one noted last in front
    std::unordered_map<std::string_view, std::list<Entry>::iterator> by_run_;
};

}  // namespace cairn
