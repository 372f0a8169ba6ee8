#pragma once

// The table of settings. The environment, `cairn config` and the documentation are all read through it.

#include <cairn/config.h>

#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace cairn {

/// One variable and the member of Config that it sets.
struct Setting {
    std::string_view variable;
    std::string accepts;
    std::string_view description;
    std::function<bool(std::string_view text, Config& config)> read;  ///< False: not accepted, nothing changed.
    std::function<std::string(const Config& config)> print;           ///< Hides secrets.
};

/// All settings, in the documentation's order.
std::span<const Setting> settings();

/// Returns a store URL for people and logs: a password in it becomes `***`.
std::string without_password(std::string_view url);

}  // namespace cairn
