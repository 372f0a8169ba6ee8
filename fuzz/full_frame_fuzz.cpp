// Goal: no bytes make the decoder of the header or of the full frame crash, read out of bounds, or allocate memory
// without justification. A decoded text has the length and checksum that the header states.
// Method: the input is a frame. It is decoded once as it is, and once with the guard of its zstd body made to fit.

#include "frame/frame.h"
#include "frame/frame_header.h"
#include "fuzz_input.h"
#include "state/opaque_text.h"

#include <algorithm>
#include <string>

namespace {

using namespace cairn;

constexpr std::uint64_t kBytesMax = 1U << 20;

void decode(std::string_view frame) {
    const auto header = read_frame_header(frame);
    const auto text = decode_full_frame(frame, kBytesMax);
    if (!text) return;
    fuzz::require(header && text->size() == header->text_bytes && Checksum::of(*text) == header->checksum);
    fuzz::require(text->size() <= kBytesMax + (header->content == FrameContent::kOpaque ? kOpaqueTrailerBytesMax : 0));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string frame(reinterpret_cast<const char*>(data), size);
    decode(frame);
    const auto parsed = parse_frame(frame);
    if (parsed && parsed->header.kind == FrameKind::kFullZstd && parsed->body.size() > kGuardBytes) {
        const std::size_t guard_at = frame.size() - parsed->body.size();
        std::ranges::copy(guard_of(parsed->body.substr(kGuardBytes)), frame.data() + guard_at);
        decode(frame);
    }
    return 0;
}
