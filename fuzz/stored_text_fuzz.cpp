// Goal: text from a store never makes a reader read out of bounds, whether it is a state or not. Text that passes the
// check is what `State::parse` would keep.
// Method: the input is cut into texts. Each is given to the check and, as it is, to all code that walks over normal
// text.

#include "fuzz_input.h"
#include "state/json_diff.h"
#include "state/json_pointer.h"
#include "state/json_value.h"
#include "state/normal_text.h"
#include "state/state_equality.h"
#include "state/state_members.h"
#include "state/state_merge.h"
#include "store/batch_rules.h"

#include <cairn/state.h>

#include <limits>
#include <string>

namespace {

using namespace cairn;

constexpr StateLimits kAnyDepth{.depth_max = std::numeric_limits<std::uint32_t>::max()};

bool is_stored_text(const std::string& text) {
    const bool passes = check_stored_text(text).has_value();
    const auto parsed = State::parse(text, kAnyDepth);
    fuzz::require(passes == (parsed && parsed->text() == text));
    return passes;
}

void walk(const std::string& text) {
    MemberReader members(text);
    for (int i = 0; i < 1000 && members.next_key(); ++i) static_cast<void>(members.take_value());
    ElementReader elements(text);
    for (int i = 0; i < 1000 && elements.next(); ++i) static_cast<void>(elements.rest());
    static_cast<void>(unescaped_key(text));
    static_cast<void>(key_means(text, "key"));
    static_cast<void>(normal_json_value(text));
    static_cast<void>(has_members(text, {{"a", "1"}}));
    static_cast<void>(find(State::from_normal_text(std::string(text)), "/a/0/b"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const std::string first(input.part());
    const std::string second(input.rest());
    const bool are_stored = is_stored_text(first) && is_stored_text(second);
    walk(first);
    walk(second);
    static_cast<void>(json_equal(first, second));
    const auto merged =
        merge_patch(State::from_normal_text(std::string(first)), State::from_normal_text(std::string(second)));
    bool differ = false;
    diff_json(first, second, [&](const JsonChange& /*change*/) { differ = true; });
    if (!are_stored) return 0;
    fuzz::require(!merged || is_stored_text(std::string(merged->text())));
    fuzz::require(differ == (first != second));
    return 0;
}
