#pragma once

// A pipeline as a YAML file (docs/pipelines.md has the schema).

#include "pipeline_file/yaml_document.h"

#include <cairn/pipeline.h>

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace cairn {

struct PipelineFile {
    std::string path;  ///< As given.
    Pipeline pipeline;
    std::map<std::string, CommandOptions> agents;
    std::map<std::string, YamlMark, std::less<>> marks;  ///< Where each step's name stands.

    /// "pipeline.yaml:12:5", or the path alone of a step that it does not have.
    std::string place_of(std::string_view step) const;
};

/// Reads and checks all of it, so that what it returns can run where the programs are.
/// Errors: kNotFound (no such file), kInvalidArgument ("pipeline.yaml:12:5: step \"scan\": …").
[[nodiscard]] Result<PipelineFile> read_pipeline_file(const std::string& path);

/// The same of text that stood in `path`. Relative working folders begin in that file's folder.
[[nodiscard]] Result<PipelineFile> parse_pipeline_file(std::string_view text, const std::string& path);

}  // namespace cairn
