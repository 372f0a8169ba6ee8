#pragma once

// The table that says which engine opens which URL: every engine has one row. The library's own rows are in
// open_store.cpp; other libraries and programs add theirs with `register_store_scheme`.

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

/// Threads: safe to call concurrently.
class SchemeTable {
public:
    /// Errors: as `register_store_scheme`.
    Status add(StoreScheme scheme);

    /// The row of `url`'s scheme. Errors: kInvalidArgument (no scheme, or an unknown one; names the known ones).
    Result<StoreScheme> find(std::string_view url) const;

private:
    std::string usages() const CAIRN_REQUIRES(mutex_);

    mutable Mutex mutex_;
    std::vector<StoreScheme> schemes_ CAIRN_GUARDED_BY(mutex_);  // in the order in which they were added
};

/// The table of this process, with the library's own engines.
SchemeTable& scheme_table();

}  // namespace cairn
