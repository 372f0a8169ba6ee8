#include "settings.h"

#include "errors.h"

#include <cairn/config.h>
#include <cairn/dotenv.h>

#include <pybind11/stl.h>

#include <map>
#include <optional>
#include <string>

namespace cairn::python {

namespace py = pybind11;

namespace {

using Variables = std::map<std::string, std::string>;

// `variables`: instead of the process environment, which need not be what `os.environ` says.
LoadedConfig load(const Variables& variables, const std::string& dotenv) {
    const EnvironmentLookup look_up = [&](const std::string& name) -> std::optional<std::string> {
        const auto found = variables.find(name);
        if (found == variables.end()) return std::nullopt;
        return found->second;
    };
    return value_of(load_config(look_up, dotenv));
}

py::list entries_of(const LoadedConfig& loaded) {
    py::list entries;
    for (const ConfigEntry& entry : loaded.entries) {
        entries.append(
            py::make_tuple(entry.variable, entry.value, to_string(entry.origin), entry.accepts, entry.description));
    }
    return entries;
}

Durability durability_of(const std::string& text) {
    const auto durability = parse_durability(text);
    if (!durability) {
        raise({.code = ErrorCode::kInvalidArgument,
               .message = "durability is \"" + text + "\": give sync, async or exit"});
    }
    return *durability;
}

}  // namespace

void bind_config(py::module_& module) {
    py::class_<Config>(module, "Config")
        .def(py::init<>())
        .def("__copy__", [](const Config& config) { return config; })
        .def_readwrite("enable_optimized_persistence", &Config::enable_optimized_persistence)
        .def_readwrite("cache_max_size", &Config::cache_max_size)
        .def_readwrite("enable_deduplication", &Config::enable_deduplication)
        .def_readwrite("enable_compression", &Config::enable_compression)
        .def_readwrite("enable_monitoring", &Config::enable_monitoring)
        .def_readwrite("store_url", &Config::store_url)
        .def_readwrite("cache_max_bytes", &Config::cache_max_bytes)
        .def_readwrite("state_bytes_max", &Config::state_bytes_max)
        .def_readwrite("state_depth_max", &Config::state_depth_max)
        .def_readwrite("latest_only", &Config::latest_only)
        .def_property(
            "durability", [](const Config& config) { return to_string(config.durability); },
            [](Config& config, const std::string& text) { config.durability = durability_of(text); })
        .def_property(
            "timeout_ms", [](const Config& config) { return config.timeout.count(); },
            [](Config& config, std::int64_t timeout) { config.timeout = std::chrono::milliseconds(timeout); })
        .def_property_readonly("log_level", [](const Config& config) { return to_string(config.log_level); });
    py::class_<LoadedConfig>(module, "LoadedConfig")
        .def_readonly("config", &LoadedConfig::config)
        .def_property_readonly("entries", &entries_of);
    module.def("read_dotenv", [](const std::string& path) { return value_of(read_dotenv(path)); }, py::arg("path"));
    module.def("load_config", &load, py::arg("variables"), py::arg("dotenv"));
}

}  // namespace cairn::python
