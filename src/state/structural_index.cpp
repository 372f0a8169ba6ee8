#include "state/structural_index.h"

#include <simdjson.h>

#include <algorithm>
#include <bit>

namespace cairn {
namespace {

constexpr std::size_t kReserveBytesMin = 16 * 1024;

const std::uint8_t* bytes_of(std::string_view text) {
    return reinterpret_cast<const std::uint8_t*>(text.data());
}

}  // namespace

struct StructuralIndex::Engine {
    std::unique_ptr<simdjson::internal::dom_parser_implementation> parser;
};

StructuralIndex::StructuralIndex() : engine_(std::make_unique<Engine>()) {}
StructuralIndex::~StructuralIndex() = default;

StructuralIndex::Outcome StructuralIndex::index(std::string_view text) noexcept {
    if (text.empty()) return Outcome::kRefused;
    if (!reserve(text.size())) return Outcome::kOutOfMemory;
    const auto error = engine_->parser->stage1(bytes_of(text), text.size(), simdjson::stage1_mode::regular);
    return error == simdjson::SUCCESS ? Outcome::kIndexed : Outcome::kRefused;
}

std::span<const std::uint32_t> StructuralIndex::positions() const noexcept {
    const auto& parser = *engine_->parser;
    return {parser.structural_indexes.get(), std::size_t{parser.n_structural_indexes} + 1};
}

bool StructuralIndex::reserve(std::size_t bytes) noexcept {
    auto& parser = engine_->parser;
    if (parser && parser->capacity() >= bytes) return true;
    const std::size_t capacity =
        std::min(std::bit_ceil(std::max(bytes, kReserveBytesMin)), std::size_t{simdjson::SIMDJSON_MAXSIZE_BYTES});
    constexpr std::size_t kDepthUnused = 1;  // Only the second stage uses it.
    const auto& implementation = simdjson::get_active_implementation();
    return implementation->create_dom_parser_implementation(capacity, kDepthUnused, parser) == simdjson::SUCCESS;
}

}  // namespace cairn
