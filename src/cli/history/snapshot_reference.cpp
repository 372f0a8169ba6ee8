#include "cli/history/snapshot_reference.h"

#include "base/default_deadline.h"
#include "cli/terminal/output.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace cairn::cli {
namespace {

// Returns nothing if it cannot be a version.
std::optional<std::int64_t> as_version(const std::string& reference) {
    std::int64_t version = 0;
    const char* end = reference.data() + reference.size();
    const auto [stopped, error] = std::from_chars(reference.data(), end, version);
    const bool usable =
        error == std::errc() && stopped == end && version > 0 && version < std::numeric_limits<std::int64_t>::max();
    if (!usable) return std::nullopt;
    return version;
}

Result<std::optional<SnapshotInfo>> find_owned(Store& store, const std::string& run_id, std::int64_t version,
                                               const Owner& owner) {
    auto page = store.history({.run_id = run_id,
                               .thread_id = owner.thread_id,
                               .user_id = owner.user_id,
                               .after_version = version + 1,
                               .limit = 1},
                              default_deadline());
    if (!page) return std::unexpected(page.error());
    if (page->empty() || page->front().version != version) return std::nullopt;
    return std::move(page->front());
}

Result<std::string> id_of_version(Store& store, const std::string& run_id, std::int64_t version, const Owner& owner) {
    auto found = find_owned(store, run_id, version, owner);
    if (!found) return std::unexpected(found.error());
    if (std::optional<SnapshotInfo>& info = *found) return std::move(info->snapshot_id);
    if (Status found_run = require_run(store, run_id, owner); !found_run) return std::unexpected(found_run.error());
    return std::unexpected(advise({.code = ErrorCode::kNotFound,
                                   .message = fmt::format("run \"{}\" has no snapshot of version {}", run_id, version)},
                                  fmt::format("`cairn log --run {}` lists the run's snapshots.", shell_word(run_id))));
}

}  // namespace

Result<std::string> find_snapshot_id(Store& store, const std::string& run_id, const std::string& reference,
                                     const Owner& owner) {
    const auto version = as_version(reference);
    if (!version) return reference;
    const auto named_so = store.get(run_id, reference, default_deadline());
    if (!named_so) return std::unexpected(named_so.error());
    if (named_so->has_value()) return reference;
    return id_of_version(store, run_id, *version, owner);
}

Status require_run(Store& store, const std::string& run_id, const Owner& owner) {
    const auto head = store.head(run_id, default_deadline());
    if (!head) return std::unexpected(head.error());
    const std::optional<Head>& of_run = *head;
    const bool found = of_run && owner.thread_id.value_or(of_run->thread_id) == of_run->thread_id &&
                       owner.user_id.value_or(of_run->user_id) == of_run->user_id;
    if (found) return {};
    return fail(ErrorCode::kNotFound, fmt::format("there is no run \"{}\"{}", run_id,
                                                  owner.thread_id || owner.user_id ? " of this owner" : ""));
}

}  // namespace cairn::cli
