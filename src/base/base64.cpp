#include "base/base64.h"

#include <array>
#include <cstddef>
#include <cstdint>

namespace cairn {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::size_t kBytesOfGroup = 3;
constexpr std::size_t kDigitsOfGroup = 4;
constexpr std::uint8_t kNone = 0xFF;

constexpr std::array<std::uint8_t, 256> values_of_digits() {
    std::array<std::uint8_t, 256> values{};
    values.fill(kNone);
    for (std::size_t i = 0; i < kDigits.size(); ++i) {
        values[static_cast<std::uint8_t>(kDigits[i])] = static_cast<std::uint8_t>(i);
    }
    return values;
}
constexpr std::array<std::uint8_t, 256> kValues = values_of_digits();

std::uint32_t byte_at(std::string_view bytes, std::size_t at) {
    return at < bytes.size() ? static_cast<std::uint8_t>(bytes[at]) : 0;
}

}  // namespace

std::string to_base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + kBytesOfGroup - 1) / kBytesOfGroup * kDigitsOfGroup);
    for (std::size_t at = 0; at < bytes.size(); at += kBytesOfGroup) {
        const std::uint32_t group = byte_at(bytes, at) << 16U | byte_at(bytes, at + 1) << 8U | byte_at(bytes, at + 2);
        text += kDigits[group >> 18U & 63U];
        text += kDigits[group >> 12U & 63U];
        text += at + 1 < bytes.size() ? kDigits[group >> 6U & 63U] : '=';
        text += at + 2 < bytes.size() ? kDigits[group & 63U] : '=';
    }
    return text;
}

std::optional<std::string> from_base64(std::string_view text, std::size_t room) {
    if (text.size() % kDigitsOfGroup != 0) return std::nullopt;
    const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
    std::string bytes;
    bytes.reserve(text.size() / kDigitsOfGroup * kBytesOfGroup + room);
    std::uint32_t group = 0;
    for (std::size_t at = 0; at < text.size() - padding; ++at) {
        const std::uint8_t value = kValues[static_cast<std::uint8_t>(text[at])];
        if (value == kNone) return std::nullopt;
        group = group << 6U | value;
        if (at % kDigitsOfGroup != kDigitsOfGroup - 1) continue;
        bytes += static_cast<char>(group >> 16U & 0xFFU);
        bytes += static_cast<char>(group >> 8U & 0xFFU);
        bytes += static_cast<char>(group & 0xFFU);
        group = 0;
    }
    if (padding == 1) {
        if (group % 4 != 0) return std::nullopt;
        bytes += static_cast<char>(group >> 10U & 0xFFU);
        bytes += static_cast<char>(group >> 2U & 0xFFU);
    } else if (padding == 2) {
        if (group % 16 != 0) return std::nullopt;
        bytes += static_cast<char>(group >> 4U & 0xFFU);
    }
    return bytes;
}

}  // namespace cairn
