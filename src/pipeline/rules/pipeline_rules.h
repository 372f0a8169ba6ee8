#pragma once

// The rules that a pipeline must satisfy before it is run.

#include <cairn/pipeline.h>

#include <functional>
#include <set>
#include <string>

namespace cairn {

/// The names that an engine knows.
struct KnownNames {
    std::set<std::string, std::less<>> agents;
    std::set<std::string, std::less<>> mergers;
};

/// Checks what `ExecutionEngine::check` promises.
/// Errors: kInvalidArgument naming the step or stage, the problem and what is accepted.
[[nodiscard]] Status check_pipeline(const Pipeline& pipeline, const KnownNames& known);

}  // namespace cairn
