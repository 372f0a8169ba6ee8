// Goal: the SQLite store does what cairn/store.h says.
// Method: the conformance suite, each test on its own file.

#include "conformance/store_conformance.h"
#include "support/temp_dir.h"

namespace cairn::test {
namespace {

Place make_folder() {
    return [folder = std::make_shared<TempDir>()](const OpenOptions& options) {
        return open_store(folder->sqlite_url(), options).value();
    };
}

const StoreFactory kSqlite{.name = "sqlite", .make_place = make_folder};

INSTANTIATE_TEST_SUITE_P(Sqlite, StoreConformance, testing::Values(kSqlite));
INSTANTIATE_TEST_SUITE_P(Sqlite, DurableStoreConformance, testing::Values(kSqlite));

}  // namespace
}  // namespace cairn::test
