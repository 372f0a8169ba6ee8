#include "cli/terminal/output.h"

#include "wire/record_json.h"

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace cairn::cli {
namespace {

// An agent's text keeps its lines; the next step then has a line of its own.
std::string error_text(const Error& error) {
    std::string text = "cairn: " + error.to_string();
    if (!text.contains('\n')) return printable(text);
    const std::string advice(error.next_step());
    text.resize(text.size() - advice.size());
    text.erase(text.find_last_not_of(". ") + 1);
    return printable_lines(text) + "\n" + printable(advice);
}

}  // namespace

void print(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
}

void print_line(std::string_view text) {
    print(text);
    print("\n");
}

void print_message(std::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
}

void print_error(const Error& error, bool json) {
    print_message((json ? to_line({{"error", error_object(error)}}) : error_text(error)) + "\n");
}

std::string printable_lines(std::string_view text) {
    std::string lines;
    for (std::size_t from = 0; from <= text.size();) {
        const std::size_t end = std::min(text.find('\n', from), text.size());
        lines += (from == 0 ? "" : "\n  ") + printable(text.substr(from, end - from));
        from = end + 1;
    }
    return lines;
}

std::string shell_word(const std::string& word) {
    constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@%+=,";
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
    std::string quoted = "'";
    for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return quoted + "'";
}

void mention_keyboard(const std::string& path) {
    if (path != "-" || isatty(STDIN_FILENO) != 1) return;
    print_message("cairn: reading the state from the keyboard; end it with Ctrl-D\n");
}

std::string format_bytes(std::uint64_t bytes) {
    constexpr std::array kUnits{"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) return fmt::format("{} B", bytes);
    double value = static_cast<double>(bytes) / 1024;
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < kUnits.size()) {
        value /= 1024;
        ++unit;
    }
    return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string format_seconds(Timestamp time) {
    const std::string text = format_timestamp(time);
    return text.substr(0, text.find('.')) + "Z";
}

void JsonArray::add(std::string_view element) {
    print(empty_ ? "[" : ",\n ");
    print(element);
    empty_ = false;
}

void JsonArray::end() {
    print_line(empty_ ? "[]" : "]");
}

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
    for (const Column& column : columns_) widths_.push_back(display_width(column.title));
}

void Table::add(std::vector<std::string> cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
        cells[i] = printable(cells[i]);
        widths_[i] = std::max(widths_[i], display_width(cells[i]));
    }
    rows_.push_back(std::move(cells));
}

void Table::print() {
    if (!std::exchange(titles_printed_, true)) {
        std::vector<std::string> titles;
        titles.reserve(columns_.size());
        for (const Column& column : columns_) titles.push_back(column.title);
        print_row(titles);
    }
    for (const auto& row : rows_) print_row(row);
    rows_.clear();
}

void Table::print_row(const std::vector<std::string>& cells) const {
    std::string line;
    for (std::size_t i = 0; i < cells.size(); ++i) {
        const std::string padding(widths_[i] - display_width(cells[i]), ' ');
        if (i > 0) line += "  ";
        line += columns_[i].align == Align::kRight ? padding + cells[i] : cells[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    print_line(line);
}

}  // namespace cairn::cli
