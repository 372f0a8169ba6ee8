// Goal: no pipeline file makes its reader crash. An accepted file has steps, and places for them.
// Method: the input is the file's text.

#include "fuzz_input.h"
#include "pipeline_file/pipeline_file.h"

#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace cairn;
    const auto file = parse_pipeline_file({reinterpret_cast<const char*>(data), size}, "pipeline.yaml");
    if (!file) return 0;
    fuzz::require(file->pipeline.steps_total() > 0 && !file->pipeline.fingerprint().empty());
    for (const Stage& stage : file->pipeline.stages) {
        for (const Step& step : stage.steps) fuzz::require(!file->place_of(step.name).empty());
    }
    return 0;
}
