#include "pipeline/agents/error_stream.h"

#include "pipeline/agents/readable_text.h"

#include <algorithm>

namespace cairn {
namespace {

constexpr std::string_view kLineBreaks = "\r\n";  // progress bars are lines that end with \r
constexpr std::size_t kCharacterBytesMax = 4;

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kWhiteSpace = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kWhiteSpace);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kWhiteSpace) + 1 - first);
}

// Removes the rest of a character whose front was cut off.
std::string_view from_character(std::string_view text) {
    const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; };
    const auto first = std::ranges::find_if_not(text.substr(0, kCharacterBytesMax - 1), continues);
    return text.substr(static_cast<std::size_t>(first - text.begin()));
}

}  // namespace

void ErrorStream::add(std::string_view block) {
    keep_tail(block);
    while (!block.empty()) {
        const std::size_t line_break = block.find_first_of(kLineBreaks);
        add_to_line(block.substr(0, line_break));
        if (line_break == std::string_view::npos) return;
        end_line();
        block.remove_prefix(line_break + 1);
    }
}

void ErrorStream::finish() {
    end_line();
}

std::string ErrorStream::tail() const {
    const std::string_view text = is_cut_ ? from_character(tail_) : std::string_view(tail_);
    return readable_text(trimmed(text), 3 * kTailBytes);
}

void ErrorStream::keep_tail(std::string_view block) {
    if (block.size() > kTailBytes) {
        block.remove_prefix(block.size() - kTailBytes);
        is_cut_ = true;
    }
    const std::size_t surplus = tail_.size() + block.size() - std::min(tail_.size() + block.size(), kTailBytes);
    if (surplus > 0) is_cut_ = true;
    tail_.erase(0, surplus);
    tail_.append(block);
}

// Keeps a few bytes more than are reported, so that a character at the cut is seen whole.
void ErrorStream::add_to_line(std::string_view part) {
    line_.append(part.substr(0, kLineBytesMax + kCharacterBytesMax - line_.size()));
}

void ErrorStream::end_line() {
    if (!line_.empty() && progress_) progress_(readable_text(line_, kLineBytesMax));
    line_.clear();
}

}  // namespace cairn
