#include "support/power_loss_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cairn::test {
namespace {

namespace fs = std::filesystem;

// The one instance that exists. There can be only one, because it is the default VFS.
std::atomic<PowerLossVfs*> current = nullptr;

std::optional<std::uint64_t> id_of(const fs::path& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) return std::nullopt;
    return status.st_ino;
}

std::string read_whole(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_at(std::string& content, std::size_t offset, std::string_view bytes) {
    if (content.size() < offset + bytes.size()) content.resize(offset + bytes.size());
    content.replace(offset, bytes.size(), bytes);
}

// Decides what becomes of each sector of one folder. Every loss favours one outcome: with even chances for many
// sectors, "all of it" and "none of it" would never come up.
class Fate {
public:
    explicit Fate(const DiskImage::Loss& loss) : random_(loss.seed), sector_bytes_(loss.sector_bytes) {
        static constexpr std::array kKept = {0, 10, 50, 90, 100};
        static constexpr std::array kGarbled = {0, 0, 5, 30};
        kept_percent_ = kKept[random_() % kKept.size()];
        garbled_percent_ = kGarbled[random_() % kGarbled.size()];
    }

    bool is_kept() { return chance(kept_percent_); }

    void write(std::string& content, std::size_t offset, std::string_view bytes) {
        while (!bytes.empty()) {
            const std::size_t count = std::min(bytes.size(), sector_bytes_ - offset % sector_bytes_);
            write_sector(content, offset, bytes.substr(0, count));
            bytes.remove_prefix(count);
            offset += count;
        }
    }

private:
    bool chance(int percent) { return static_cast<int>(random_() % 100) < percent; }

    void write_sector(std::string& content, std::size_t offset, std::string_view bytes) {
        if (chance(garbled_percent_)) return garble(content, offset, bytes);
        if (is_kept()) write_at(content, offset, bytes);
    }

    // Half of the time the write is torn: only its first bytes are new. Otherwise its bytes are rubbish.
    void garble(std::string& content, std::size_t offset, std::string_view bytes) {
        if (random_() % 2 == 0) return write_at(content, offset, bytes.substr(0, random_() % bytes.size()));
        std::string rubbish(bytes);
        for (char& byte : rubbish) byte = static_cast<char>(random_());
        write_at(content, offset, rubbish);
    }

    std::mt19937_64 random_;
    std::size_t sector_bytes_;
    int kept_percent_ = 0;
    int garbled_percent_ = 0;
};

}  // namespace

void DiskImage::write_survivor(const fs::path& folder, const Loss& loss) const {
    Fate fate(loss);
    std::map<FileId, std::string> contents;
    for (const auto& [id, file] : files_) {
        std::string& content = contents[id] = file.synced;
        for (const Change& change : file.unsynced) {
            if (change.bytes) {
                fate.write(content, change.offset, *change.bytes);
            } else if (fate.is_kept()) {
                content.resize(change.offset);
            }
        }
    }
    std::set<std::string> all_names;
    for (const Names* names : {&synced_names_, &names_}) {
        for (const auto& [name, id] : *names) all_names.insert(name);
    }
    for (const std::string& name : all_names) {
        const Names& names = fate.is_kept() ? names_ : synced_names_;
        const auto found = names.find(name);
        if (found == names.end()) continue;
        std::ofstream(folder / name, std::ios::binary) << contents.at(found->second);
    }
}

PowerLossVfs::PowerLossVfs(fs::path folder) : folder_(std::move(folder)), folder_id_(id_of(folder_).value()) {
    for (const auto& entry : fs::directory_iterator(folder_)) {
        disk_.files_[id_of(entry.path()).value()].synced = read_whole(entry.path());
    }
    disk_.synced_names_ = list_names();
    current = this;
}

PowerLossVfs::~PowerLossVfs() {
    current = nullptr;
    for (const int pin : pins_) ::close(pin);
}

void PowerLossVfs::watch(Watcher watcher) {
    const std::lock_guard lock(mutex_);
    watcher_ = std::move(watcher);
}

