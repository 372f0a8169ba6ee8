#pragma once

// The members of an object and the elements of a list, read from normal text front to back. They are slices of the
// text, so every token stays as written. Keys are the same if they mean the same, however they are escaped. Safe with
// any text, but the results are only meaningful for normal text.

#include "base/text_hash.h"

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

namespace cairn {

/// Reads an object: call `next_key()` and then `take_value()`, until there is no key. One pass, no allocation.
class MemberReader {
public:
    explicit MemberReader(std::string_view object) : rest_(object) {}

    /// The key as written, with its quotes; nothing at the end.
    std::optional<std::string_view> next_key();

    /// The value of the key that was read last. With a right `guess` (the normal text of a value) it costs a memcmp.
    std::string_view take_value(std::string_view guess = {});

private:
    std::string_view rest_;
};

/// Reads a list.
class ElementReader {
public:
    explicit ElementReader(std::string_view list) : rest_(list) {}

    /// The next element; nothing at the end. `guess` as above.
    std::optional<std::string_view> next(std::string_view guess = {});

    /// The elements that have not been read, with the commas between them.
    std::string_view rest() const { return rest_.size() > 2 ? rest_.substr(1, rest_.size() - 2) : std::string_view(); }

private:
    std::string_view rest_;
};

/// The meaning of `key`, which is given as written, with its quotes. A lone surrogate, which is not a character, is
/// encoded as if it were one: different keys stay different.
[[nodiscard]] std::string unescaped_key(std::string_view key);

/// Says whether `key` means `meaning`; allocates nothing.
[[nodiscard]] bool key_means(std::string_view key, std::string_view meaning);

/// The value of the member whose key means `key`; of duplicates the last.
[[nodiscard]] std::optional<std::string_view> member_of(std::string_view object, std::string_view key);

/// Numbers keys from 0 in the order of their first appearance, in constant time for each. Holds views of the texts.
class KeyNumbers {
public:
    /// Returns the number of a key as written, with its quotes: a new number unless a key of the same meaning has one.
    std::size_t add(std::string_view key);
    std::optional<std::size_t> find(std::string_view key) const;

    std::size_t size() const { return numbers_.size(); }

private:
    std::unordered_map<std::string_view, std::size_t, TextHash> numbers_;
    std::deque<std::string> unescaped_;  ///< Meanings of the keys that are written with escapes.
};

}  // namespace cairn
