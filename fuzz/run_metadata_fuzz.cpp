// Goal: whatever is in a snapshot's metadata, a pipeline reads its progress from it or refuses it, and writes the
// progress that it reads again as it was.
// Method: the input is the metadata.

#include "fuzz_input.h"
#include "pipeline/run/run_progress.h"
#include "state/normal_text.h"

#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cairn;
    const std::string metadata(reinterpret_cast<const char*>(data), size);
    const std::optional<RunProgress> progress = RunProgress::parse(metadata);
    if (!progress || !check_stored_text(metadata)) return 0;
    const State written = progress->to_metadata();
    fuzz::require(check_stored_text(written.text()).has_value());
    const std::optional<RunProgress> again = RunProgress::parse(written.text());
    fuzz::require(again && again->to_metadata().text() == written.text());
    return 0;
}
