#include "store/scheme_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace cairn {
namespace {

bool is_scheme_name(std::string_view name) {
    constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz";
    constexpr std::string_view kAccepted = "abcdefghijklmnopqrstuvwxyz0123456789+-.";
    return !name.empty() && kLetters.contains(name.front()) &&
           name.find_first_not_of(kAccepted) == std::string_view::npos;
}

}  // namespace

Status SchemeTable::add(StoreScheme scheme) {
    if (!is_scheme_name(scheme.name)) {
        return fail(ErrorCode::kInvalidArgument,
                    fmt::format("the scheme \"{}\" is not a name: give lower-case letters, digits, \"+\", \"-\" and "
                                "\".\", a letter first",
                                scheme.name));
    }
    if (!scheme.open) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("the scheme \"{}\" has no open function", scheme.name));
    }
    const MutexLock lock(mutex_);
    if (std::ranges::find(schemes_, scheme.name, &StoreScheme::name) != schemes_.end()) {
        return fail(ErrorCode::kAlreadyExists, fmt::format("the scheme \"{}\" has an engine already", scheme.name));
    }
    schemes_.push_back(std::move(scheme));
    return {};
}

// The text after the scheme is not shown: it can hold a password.
Result<StoreScheme> SchemeTable::find(std::string_view url) const {
    const std::size_t colon = url.find(':');
    const MutexLock lock(mutex_);
    if (colon == std::string_view::npos) {
        return fail(ErrorCode::kInvalidArgument, fmt::format("store URL \"{}\": give {}", url, usages()));
    }
    const std::string_view name = url.substr(0, colon);
    const auto found = std::ranges::find(schemes_, name, &StoreScheme::name);
    if (found != schemes_.end()) return *found;
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("store URL of scheme \"{}:\" is unknown in this build: give {}", name, usages()));
}

// "sqlite:PATH, memory: or example:NAME"
std::string SchemeTable::usages() const {
    std::string text;
    for (std::size_t i = 0; i < schemes_.size(); ++i) {
        const std::string_view before = i == 0 ? "" : i + 1 == schemes_.size() ? " or " : ", ";
        text += fmt::format("{}{}", before, schemes_[i].usage);
    }
    return text;
}

}  // namespace cairn
