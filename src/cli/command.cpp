#include "cli/command.h"

#include "config/settings.h"

namespace cairn::cli {

std::string Cli::store_label() const {
    return without_password(config().store_url);
}

Result<std::shared_ptr<Store>> Cli::open_for_reading() const {
    return open_store(config().store_url, {.read_only = true, .create = false, .file_mode = config().file_mode, .runtime = runtime});
}

Result<std::shared_ptr<Store>> Cli::open_for_writing() const {
    return open_store(config().store_url, {.file_mode = config().file_mode, .runtime = runtime});
}

Result<std::shared_ptr<Store>> Cli::open_existing_for_writing() const {
    return open_store(config().store_url, {.create = false, .file_mode = config().file_mode, .runtime = runtime});
}

}  // namespace cairn::cli
