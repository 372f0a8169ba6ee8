// Goal: decode(encode(base, text), base) is `text` for any two texts; the same in a chain and alone.
// Method: the input holds a base, and instructions that build a text from its ranges and new bytes. So the encoder
// finds the ranges that it looks for. Texts are made larger than inputs are, to reach the block matching.

#include "frame/delta_frame.h"
#include "frame/text_chain.h"
#include "fuzz_input.h"

#include <limits>
#include <string>

namespace {

using namespace cairn;

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kTextBytesMax = 64U << 10;

/// Repeats the part, each time a little different, like the items of a list.
std::string enlarged(std::string_view part, std::uint8_t times) {
    std::string text;
    for (unsigned i = 0; i <= times && text.size() < kTextBytesMax; ++i) text.append(part).append(std::to_string(i));
    return text;
}

std::string text_from(std::string_view base, fuzz::Input& input) {
    std::string text;
    while (!input.rest().empty() && text.size() < kTextBytesMax) {
        const std::uint8_t what = input.byte();
        if (what % 4 == 0) {
            text += static_cast<char>(input.byte());
        } else if (what % 4 == 1) {
            text += input.part();
        } else {  // a range of the base
            const std::size_t begin = base.empty() ? 0 : (input.byte() * 257U + input.byte()) % base.size();
            text += base.substr(begin, what % 4 == 2 ? std::size_t{input.byte()} : std::string_view::npos);
        }
    }
    return text;
}

void round_trip(const std::string& base, const std::string& text, const FrameOptions& options, TextChain& chain) {
    const auto frame = encode_delta_frame(base, text, options, kNoLimit);
    fuzz::require(frame && *frame);
    const auto decoded = decode_delta_frame(**frame, base, Checksum::of(text), text.size());
    fuzz::require(decoded && *decoded == text);
    fuzz::require(chain.apply(**frame, text.size()) && chain.text(Checksum::of(text)).value() == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::uint8_t choice = input.byte();
    const FrameOptions options{.content = choice % 16 < 8 ? FrameContent::kJson : FrameContent::kOpaque,
                               .compression = choice % 8 != 0,
                               .zstd_level_delta = choice % 8};
    const std::string base = enlarged(input.part(), input.byte());
    const std::string text = text_from(base, input);
    TextChain chain(base);
    round_trip(base, text, options, chain);
    round_trip(text, base, options, chain);
    return 0;
}
