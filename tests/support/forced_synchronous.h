#pragma once

// Overrides the engine's `synchronous` setting of the code under test. A test shows by it that it would notice a store
// that does not sync.

#include <sqlite3.h>

#include <string>
#include <string_view>

namespace cairn::test {

/// While it lives, every connection that this process opens has the given setting and keeps it.
class ForcedSynchronous {
public:
    explicit ForcedSynchronous(const char* level) {
        statement() = std::string("PRAGMA synchronous = ") + level;
        sqlite3_auto_extension(reinterpret_cast<void (*)()>(on_open));
    }
    ~ForcedSynchronous() { sqlite3_reset_auto_extension(); }
    ForcedSynchronous(const ForcedSynchronous&) = delete;
    ForcedSynchronous& operator=(const ForcedSynchronous&) = delete;

private:
    static std::string& statement() {
        static std::string sql;
        return sql;
    }
    static int on_open(sqlite3* database, char** /*message*/, const void* /*routines*/) {
        const int result_code = sqlite3_exec(database, statement().c_str(), nullptr, nullptr, nullptr);
        sqlite3_set_authorizer(database, refuse_to_change, nullptr);
        return result_code;
    }
    static int refuse_to_change(void* /*context*/, int action, const char* name, const char* value,
                                const char* /*database*/, const char* /*trigger*/) {
        const bool changes = action == SQLITE_PRAGMA && std::string_view(name) == "synchronous" && value != nullptr;
        return changes ? SQLITE_IGNORE : SQLITE_OK;
    }
};

}  // namespace cairn::test
