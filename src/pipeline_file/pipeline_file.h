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
    std::map<std::string, YamlMark, std::less<>> marks;  ///< The place of each step's name.

    /// Returns "pipeline.yaml:12:5", or only the path for a step that the file does not have.
    std::string place_of(std::string_view step) const;
};

/// Reads and checks the whole file, so that the result can run where the programs are.
/// Errors: kNotFound (no such file), kInvalidArgument ("pipeline.yaml:12:5: step \"scan\": …").
[[nodiscard]] Result<PipelineFile> read_pipeline_file(const std::string& path);

/// Does the same for the text of the file at `path`. Relative working folders start in that file's folder.
[[nodiscard]] Result<PipelineFile> parse_pipeline_file(std::string_view text, const std::string& path);

}  // namespace cairn
