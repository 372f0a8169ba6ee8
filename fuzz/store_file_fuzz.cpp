// Goal: whatever values are in a store's rows, every reader answers or reports the error, and everything that is
// returned as a state is one.
// Method: the input changes cells of a sound store's file through the engine, with checksums of frames made to fit.
// Then all readers are called, and a save, a recovery and a deletion are tried.

#include "frame/frame.h"
#include "fuzz_input.h"
#include "pipeline/run/run_progress.h"
#include "state/normal_text.h"
#include "state/opaque_text.h"
#include "store/sqlite/sqlite_store.h"

#include <cairn/persistence.h>
#include <cairn/retention.h>

#include <sqlite3.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <unistd.h>

namespace {

using namespace cairn;
namespace fs = std::filesystem;

constexpr std::array kCells{
    "UPDATE snapshots SET version = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET parent_steps = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET base_steps = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET label_key = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET created_after = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET expires_at = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET snapshot_id = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET state_bytes = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET checksum = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET execution_context = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET metadata = ?1 WHERE sequence = ?2",
    "UPDATE snapshots SET frame = ?1 WHERE sequence = ?2",
    "UPDATE runs SET run_id = ?1 WHERE run_key = ?2",
    "UPDATE runs SET thread_id = ?1 WHERE run_key = ?2",
    "UPDATE runs SET created_at = ?1 WHERE run_key = ?2",
    "UPDATE runs SET snapshots = ?1 WHERE run_key = ?2",
    "UPDATE runs SET head_version = ?1 WHERE run_key = ?2",
    "UPDATE runs SET head_sequence = ?1 WHERE run_key = ?2",
    "UPDATE runs SET head_snapshot_id = ?1 WHERE run_key = ?2",
    "UPDATE runs SET head_state_bytes = ?1 WHERE run_key = ?2",
    "UPDATE runs SET head_expires_at = ?1 WHERE run_key = ?2",
    "UPDATE snapshot_labels SET checkpoint_type = ?1 WHERE label_key = ?2",
    "UPDATE snapshot_labels SET agent_phase = ?1 WHERE label_key = ?2",
    "UPDATE snapshot_labels SET is_recovery_point = ?1 WHERE label_key = ?2",
    "INSERT OR REPLACE INTO leases VALUES('r', ?1, ?2, 0)",
    "INSERT OR REPLACE INTO leases VALUES('r', 'ann/1/2/m/x', ?1, ?2)",
    "INSERT OR REPLACE INTO leases VALUES('r', 'ann', ?2, ?1)",
    "UPDATE recovery_log SET recovery_type = ?1 WHERE recovery_key = ?2",
    "UPDATE snapshot_labels SET state_type = ?1 WHERE label_key = ?2",
};

// Two runs of a few snapshots each, with deltas, metadata and a recovery.
std::string make_sound_file(const fs::path& path) {
    const auto store = open_sqlite_store(path).value();
    OptimizedStatePersistence service(store);
    for (int i = 0; i < 8; ++i) {
        const std::string text =
            R"({"step":)" + std::to_string(i) + R"(,"notes":[")" + std::string(500, 'n') + R"("]})";
        const auto saved = service.save_agent_state({.run_id = i % 2 == 0 ? "r" : "s",
                                                     .thread_id = "t",
                                                     .user_id = "u",
                                                     .state_data = State::parse(text).value(),
                                                     .metadata = State::parse(R"({"label":1})").value()});
        fuzz::require(saved.has_value());
    }
    fuzz::require(service.recover_agent_state({.run_id = "r", .recovery_type = RecoveryType::kRestart}).has_value());
    fuzz::require(service.close().has_value() && store->close().has_value());
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

struct Bench {
    fs::path folder =
        fs::path(::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp") / ("cairn-fuzz-" + std::to_string(::getpid()));
    fs::path path = folder / "cairn.db";
    std::string sound;

    Bench() {
        fs::create_directories(folder);
        sound = make_sound_file(path);
    }
    ~Bench() {
        std::error_code ignored;
        fs::remove_all(folder, ignored);
    }
    Bench(const Bench&) = delete;
    Bench& operator=(const Bench&) = delete;
};

FrameContent content_of(std::uint8_t choice) {
    return choice % 2 == 0 ? FrameContent::kJson : FrameContent::kOpaque;
}

// A number, text, bytes, NULL or a frame of bytes whose checksum fits.
void bind(sqlite3_stmt* statement, fuzz::Input& input) {
    const std::uint8_t kind = input.byte();
    std::int64_t number = 0;
    for (int i = 0; i < kind % 9; ++i)
        number = static_cast<std::int64_t>(static_cast<std::uint64_t>(number) << 8U) | input.byte();
    const std::string bytes(input.part());
    const int size = static_cast<int>(bytes.size());
    if (kind % 5 == 0) sqlite3_bind_int64(statement, 1, number);
    if (kind % 5 == 1) sqlite3_bind_text(statement, 1, bytes.data(), size, SQLITE_TRANSIENT);
    if (kind % 5 == 2) sqlite3_bind_blob(statement, 1, bytes.data(), size, SQLITE_TRANSIENT);
    if (kind % 5 != 4) return;
    const std::string frame =
        encode_full_frame(bytes, Checksum::of(bytes), {.content = content_of(kind), .compression = false}).value();
    sqlite3_bind_blob(statement, 1, frame.data(), static_cast<int>(frame.size()), SQLITE_TRANSIENT);
}

// A frame alone is refused by the record's checksum: this makes the record fit.
void make_record_fit(sqlite3* database, const std::string& text, std::int64_t sequence, FrameContent content) {
    const Checksum checksum = Checksum::of(text);
    const auto bytes = checksum.to_bytes();
    const std::string frame = encode_full_frame(text, checksum, {.content = content, .compression = false}).value();
    sqlite3_stmt* statement = nullptr;
    sqlite3_prepare_v2(database,
                       "UPDATE snapshots SET frame = ?1, checksum = ?2, state_bytes = ?3, base_steps = 0 "
                       "WHERE sequence = ?4",
                       -1, &statement, nullptr);
    sqlite3_bind_blob(statement, 1, frame.data(), static_cast<int>(frame.size()), SQLITE_TRANSIENT);
    sqlite3_bind_blob(statement, 2, bytes.data(), static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 3, static_cast<std::int64_t>(text.size()));
    sqlite3_bind_int64(statement, 4, sequence);
    sqlite3_step(statement);
    sqlite3_finalize(statement);
}

void change(const fs::path& path, fuzz::Input& input) {
    sqlite3* database = nullptr;
    sqlite3_open(path.c_str(), &database);
    sqlite3_exec(database, "PRAGMA synchronous = OFF", nullptr, nullptr, nullptr);
    for (int i = 0; i < 8 && !input.rest().empty(); ++i) {
        const std::uint8_t what = input.byte();
        const std::int64_t row = input.byte() % 12;
        if (what % 64 == kCells.size()) {
            make_record_fit(database, std::string(input.part()), row, content_of(what / 64));
        }
        if (what % 64 >= kCells.size()) continue;
        sqlite3_stmt* statement = nullptr;
        sqlite3_prepare_v2(database, kCells[what % 64], -1, &statement, nullptr);
        sqlite3_bind_int64(statement, 2, row);
        bind(statement, input);
        sqlite3_step(statement);
        sqlite3_finalize(statement);
    }
    sqlite3_close(database);
}

void read_all(const std::shared_ptr<Store>& store) {
    StatePersistenceService standard(store);
    OptimizedStatePersistence optimized(store);
    const StateLimits limits{.bytes_max = 1U << 20};
    static_cast<void>(check_deep(*store, Deadline::max(), limits));
    static_cast<void>(store->stats(Deadline::max()));
    static_cast<void>(store->threads({}, Deadline::max()));
    const auto runs = store->runs({}, Deadline::max());
    for (const char* run_id : {"r", "s"}) {
        static_cast<void>(store->head(run_id, Deadline::max()));
        static_cast<void>(store->lease(run_id, Deadline::max()));
        static_cast<void>(store->recovery_log(run_id, 10, Deadline::max()));
        const auto history = store->history({.run_id = run_id, .metadata = {}}, Deadline::max());
        static_cast<void>(store->history({.run_id = run_id, .metadata = {{"label", "1"}}}, Deadline::max()));
        for (const SnapshotInfo& info : history.value_or(std::vector<SnapshotInfo>())) {
            fuzz::require(info.metadata.empty() || check_stored_text(info.metadata));
            static_cast<void>(RunProgress::parse(info.metadata));
            const auto loaded = standard.load_agent_state({.run_id = run_id, .snapshot_id = info.snapshot_id});
            fuzz::require(!loaded || (loaded->state.is_opaque() ? check_opaque_text(loaded->state.stored_text())
                                                                : check_stored_text(loaded->state.text())));
        }
        static_cast<void>(optimized.load_agent_state({.run_id = run_id}));
        static_cast<void>(optimized.save_agent_state(
            {.run_id = run_id, .thread_id = "t", .user_id = "u", .state_data = State::parse(R"({"a":1})").value()}));
        static_cast<void>(standard.recover_agent_state({.run_id = run_id}));
    }
    static_cast<void>(prune(*store, {.keep_last = 1}));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Bench bench;
    for (const char* suffix : {"-wal", "-shm"}) fs::remove(fs::path(bench.path) += suffix);
    std::ofstream(bench.path, std::ios::binary) << bench.sound;
    fuzz::Input input(data, size);
    change(bench.path, input);
    const auto store = open_sqlite_store(bench.path);
    if (store) read_all(*store);
    return 0;
}
