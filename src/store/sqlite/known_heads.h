#pragma once

// Heads that a connection has read, known again without a statement and without the engine's locks. These take several
// times as long as everything else that skipping a small state takes.
//
// The engine changes the header of the log's index, in memory that all processes share, before a commit returns, and
// when the log starts again. The header has the log's salts, its number of frames, their checksum and a count of
// transactions, so it never comes back with other content. While it is what it was before a head was read, nobody has
// committed since, and the head still is the store's. (A header that changed only means that the store must be asked.)
// The engine trusts the pages that it has in memory by the same rule. Whoever lends the connection makes sure that the
// path still names its file.

#include "base/text_hash.h"
#include "store/sqlite/live_files.h"

#include <cairn/store.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace cairn::sqlite {

/// Memory: bounded by a number of runs.
class KnownHeads {
public:
    /// A head; nothing if there is no such run.
    using Answer = std::optional<Head>;

    /// Null if the head was not read while the log's header was `header`.
    const Answer* find(const IndexHeader& header, std::string_view run_id) const;
    /// `header` must have been the log's before the head was read. Errors: throws std::bad_alloc.
    void remember(const IndexHeader& header, std::string_view run_id, const Answer& head);

private:
    IndexHeader header_{};  ///< The log's, before each of these heads was read.
    std::unordered_map<std::string, Answer, TextHash, std::equal_to<>> heads_;
};

}  // namespace cairn::sqlite
