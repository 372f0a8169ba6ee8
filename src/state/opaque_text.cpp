#include "state/opaque_text.h"

#include "base/counted.h"

#include <fmt/format.h>

#include <algorithm>

namespace cairn {
namespace {

bool is_type_tag(std::string_view text) {
    const auto is_printable = [](char c) { return c > ' ' && c <= '~'; };
    return !text.empty() && text.size() <= kTypeTagBytesMax && std::ranges::all_of(text, is_printable);
}

}  // namespace

Status check_type_tag(std::string_view field, std::string_view type_tag) {
    if (is_type_tag(type_tag)) return {};
    std::string shown(type_tag.substr(0, kTypeTagBytesMax));
    std::ranges::replace_if(shown, [](char c) { return c < ' ' || c > '~'; }, '?');
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} is \"{}\" ({}): give 1 to {} printable ASCII characters without spaces", field, shown,
                            counted(type_tag.size(), "byte"), kTypeTagBytesMax));
}

void append_type_tag(std::string& bytes, std::string_view type_tag) {
    bytes += type_tag;
    bytes += static_cast<char>(type_tag.size());
}

Status check_opaque_text(std::string_view stored_text) {
    const std::size_t tag_bytes = stored_text.empty() ? 0 : static_cast<unsigned char>(stored_text.back());
    if (tag_bytes < stored_text.size()) {
        if (is_type_tag(stored_text.substr(stored_text.size() - 1 - tag_bytes, tag_bytes))) return {};
    }
    return fail(ErrorCode::kCorrupt, "its text is not that of an opaque state");
}

OpaqueText parts_of(std::string_view stored_text) noexcept {
    const std::size_t tag_bytes = static_cast<unsigned char>(stored_text.back());
    const std::size_t bytes = stored_text.size() - 1 - tag_bytes;
    return {.bytes = stored_text.substr(0, bytes), .type_tag = stored_text.substr(bytes, tag_bytes)};
}

bool is_ciphertext(const State& state) noexcept {
    return state.type_tag().contains('+');
}

Status check_is_json(const State& state, std::string_view what) {
    if (!state.is_opaque()) return {};
    return fail(ErrorCode::kInvalidState,
                fmt::format("{} is an opaque state of type \"{}\": give a JSON object", what, state.type_tag()));
}

Result<State> require_json(Result<State> state, std::string_view what) {
    if (!state) return state;
    if (Status status = check_is_json(*state, what); !status) return std::unexpected(std::move(status.error()));
    return state;
}

}  // namespace cairn
