#pragma once

// The output of commands: text and JSON on standard output, errors on standard error.

#include "base/terminal_text.h"
#include "wire/json_line.h"

#include <cairn/error.h>
#include <cairn/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::cli {

/// Prints to standard output; a failure to write is noticed when the program ends.
void print(std::string_view text);
void print_line(std::string_view text);

/// Prints to standard error. A failure to write is ignored, since perhaps nobody is reading.
void print_message(std::string_view text);

/// Prints "cairn: name: message …", with the lines of a message kept, or
/// `{"error":{"code","message","detail","advice"}}`, to standard error.
void print_error(const Error& error, bool json);

/// Like `printable`, but keeps the lines: all but the first are indented.
std::string printable_lines(std::string_view text);

/// Returns `word` quoted for a shell.
std::string shell_word(const std::string& word);

/// If `path` is the keyboard ("-"), tells the person how to end the state.
void mention_keyboard(const std::string& path);

std::string format_bytes(std::uint64_t bytes);  ///< "512 B", "1.4 KiB"
std::string format_seconds(Timestamp time);     ///< "2026-11-23T16:07:47Z"

/// An array of objects, one per line, printed as the elements come.
class JsonArray {
public:
    void add(std::string_view element);
    void end();

private:
    bool empty_ = true;
};

/// Rows in columns that are as wide as their widest cell. Rows may be printed in portions: later ones keep the widths.
class Table {
public:
    enum class Align : std::uint8_t { kLeft, kRight };
    struct Column {
        std::string title;
        Align align = Align::kLeft;
    };

    explicit Table(std::vector<Column> columns);
    void add(std::vector<std::string> cells);
    /// Prints the rows added since the last time; the first time with the titles above.
    void print();

private:
    void print_row(const std::vector<std::string>& cells) const;

    std::vector<Column> columns_;
    std::vector<std::size_t> widths_;
    std::vector<std::vector<std::string>> rows_;
    bool titles_printed_ = false;
};

}  // namespace cairn::cli
