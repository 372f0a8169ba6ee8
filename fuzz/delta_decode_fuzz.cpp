// Goal: no bytes make the delta decoder crash, read out of bounds, or allocate memory without justification.
// Method: the input holds a base and two frames without guards. They get fitting guards, so that all of the decoder is
// reached, and are applied in a row. A decoded text must have the length that its header claims.

#include "frame/frame_header.h"
#include "frame/text_chain.h"
#include "fuzz_input.h"
#include "state/opaque_text.h"

#include <string>

namespace {

using namespace cairn;

constexpr std::uint64_t kBytesMax = 1U << 20;

std::string with_guard(std::string_view body) {
    const auto guard = guard_of(body);
    return std::string(body).append(guard.data(), guard.size());
}

void check_apply(TextChain& chain, const std::string& frame) {
    const std::size_t before = chain.text_bytes();
    if (chain.apply(frame, kBytesMax)) {
        const FrameHeader header = *read_frame_header(frame);
        fuzz::require(chain.text_bytes() == header.text_bytes);
        fuzz::require(chain.text_bytes() <=
                      kBytesMax + (header.content == FrameContent::kOpaque ? kOpaqueTrailerBytesMax : 0));
    } else {
        fuzz::require(chain.text_bytes() == before);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::string base(input.part());
    const std::string first(input.part());
    TextChain chain(base);
    check_apply(chain, first);  // as it is: its guard hardly ever fits
    check_apply(chain, with_guard(first));
    check_apply(chain, with_guard(input.rest()));
    fuzz::require(!chain.text(Checksum{}));  // walks over every piece; no text has this checksum
    return 0;
}
