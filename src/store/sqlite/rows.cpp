#include "store/sqlite/rows.h"

#include "state/normal_text.h"
#include "state/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

namespace cairn::sqlite {
namespace {

constexpr std::size_t kUuidBytes = 16;
constexpr std::size_t kUuidCharacters = 36;
constexpr std::string_view kHexDigits = "0123456789abcdef";

// 8-4-4-4-12
bool has_dash_at(std::size_t position) {
    return position == 8 || position == 13 || position == 18 || position == 23;
}

bool parse_uuid(std::string_view text, std::array<char, kUuidBytes>& bytes) {
    if (text.size() != kUuidCharacters) return false;
    std::size_t digits = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (has_dash_at(i)) {
            if (text[i] != '-') return false;
            continue;
        }
        const std::size_t value = kHexDigits.find(text[i]);
        if (value == std::string_view::npos) return false;
        char& byte = bytes[digits / 2];
        byte = static_cast<char>(digits % 2 == 0 ? value << 4U : static_cast<unsigned char>(byte) | value);
        ++digits;
    }
    return true;
}

std::string format_uuid(std::string_view bytes) {
    std::string text;
    text.reserve(kUuidCharacters);
    for (const char character : bytes) {
        if (has_dash_at(text.size())) text.push_back('-');
        const auto byte = static_cast<unsigned char>(character);
        text.push_back(kHexDigits[byte >> 4U]);
        text.push_back(kHexDigits[byte & 0xFU]);
    }
    return text;
}

std::string without_foreign_bytes(std::string_view text) {
    std::string shown;
    for (const char character : text) {
        const bool is_ascii = static_cast<unsigned char>(character) < 0x80;
        is_ascii ? shown.append(1, character) : shown.append("\uFFFD");
    }
    return shown;
}

}  // namespace

StoredId::StoredId(std::string_view snapshot_id) : text_(snapshot_id), is_uuid_(parse_uuid(snapshot_id, bytes_)) {}

std::variant<Blob, std::string_view> StoredId::value() const {
    if (is_uuid_) return Blob{{bytes_.data(), bytes_.size()}};
    return text_;
}

std::string readable(std::string_view stored) {
    return is_utf8(stored) ? std::string(stored) : without_foreign_bytes(stored);
}

std::string stored_id_at(const Cursor& row, int column) {
    return row.is_blob(column) ? format_uuid(row.blob(column)) : std::string(row.text(column));
}

Checksum stored_checksum_at(const Cursor& row, int column) {
    const std::string_view stored = row.blob(column);
    std::uint8_t bytes[Checksum::kBytes] = {};
    if (stored.size() == Checksum::kBytes) std::ranges::copy(stored, reinterpret_cast<char*>(bytes));
    return Checksum::from_bytes(bytes);
}

std::int64_t microseconds_between(Timestamp from, Timestamp to) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(to_column(to)) -
                                     static_cast<std::uint64_t>(to_column(from)));
}

std::int64_t to_column(Timestamp time) {
    return time.time_since_epoch().count();
}

std::optional<std::int64_t> to_column(const std::optional<Timestamp>& time) {
    if (!time) return std::nullopt;
    return to_column(*time);
}

std::optional<std::string_view> to_column(const std::optional<std::string>& text) {
    if (!text) return std::nullopt;
    return std::string_view(*text);
}

std::int64_t to_column(std::size_t count) {
    constexpr auto kMax = static_cast<std::size_t>(std::numeric_limits<std::int64_t>::max());
    return static_cast<std::int64_t>(std::min(count, kMax));
}

std::optional<std::string_view> unless_empty(std::string_view text) {
    if (text.empty()) return std::nullopt;
    return text;
}

void RowReader::require(bool is_sound, std::string_view otherwise) {
    if (!is_sound && problem_.empty()) problem_ = otherwise;
}

std::uint64_t RowReader::count() {
    const std::int64_t value = integer();
    require(value >= 0, "a count below 0");
    return static_cast<std::uint64_t>(value);
}

std::string RowReader::text() {
    const std::string_view stored = cursor_.text(column_++);
    require(is_utf8(stored), "text that is not UTF-8");
    return readable(stored);
}

std::string RowReader::object(std::string_view name, std::string& damage) {
    const std::string_view stored = cursor_.text(column_++);
    if (stored.empty() || check_stored_text(stored)) return std::string(stored);
    damage += fmt::format("{}its {} is not a JSON object", damage.empty() ? "" : ", ", name);
    return {};
}

std::string RowReader::joined_text() {
    require(!cursor_.is_null(column_), "a label that is missing");
    return text();
}

std::int64_t RowReader::epoch() {
    const std::int64_t value = integer();
    require(value >= 1, "a lease with an epoch below 1");
    return value;
}

// A time so far from all clocks that it can be subtracted from any.
Timestamp RowReader::heartbeat() {
    constexpr std::int64_t kFarthest = std::int64_t{1} << 61U;
    const std::int64_t value = integer();
    require(value >= -kFarthest && value <= kFarthest, "a lease with an impossible time");
    return Timestamp(std::chrono::microseconds(value));
}

Timestamp RowReader::time_after() {
    const auto start = static_cast<std::uint64_t>(integer());
    const auto after = static_cast<std::uint64_t>(integer());
    return Timestamp(std::chrono::microseconds(static_cast<std::int64_t>(start + after)));
}

std::optional<Timestamp> RowReader::optional_time() {
    if (!cursor_.is_null(column_)) return time();
    skip();
    return std::nullopt;
}

std::string RowReader::snapshot_id() {
    if (!cursor_.is_blob(column_)) return text();
    const std::string_view bytes = cursor_.blob(column_++);
    require(bytes.size() == kUuidBytes, "an id of the wrong length");
    return format_uuid(bytes);
}

std::int64_t RowReader::version() {
    const std::int64_t value = integer();
    require(value >= 1, "a version below 1");
    return value;
}

std::int64_t RowReader::parent_version(std::int64_t version) {
    const std::int64_t steps = integer();
    const bool is_sound = steps >= 1 && steps <= version;
    require(is_sound, "an impossible parent");
    return is_sound ? version - steps : 0;
}

std::int64_t RowReader::base_version(std::int64_t version) {
    const std::int64_t steps = integer();
    const bool is_sound = steps >= 0 && (steps == 0 || steps < version);  // otherwise a chain would not end
    require(is_sound, "an impossible base");
    return is_sound && steps != 0 ? version - steps : 0;
}

Checksum RowReader::checksum() {
    const int column = column_++;
    require(cursor_.blob(column).size() == Checksum::kBytes, "a checksum of the wrong length");
    return stored_checksum_at(cursor_, column);
}

RecoveryType RowReader::recovery_type() {
    const std::optional<RecoveryType> type = parse_recovery_type(cursor_.text(column_++));
    require(type.has_value(), "a recovery of no known type");
    return type.value_or(RecoveryType::kResume);
}

std::string RowReader::damage() const {
    return problem_.empty() ? "" : fmt::format("its record in the store holds {}", problem_);
}

Status RowReader::finish() const {
    if (problem_.empty()) return {};
    return fail(ErrorCode::kCorrupt, fmt::format("the store holds a row that cairn cannot have written: {}", problem_));
}

}  // namespace cairn::sqlite
