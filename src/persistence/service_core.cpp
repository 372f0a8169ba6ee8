#include "persistence/service_core.h"

#include "persistence/reading/snapshot_reader.h"
#include "persistence/save/request_rules.h"
#include "persistence/timeouts.h"

#include <chrono>
#include <utility>

namespace cairn {
namespace {

PersistenceOptions completed(PersistenceOptions options) {
    options.runtime = options.runtime.with_defaults();
    options.timeout = bounded(options.timeout);
    return options;
}

}  // namespace

ServiceCore::ServiceCore(std::shared_ptr<Store> its_store, PersistenceOptions its_options)
    : store(std::move(its_store)),
      options(completed(std::move(its_options))),
      writer(std::make_shared<SnapshotWriter>(store, options)),
      recovery(store, writer, options) {}

Status ServiceCore::check(const StatePersistenceRequest& request) const {
    return check_save_request(request, options.state_limits);
}

Deadline ServiceCore::deadline(std::optional<std::chrono::milliseconds> timeout) const {
    return std::chrono::steady_clock::now() + bounded(timeout.value_or(options.timeout));
}

std::string ServiceCore::snapshot_id(const StatePersistenceRequest& request) const {
    return request.snapshot_id.empty() ? make_snapshot_id(*options.runtime.clock, *options.runtime.random)
                                       : request.snapshot_id;
}

Result<Receipt> ServiceCore::write_standard(const StatePersistenceRequest& request, Deadline deadline) const {
    const Result<std::optional<Head>> head = store->head(request.run_id, deadline);
    if (!head) return std::unexpected(head.error());
    const std::optional<std::int64_t> required_version = writer->required_version(request);
    if (Status status = SnapshotWriter::check_head(request, *head, required_version); !status) {
        return writer->refuse(request, request.snapshot_id, std::move(status.error()), deadline);
    }
    const Result<std::optional<Snapshot>> fork = parent(request, *head, deadline);
    if (!fork) return std::unexpected(fork.error());
    Result<EncodedState> encoded = encode_full(request.state_data, FrameOptions{.compression = false});
    if (!encoded) return std::unexpected(std::move(encoded.error()));
    PreparedWrite prepared =
        SnapshotWriter::prepare(request, snapshot_id(request), options.runtime.clock->now(), std::move(*encoded),
                                *head ? (*head)->version : 0, parent_version(request, *fork, *head));
    prepared.required_version = required_version;
    return writer->write(request, std::move(prepared), deadline);
}

Result<std::optional<Snapshot>> ServiceCore::parent(const StatePersistenceRequest& request,
                                                    const std::optional<Head>& head, Deadline deadline) const {
    const bool is_fork = request.parent_snapshot_id && !(head && head->snapshot_id == *request.parent_snapshot_id);
    if (!is_fork) return std::nullopt;
    // The owner is checked first: a caller who does not own the run learns nothing of its snapshots.
    if (head) {
        if (Status status = check_owner(request, *head); !status) return std::unexpected(std::move(status.error()));
    }
    Result<std::optional<Snapshot>> found = store->get(request.run_id, *request.parent_snapshot_id, deadline);
    if (!found || *found) return found;
    return no_parent_error(request);
}

std::optional<std::int64_t> ServiceCore::parent_version(const StatePersistenceRequest& request,
                                                        const std::optional<Snapshot>& fork,
                                                        const std::optional<Head>& head) {
    if (fork) return fork->info.version;
    if (request.parent_snapshot_id && head) return head->version;
    return std::nullopt;
}

Result<ChainedState> ServiceCore::load(const LoadRequest& request, Deadline deadline) const {
    if (request.snapshot_id) return load_snapshot(*store, request, options.state_limits, deadline);
    const std::optional<std::int64_t> seen = writer->seen().find(request.run_id);
    Result<ChainedState> loaded = load_snapshot(*store, request, options.state_limits, deadline);
    if (loaded) {
        writer->seen().note_read(request.run_id, loaded->info.version, seen);
    } else if (loaded.error().code == ErrorCode::kNotFound) {
        const Result<std::optional<Head>> head =
            store->head(request.run_id, deadline);  // the run may have another owner
        if (head && !*head) writer->seen().note_read(request.run_id, 0, seen);
    }
    return loaded;
}

}  // namespace cairn
