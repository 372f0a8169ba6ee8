#include "pipeline_file/yaml_document.h"

#include "base/terminal_text.h"
#include "state/utf8.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

namespace cairn {
namespace {

constexpr std::size_t kDepthMax = 100;  // the library's own limit is 500; the reader's recursion needs one, too

YamlMark to_mark(const YAML::Mark& mark) {
    return {.line = mark.line + 1, .column = mark.column + 1};
}

// Builds the tree from the library's events, because the library's own nodes do not show which were aliases.
class TreeBuilder : public YAML::EventHandler {
public:
    void OnDocumentStart(const YAML::Mark& mark) override {
        if (std::exchange(is_started_, true)) throw YamlProblem(to_mark(mark), "a second document: a file holds one");
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override { add({.mark = to_mark(mark)}); }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
        throw YamlProblem(to_mark(mark), "an alias (*): they are not accepted, write the value out");
    }
    void OnAnchor(const YAML::Mark& mark, const std::string& name) override {
        throw YamlProblem(to_mark(mark), fmt::format("an anchor (&{}): they are not accepted", name));
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t /*anchor*/,
                  const std::string& value) override {
        refuse_tag(mark, tag);
        const bool is_plain = tag == "?";
        if (!is_plain) last_quoted_ = to_mark(mark);
        add({.kind = YamlNode::Kind::kScalar, .mark = to_mark(mark), .text = value, .is_plain = is_plain});
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t /*anchor*/,
                         YAML::EmitterStyle::value /*style*/) override {
        begin(mark, tag, YamlNode::Kind::kList);
    }
    void OnSequenceEnd() override { end(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t /*anchor*/,
                    YAML::EmitterStyle::value /*style*/) override {
        begin(mark, tag, YamlNode::Kind::kMap);
    }
    void OnMapEnd() override { end(); }

    YamlNode take() { return std::move(root_); }
    const std::optional<YamlMark>& last_quoted() const { return last_quoted_; }

private:
    struct Open {
        YamlNode node;
        std::optional<YamlNode> key = std::nullopt;  ///< In a map: waits for its value.
        std::set<std::string> keys = {};
    };

    static void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
        if (tag.empty() || tag == "?" || tag == "!") return;
        throw YamlProblem(to_mark(mark), fmt::format("a tag ({}): they are not accepted, quote what is a string", tag));
    }

    void begin(const YAML::Mark& mark, const std::string& tag, YamlNode::Kind kind) {
        refuse_tag(mark, tag);
        if (open_.size() == kDepthMax) {
            throw YamlProblem(to_mark(mark), fmt::format("nested deeper than {} levels", kDepthMax));
        }
        open_.push_back({.node = {.kind = kind, .mark = to_mark(mark)}});
    }

    void end() {
        YamlNode node = std::move(open_.back().node);
        open_.pop_back();
        add(std::move(node));
    }

    void add(YamlNode node) {
        if (open_.empty()) {
            root_ = std::move(node);
        } else if (open_.back().node.kind == YamlNode::Kind::kList) {
            open_.back().node.items.push_back(std::move(node));
        } else if (!open_.back().key) {
            add_key(open_.back(), std::move(node));
        } else {
            add_value(open_.back(), std::move(node));
        }
    }

    static void add_key(Open& map, YamlNode key) {
        if (key.kind != YamlNode::Kind::kScalar) throw YamlProblem(key.mark, "a key that is no text");
        if (!map.keys.insert(key.text).second) {
            throw YamlProblem(key.mark, fmt::format("{} stands in this map twice", describe(key)));
        }
        map.key = std::move(key);
    }

    // For a missing value, the library gives the place of the next token.
    static void add_value(Open& map, YamlNode value) {
        YamlNode key = std::exchange(map.key, std::nullopt).value();
        if (value.kind == YamlNode::Kind::kNull) value.mark = key.mark;
        map.node.members.push_back({.key = std::move(key), .value = std::move(value)});
    }

