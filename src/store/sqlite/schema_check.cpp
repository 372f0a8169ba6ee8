#include "store/sqlite/schema_check.h"

#include "base/mutex.h"
#include "base/thread_annotations.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn::sqlite {
namespace {

constexpr char kObjects[] = "SELECT type, name, tbl_name, sql FROM main.sqlite_master";

struct Object {
    std::string type;
    std::string name;
    std::string table;  // the table that it belongs to
    std::string sql;
};
using Schema = std::vector<Object>;

Result<Schema> read_schema(Connection& connection) {
    Schema schema;
    Cursor rows = connection.use(kObjects);
    while (true) {
        const Result<bool> row = rows.step();
        if (!row) return std::unexpected(row.error());
        if (!*row) return schema;
        schema.push_back({.type = std::string(rows.text(0)),
                          .name = std::string(rows.text(1)),
                          .table = std::string(rows.text(2)),
                          .sql = std::string(rows.text(3))});
    }
}

// Makes the schema that an empty database gets.
Result<Schema> make_schema(int version, std::span<const Migration> known) {
    const Result<std::unique_ptr<Connection>> scratch = Connection::open(":memory:", Access::kCreate);
    if (!scratch) return std::unexpected(scratch.error());
    for (const Migration& migration : known) {
        if (migration.version > version) continue;
        if (Status status = (*scratch)->execute(migration.sql); !status) return std::unexpected(status.error());
    }
    return read_schema(**scratch);
}

/// The schemas that a process has made.
struct MadeSchemas {
    Mutex mutex;
    std::map<int, std::shared_ptr<const Schema>> by_version CAIRN_GUARDED_BY(mutex);
};

// The schemas of cairn's own migrations are made once per process.
Result<std::shared_ptr<const Schema>> schema_of(int version, std::span<const Migration> known) {
    static auto* const kMade = new MadeSchemas;
    const bool is_own = known.data() == migrations().data();
    if (is_own) {
        const MutexLock lock(kMade->mutex);
        if (const auto found = kMade->by_version.find(version); found != kMade->by_version.end()) return found->second;
    }
    Result<Schema> made = make_schema(version, known);
    if (!made) return std::unexpected(std::move(made.error()));
    auto schema = std::make_shared<const Schema>(std::move(*made));
    const MutexLock lock(kMade->mutex);
    if (is_own) kMade->by_version.emplace(version, schema);
    return schema;
}

bool is_same_name(std::string_view left, std::string_view right) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return std::ranges::equal(left, right, {}, lower, lower);
}

const Object* find(const Schema& schema, std::string_view name) {
    const auto found = std::ranges::find_if(schema, [&](const Object& each) { return is_same_name(each.name, name); });
    return found == schema.end() ? nullptr : &*found;
}

// "CREATE INDEX mine ON snapshots(expires_at, version)": an index over columns alone neither refuses a row nor
// computes.
bool is_plain_index(std::string_view sql) {
    constexpr std::string_view kStart = "CREATE INDEX ";
    const std::size_t open = sql.find('(');
    if (!sql.starts_with(kStart) || open == std::string_view::npos || !sql.ends_with(')')) return false;
    const std::string_view columns = sql.substr(open + 1, sql.size() - open - 2);
    constexpr std::string_view kAccepted = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_, \n\t\"";
    return columns.find_first_not_of(kAccepted) == std::string_view::npos;
}

bool is_harmless(const Object& object) {
    if (object.type == "index") return is_plain_index(object.sql);
    return object.type != "trigger";
}

// Names come from the file: they must not garble a terminal.
std::string shown(std::string_view name) {
    constexpr std::size_t kShownMax = 60;
    std::string text(name.substr(0, kShownMax));
    std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
    return text;
}

std::unexpected<Error> changed_schema_error(const Object& object, int version) {
    return fail(ErrorCode::kIncompatible,
                fmt::format("the file's {} \"{}\" is not the one of cairn's schema {}: somebody else has changed it",
                            shown(object.type), shown(object.name), version));
}

std::unexpected<Error> foreign_object_error(const Object& object) {
    return fail(
        ErrorCode::kIncompatible,
        fmt::format("the file has {} {} \"{}\" on cairn's table \"{}\", which is not cairn's: it is not obeyed; "
                    "drop it, if the file is one that you trust",
                    object.type == "index" ? "an" : "a", shown(object.type), shown(object.name), shown(object.table)));
}

}  // namespace

Status check_schema(Connection& connection, int version, std::span<const Migration> known) {
    const Result<std::shared_ptr<const Schema>> made = schema_of(version, known);
    if (!made) return std::unexpected(made.error());
    const Schema& expected = **made;
    const Result<Schema> actual = read_schema(connection);
    if (!actual) return std::unexpected(actual.error());
    for (const Object& object : expected) {
        const Object* const found = find(*actual, object.name);
        if (found == nullptr) {
            return fail(ErrorCode::kCorrupt,
                        fmt::format("the file's schema is damaged: {} \"{}\" is missing", object.type, object.name));
        }
        if (found->type != object.type || found->sql != object.sql) return changed_schema_error(*found, version);
    }
    for (const Object& object : *actual) {
        const bool is_ours = find(expected, object.name) != nullptr;
        const bool is_on_ours = find(expected, object.table) != nullptr;
        if (!is_ours && is_on_ours && !is_harmless(object)) return foreign_object_error(object);
    }
    return {};
}

}  // namespace cairn::sqlite
