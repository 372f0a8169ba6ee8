#include <cairn/state_json.h>

#include "state/json_grammar.h"
#include "state/json_path.h"
#include "state/opaque_text.h"
#include "state/state_diagnosis.h"
#include "state/structural_index.h"
#include "state/utf8.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <new>
#include <vector>

namespace cairn {
namespace {

/// nlohmann's printer calls itself for each level, so it never gets a document deeper than this.
constexpr std::uint32_t kPrintedDepthMax = 10'000;

/// Finds values that the printer would change (NaN into null), refuse, or not survive (depth).
template <class Json>
class PrintableCheck {
public:
    explicit PrintableCheck(std::uint32_t depth_max) : depth_max_(std::min(depth_max, kPrintedDepthMax)) {}

    Status check(const Json& document) {
        Result<const Json*> value = &document;
        while (value && *value != nullptr) {
            if (Status status = check_value(**value); !status) return status;
            value = next();
        }
        if (!value) return std::unexpected(std::move(value.error()));
        return {};
    }

private:
    /// An open container, and its next value.
    struct Level {
        const Json* container;
        typename Json::const_iterator next;
    };

    /// Checks a scalar, enters a container.
    Status check_value(const Json& value) {
        if (value.is_structured()) return enter(value);
        if (value.is_string() && !is_utf8(value.template get_ref<const std::string&>())) {
            return std::unexpected(refusal("a string is not UTF-8"));
        }
        if (value.is_number_float() && !std::isfinite(value.template get<double>())) {
            return std::unexpected(refusal("NaN and infinity are not JSON"));
        }
        if (value.is_binary() || value.is_discarded()) {
            return std::unexpected(refusal("binary and discarded values are not JSON"));
        }
        return {};
    }

    Status enter(const Json& container) {
        if (levels_.size() >= depth_max_) {
            return fail(ErrorCode::kLimitExceeded,
                        fmt::format("nested deeper than depth_max={} (CAIRN_STATE_DEPTH_MAX) at {}", depth_max_,
                                    json_path(path_)));
        }
        levels_.push_back({&container, container.begin()});
        path_.push_back({.into_object = container.is_object()});
        return {};
    }

    /// Steps to the next value in the order of the text; null at the end.
    Result<const Json*> next() {
        while (!levels_.empty()) {
            Level& level = levels_.back();
            if (level.next != level.container->end()) return step(level);
            levels_.pop_back();
            path_.pop_back();
        }
        return nullptr;
    }

    Result<const Json*> step(Level& level) {
        JsonPathStep& here = path_.back();
        if (here.into_object) {
            const std::string& key = level.next.key();
            here.has_key = false;
            if (!is_utf8(key)) return std::unexpected(refusal("a key is not UTF-8"));
            here.key = key;
            here.has_key = true;
        } else {
            here.index = static_cast<std::uint64_t>(level.next - level.container->begin());
        }
        const Json* value = &*level.next;
        ++level.next;
        return value;
    }

    Error refusal(std::string_view what) const {
        return {ErrorCode::kInvalidState, fmt::format("the document is not a state at {}: {}", json_path(path_), what)};
    }

    std::uint32_t depth_max_;
    std::vector<Level> levels_;
    std::vector<JsonPathStep> path_;
};

/// Finds the number that nlohmann's reader refused: the first that is infinite as a double.
std::string place_of_huge_number(std::string_view text) {
    StructuralIndex index;
    if (index.index(text) != StructuralIndex::Outcome::kIndexed) return "an unknown place";
    const auto positions = index.positions();
    for (std::size_t i = 0; i + 1 < positions.size(); ++i) {
        const std::string token(text.substr(positions[i], positions[i + 1] - positions[i]));
        if ((token[0] == '-' || is_digit(token[0])) && std::isinf(std::strtod(token.c_str(), nullptr))) {
            return place_in_state(text, positions[i]);
        }
    }
    return "an unknown place";
}

std::unexpected<Error> refuse_at(const std::string& place, std::string_view what) {
    return fail(ErrorCode::kInvalidState, fmt::format("nlohmann::json cannot hold the state, at {}: {}", place, what));
}

std::unexpected<Error> out_of_memory_error() {
    return fail(ErrorCode::kInternal, "out of memory while converting between a state and a JSON document");
}

}  // namespace

template <class Json>
Result<State> state_from_json(const Json& document, const StateLimits& limits) try {
    if (Status printable = PrintableCheck<Json>(limits.depth_max).check(document); !printable) {
        return std::unexpected(std::move(printable.error()));
    }
    return State::parse(document.dump(), limits);
} catch (const std::bad_alloc&) {
    return out_of_memory_error();
}

template <class Json>
Result<Json> state_to_json(const State& state) try {
    if (Status status = check_is_json(state, "the state"); !status) return std::unexpected(status.error());
    return Json::parse(state.text());
} catch (const nlohmann::detail::parse_error& error) {
    // The library's message repeats its input; our messages never repeat content of a state.
    return refuse_at(place_in_state(state.text(), error.byte == 0 ? 0 : error.byte - 1), "a lone surrogate escape");
} catch (const nlohmann::detail::out_of_range&) {
    return refuse_at(place_of_huge_number(state.text()), "a number beyond the range of a double");
} catch (const std::bad_alloc&) {
    return out_of_memory_error();
}

template Result<State> state_from_json(const nlohmann::json&, const StateLimits&);
template Result<State> state_from_json(const nlohmann::ordered_json&, const StateLimits&);
template Result<nlohmann::json> state_to_json(const State&);
template Result<nlohmann::ordered_json> state_to_json(const State&);

}  // namespace cairn
