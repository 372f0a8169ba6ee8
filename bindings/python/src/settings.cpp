#include "settings.h"

#include "errors.h"

#include <cairn/config.h>
#include <cairn/dotenv.h>

#include <pybind11/stl.h>

#include <optional>
#include <string>

namespace cairn::python {

namespace py = pybind11;

namespace {

// Bytes that are not UTF-8 become lone surrogates in Python, like in `os.environ`.
py::str text_of(const std::string& bytes) {
    auto text = py::reinterpret_steal<py::str>(
        PyUnicode_DecodeFSDefaultAndSize(bytes.data(), static_cast<Py_ssize_t>(bytes.size())));
    if (!text) throw py::error_already_set();
    return text;
}

std::string bytes_of(const std::string& name, py::handle value) {
    if (PyUnicode_Check(value.ptr()) == 0) {
        throw py::type_error(name + " must be a str, not " + Py_TYPE(value.ptr())->tp_name);
    }
    const auto bytes = py::reinterpret_steal<py::bytes>(PyUnicode_EncodeFSDefault(value.ptr()));
    if (!bytes) throw py::error_already_set();
    return bytes;
}

// `variables` replaces the process environment, which may differ from `os.environ`. Only cairn's variables are read:
// the others are none of our business, and may hold anything.
LoadedConfig load(const py::dict& variables, const std::string& dotenv) {
    const EnvironmentLookup look_up = [&](const std::string& name) -> std::optional<std::string> {
        if (!variables.contains(name)) return std::nullopt;
        return bytes_of(name, variables[name.c_str()]);
    };
    std::vector<std::string> names;
    for (const auto& [name, value] : variables) {
        const bool is_text = PyUnicode_Check(name.ptr()) != 0 && PyUnicode_IS_ASCII(name.ptr()) != 0;
        if (is_text) names.push_back(py::cast<std::string>(name));
    }
    return value_of(load_config(look_up, dotenv, names));
}

py::dict variables_of(const std::string& path) {
    py::dict variables;
    for (const auto& [name, value] : value_of(read_dotenv(path)).values) variables[text_of(name)] = text_of(value);
    return variables;
}

py::list entries_of(const LoadedConfig& loaded) {
    py::list entries;
    for (const ConfigEntry& entry : loaded.entries) {
        entries.append(py::make_tuple(entry.variable, text_of(entry.value), to_string(entry.origin), entry.accepts,
                                      entry.description));
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
        .def_readwrite("file_mode", &Config::file_mode)
        .def_readwrite("ignore_key_order", &Config::ignore_key_order)
        .def_property(
            "durability", [](const Config& config) { return to_string(config.durability); },
            [](Config& config, const std::string& text) { config.durability = durability_of(text); })
        .def_property(
            "timeout_ms", [](const Config& config) { return config.timeout.count(); },
            [](Config& config, std::int64_t timeout) { config.timeout = std::chrono::milliseconds(timeout); })
        .def_property_readonly("log_level", [](const Config& config) { return to_string(config.log_level); });
    py::class_<LoadedConfig>(module, "LoadedConfig")
        .def_readonly("config", &LoadedConfig::config)
        .def_property_readonly("entries", &entries_of)
        .def_property_readonly("warnings", [](const LoadedConfig& loaded) {
            py::list warnings;
            for (const std::string& warning : loaded.warnings) warnings.append(text_of(warning));
            return warnings;
        });
    module.def("read_dotenv", &variables_of, py::arg("path"));
    module.def("reads_dotenv_in", &reads_dotenv_in, py::arg("environment"));
    module.def("load_config", &load, py::arg("variables"), py::arg("dotenv"));
}

}  // namespace cairn::python
