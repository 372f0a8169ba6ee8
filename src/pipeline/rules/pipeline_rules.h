#pragma once

// What a pipeline must look like before it is run.

#include <cairn/pipeline.h>

#include <functional>
#include <set>
#include <string>

namespace cairn {

/// What an engine knows, by name.
struct KnownNames {
    std::set<std::string, std::less<>> agents;
    std::set<std::string, std::less<>> mergers;
};

/// As `ExecutionEngine::check` promises.
/// Errors: kInvalidArgument naming the step or stage, what is wrong with it and what is accepted.
[[nodiscard]] Status check_pipeline(const Pipeline& pipeline, const KnownNames& known);

}  // namespace cairn