    YamlNode root_;
    std::vector<Open> open_;
    bool is_started_ = false;
    std::optional<YamlMark> last_quoted_;
};

std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (true) {
        const auto end = text.find('\n');
        lines.push_back(text.substr(0, end));
        if (end == std::string_view::npos) return lines;
        text.remove_prefix(end + 1);
    }
}

bool is_forbidden(char c) {
    return (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\r') || c == 0x7F;
}

// The library would replace bytes that are not UTF-8, and take some control characters for the end of the file.
void check_characters(const std::vector<std::string_view>& lines) {
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const int line = static_cast<int>(i) + 1;
        if (!is_utf8(lines[i])) throw YamlProblem({.line = line}, "this line is not UTF-8");
        const auto bad = std::ranges::find_if(lines[i], is_forbidden);
        if (bad == lines[i].end()) continue;
        throw YamlProblem({.line = line, .column = static_cast<int>(bad - lines[i].begin()) + 1},
                          fmt::format("a control character (byte {:#04x})", static_cast<unsigned char>(*bad)));
    }
}

// The library closes an unclosed string at the end of the file.
void check_closed(const std::vector<std::string_view>& lines, const std::optional<YamlMark>& last_quoted) {
    if (!last_quoted) return;
    auto line = static_cast<std::size_t>(last_quoted->line) - 1;
    auto at = static_cast<std::size_t>(last_quoted->column) - 1;
    if (line >= lines.size() || at >= lines[line].size()) return;
    const char quote = lines[line][at];
    if (quote != '"' && quote != '\'') return;
    for (++at; line < lines.size(); ++line, at = 0) {
        for (; at < lines[line].size(); ++at) {
            const bool is_doubled = quote == '\'' && lines[line].substr(at).starts_with("''");
            const bool is_escape = quote == '"' && lines[line][at] == '\\';
            if (lines[line][at] == quote && !is_doubled) return;
            if (is_doubled || is_escape) ++at;
        }
    }
    throw YamlProblem(*last_quoted, fmt::format("a string that begins with {} and never ends", quote));
}

// Replaces the library's messages that users cannot understand.
std::string_view in_our_words(std::string_view message) {
    using Words = std::pair<std::string_view, std::string_view>;
    constexpr std::array kWords{
        Words{"illegal map value",
              "a \":\" where no value can begin: look at the indentation, or quote the text that holds it"},
        Words{"illegal block entry", "a \"-\" where no list can begin: look at the indentation"},
        Words{"end of map not found", "the indentation fits neither the line before nor a map around it"},
        Words{"end of sequence not found", "the indentation fits neither the line before nor a list around it"},
        Words{"end of sequence flow not found", "a list that begins with [ and is not closed where it should be"},
        Words{"end of map flow not found", "a map that begins with { and is not closed where it should be"},
        Words{"the referenced anchor is not defined", "an alias (*): they are not accepted, write the value out"},
        Words{"unknown token", "a character that no plain text begins with: quote it"},
    };
    const auto* found = std::ranges::find(kWords, message, &Words::first);
    return found == kWords.end() ? message : found->second;
}

[[noreturn]] void rethrow(const YAML::Exception& problem, const std::vector<std::string_view>& lines) {
    const YamlMark mark = problem.mark.is_null() ? YamlMark{} : to_mark(problem.mark);
    const auto line = std::min(static_cast<std::size_t>(mark.line), lines.size()) - 1;
    const auto indentation = std::min(lines[line].find_first_not_of(" \t"), lines[line].size());
    const auto tab = lines[line].substr(0, indentation).find('\t');
    if (tab != std::string_view::npos) {
        throw YamlProblem({.line = mark.line, .column = static_cast<int>(tab) + 1},
                          "a tab in the indentation: YAML wants spaces there");
    }
    throw YamlProblem(mark, std::string(in_our_words(problem.msg)));
}

}  // namespace

YamlNode parse_yaml(std::string_view text) {
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    const std::vector<std::string_view> lines = lines_of(text);
    check_characters(lines);
    TreeBuilder builder;
    try {
        std::istringstream stream{std::string(text)};
        YAML::Parser parser(stream);
        while (parser.HandleNextDocument(builder)) {
        }
    } catch (const YAML::Exception& problem) {
        rethrow(problem, lines);
    }
    check_closed(lines, builder.last_quoted());
    return builder.take();
}

std::string describe(const YamlNode& node) {
    switch (node.kind) {
        case YamlNode::Kind::kNull:
            return "nothing";
        case YamlNode::Kind::kList:
            return "a list";
        case YamlNode::Kind::kMap:
            return "a map";
        case YamlNode::Kind::kScalar:
            break;
    }
    return fmt::format("\"{}\"", shortened(node.text, 60));
}

}  // namespace cairn
