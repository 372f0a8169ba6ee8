// Goal: zstd decodes what the writer of short blocks makes of any context and any text, and the block is never larger
// than what the encoder writes instead: the text as it is, or zstd's own block and the most bytes that a short block
// leaves as they are. The same arguments give the same block.
// Method: the input holds a context, and instructions that build a text from its ranges, from the text itself and from
// new bytes. So matches are found at every distance, and distances recur.

#include "frame/short_block.h"
#include "frame/short_matches.h"
#include "frame/zstd_codec.h"
#include "fuzz_input.h"

#include <string>

namespace {

using namespace cairn;

std::string text_from(std::string_view context, fuzz::Input& input) {
    std::string text;
    while (!input.rest().empty() && context.size() + text.size() < kShortWindowBytesMax) {
        const std::uint8_t what = input.byte();
        if (what % 4 == 0) {
            text += static_cast<char>(input.byte());
        } else if (what % 4 == 1) {
            text += input.part();
        } else {  // a range of what is there already
            const std::string window = std::string(context) + text;
            const std::size_t begin = window.empty() ? 0 : (input.byte() * 257U + input.byte()) % window.size();
            text += window.substr(begin, what % 4 == 2 ? input.byte() % 16U : input.byte());
        }
    }
    return text;
}

void check(std::string_view context, std::string_view text, const std::string& block) {
    fuzz::require(block.size() < text.size());
    fuzz::require(check_zstd_blocks(block, ZstdBlocks::kOneBare, text.size()).has_value());
    std::string decoded(text.size(), '\0');
    fuzz::require(zstd_decompress_blocks(block, ZstdBlocks::kOneBare, context, decoded) && decoded == text);
}

void compare_with_zstd(std::string_view context, std::string_view text, const std::string& block) {
    constexpr int kLevel = 1;
    std::string of_zstd;
    if (!zstd_compress_blocks(text, context, kLevel, of_zstd).value()) return;
    fuzz::require(block.size() <= of_zstd.size() + kShortBlockLiteralsMax);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::string_view context = input.part();
    const std::string text = text_from(context, input);
    std::string block;
    if (!compress_short_block(context, text, block)) {
        fuzz::require(block.empty());
        return 0;
    }
    check(context, text, block);
    if (text.size() < 512) compare_with_zstd(context, text, block);
    std::string again = "before";
    fuzz::require(compress_short_block(context, text, again) && again == "before" + block);
    return 0;
}
