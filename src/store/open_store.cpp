#include "store/memory/memory_scheme.h"
#include "store/scheme_table.h"
#include "store/sqlite/sqlite_scheme.h"

#include <cairn/store.h>

#include <memory>
#include <new>
#include <utility>

namespace cairn {

// The engines of `cairn::cairn`.
SchemeTable& scheme_table() {
    static SchemeTable& table = *[] {
        auto made = std::make_unique<SchemeTable>();
        for (StoreScheme scheme : {sqlite_scheme(), memory_scheme()}) {
            [[maybe_unused]] const Status added = made->add(std::move(scheme));
        }
        return made.release();  // never destroyed: stores are opened until the very end of a process
    }();
    return table;
}

Status register_store_scheme(StoreScheme scheme) try {
    return scheme_table().add(std::move(scheme));
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::kInternal, "out of memory");
}

Status check_store_url(std::string_view url) {
    const Result<StoreScheme> scheme = scheme_table().find(url);
    if (!scheme) return std::unexpected(scheme.error());
    return scheme->check ? scheme->check(url) : Status{};
}

Result<std::shared_ptr<Store>> open_store(std::string_view url, const OpenOptions& options) try {
    const Result<StoreScheme> scheme = scheme_table().find(url);
    if (!scheme) return std::unexpected(scheme.error());
    return scheme->open(url, options);
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::kInternal, "out of memory");
}

Status commit_run(Store& store, const RunBatch& batch, Deadline deadline) {
    Result<std::vector<Status>> answers = store.commit({&batch, 1}, deadline);
    if (!answers) return std::unexpected(std::move(answers.error()));
    return std::move(answers->front());
}

}  // namespace cairn