void PowerLossVfs::ignore_syncs(bool ignored) {
    const std::lock_guard lock(mutex_);
    ignores_syncs_ = ignored;
}

// Syncs arrive through `on_sync`.
int PowerLossVfs::on_call(DiskCall& call) {
    const DiskOperation operation = call.operation;
    const bool opens = operation == DiskOperation::kOpen;
    const bool changes = operation == DiskOperation::kWrite || operation == DiskOperation::kTruncate ||
                         operation == DiskOperation::kDelete;
    if ((!opens && !changes) || !is_watched(call)) return call.forward();
    if (operation == DiskOperation::kDelete) {
        {
            const std::lock_guard lock(mutex_);
            tell(operation, false, fs::path(call.path).filename());
        }
        return call.forward();  // which may sync the folder
    }
    const std::lock_guard lock(mutex_);
    if (changes) tell(operation, false, fs::path(call.path).filename());
    const int result_code = call.forward();
    if (result_code != SQLITE_OK) return result_code;
    opens ? note_opened(call) : note_change(call);
    return result_code;
}

bool PowerLossVfs::is_watched(const DiskCall& call) const {
    return call.path != nullptr && fs::path(call.path).parent_path() == folder_;
}

void PowerLossVfs::tell(DiskOperation operation, bool is_after, const std::string& file) {
    if (watcher_) watcher_({.operation = operation, .is_after = is_after, .file = file}, [this] { return take(); });
}

void PowerLossVfs::note_opened(const DiskCall& call) {
    const FileId id = id_of(call.path).value();
    *call.note = id;
    if (disk_.files_.contains(id)) return;
    disk_.files_[id];
    // Closing a descriptor of this kind (O_PATH) releases no lock of the file; closing any other would.
    pins_.push_back(::open(call.path, O_PATH | O_CLOEXEC));
}

void PowerLossVfs::note_change(const DiskCall& call) {
    DiskImage::Change change{.offset = static_cast<std::size_t>(call.offset), .bytes = std::nullopt};
    if (call.operation == DiskOperation::kWrite) change.bytes = call.bytes;
    disk_.files_[*call.note].unsynced.push_back(std::move(change));
}

int PowerLossVfs::on_sync(int descriptor) {
    PowerLossVfs* const vfs = current;
    struct stat status{};
    if (vfs != nullptr && ::fstat(descriptor, &status) == 0) vfs->sync(status.st_ino);
    return 0;
}

void PowerLossVfs::sync(FileId file) {
    const std::lock_guard lock(mutex_);
    const bool is_folder = file == folder_id_;
    const auto found = disk_.files_.find(file);
    if (!is_folder && found == disk_.files_.end()) return;
    std::string name;
    for (const auto& [its_name, id] : list_names()) {
        if (id == file) name = its_name;
    }
    tell(DiskOperation::kSync, false, name);
    if (ignores_syncs_) return;
    if (is_folder) {
        disk_.synced_names_ = list_names();
    } else {
        DiskImage::File& synced = found->second;
        for (const DiskImage::Change& change : synced.unsynced) {
            change.bytes ? write_at(synced.synced, change.offset, *change.bytes) : synced.synced.resize(change.offset);
        }
        synced.unsynced.clear();
    }
    tell(DiskOperation::kSync, true, name);
}

DiskImage PowerLossVfs::take() const {
    DiskImage image = disk_;
    image.names_ = list_names();
    return image;
}

// Lists the files that were opened through this VFS. The shared memory beside a database is not one of them.
DiskImage::Names PowerLossVfs::list_names() const {
    DiskImage::Names names;
    for (const auto& entry : fs::directory_iterator(folder_)) {
        const auto id = id_of(entry.path());
        if (id && disk_.files_.contains(*id)) names[entry.path().filename()] = *id;
    }
    return names;
}

}  // namespace cairn::test

extern "C" int fsync(int descriptor) {
    return cairn::test::PowerLossVfs::on_sync(descriptor);
}

extern "C" int fdatasync(int descriptor) {
    return cairn::test::PowerLossVfs::on_sync(descriptor);
}
