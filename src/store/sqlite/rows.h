#pragma once

// Values of the public types as columns: how they are stored and read back. A row that cairn cannot have written is
// kCorrupt.

#include "store/sqlite/sqlite_connection.h"

#include <cairn/error.h>
#include <cairn/store.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace cairn::sqlite {

/// A snapshot id in the form in which it is bound: 16 bytes for a lower-case UUID, text for anything else.
class StoredId {
public:
    explicit StoredId(std::string_view snapshot_id);
    ~StoredId() = default;
    StoredId(const StoredId&) = delete;
    StoredId& operator=(const StoredId&) = delete;

    std::variant<Blob, std::string_view> value() const;

private:
    std::string_view text_;
    std::array<char, 16> bytes_{};
    bool is_uuid_;
};

/// A stored text as people can read it: itself, or what is printable of a text that is not UTF-8.
std::string readable(std::string_view stored);

/// The snapshot id in a row's column, in the form in which a caller gives it.
std::string stored_id_at(const Cursor& row, int column);

/// A checksum in the form in which it is bound.
class StoredChecksum {
public:
    explicit StoredChecksum(const Checksum& checksum) : bytes_(checksum.to_bytes()) {}
    Blob value() const { return {{reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}}; }

private:
    std::array<std::uint8_t, Checksum::kBytes> bytes_;
};

/// The checksum that a row's column holds; none (zeros) if it is not one.
Checksum stored_checksum_at(const Cursor& row, int column);

/// Microseconds from one time to another, modulo 2^64: exact for any two times.
std::int64_t microseconds_between(Timestamp from, Timestamp to);

std::int64_t to_column(Timestamp time);
std::optional<std::int64_t> to_column(const std::optional<Timestamp>& time);
std::optional<std::string_view> to_column(const std::optional<std::string>& text);
std::int64_t to_column(std::size_t count);
std::optional<std::string_view> unless_empty(std::string_view text);

/// Reads a row's columns from left to right, and remembers whether one of them could not be read.
class RowReader {
public:
    explicit RowReader(const Cursor& cursor) : cursor_(cursor) {}

    std::int64_t integer() { return cursor_.integer(column_++); }
    std::uint64_t count();
    bool flag() { return integer() != 0; }
    /// Text is UTF-8, as cairn always writes it. Of other text, returns what is `readable`.
    std::string text();
    /// The normal text of a JSON object, or empty. Anything else is left out, and recorded in `damage` as `name`.
    std::string object(std::string_view name, std::string& damage);
    std::string blob() { return std::string(cursor_.blob(column_++)); }
    /// Text from a table that the row refers to: NULL if it is missing there.
    std::string joined_text();
    /// A flag from such a table. A missing one reads as set, so that nobody does what it would forbid.
    bool joined_flag() { return is_null() ? skip(), true : flag(); }
    std::int64_t epoch();
    Timestamp heartbeat();
    Timestamp time() { return Timestamp(std::chrono::microseconds(integer())); }
    /// Two columns: a time, and the microseconds after it.
    Timestamp time_after();
    std::optional<Timestamp> optional_time();
    std::string snapshot_id();
    std::int64_t version();
    /// Computes the parent of `version` from its `parent_steps`.
    std::int64_t parent_version(std::int64_t version);
    /// Computes the base of `version` from its `base_steps`.
    std::int64_t base_version(std::int64_t version);
    Checksum checksum();
    RecoveryType recovery_type();
    /// Says whether the next column is NULL.
    bool is_null() const { return cursor_.is_null(column_); }
    void skip() { ++column_; }

    /// Says whether all columns so far could be read.
    bool is_sound() const { return problem_.empty(); }
    /// The damage of the row, for callers that list it all the same; empty: none.
    std::string damage() const;
    /// Errors: kCorrupt (a value that no column of its kind can have).
    [[nodiscard]] Status finish() const;

private:
    void require(bool is_sound, std::string_view otherwise);

    const Cursor& cursor_;
    int column_ = 0;
    std::string_view problem_;  // the first one; empty: none
};

}  // namespace cairn::sqlite
