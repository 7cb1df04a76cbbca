//! Parameters of requests, described once for both dialects.

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub name: &'static str,
    pub place: Place,
    /// `string`, `integer` or `boolean`.
    pub kind: &'static str,
    pub description: &'static str,
}

const fn query(name: &'static str, kind: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, kind, description }
}

const fn path(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Path, kind: "string", description }
}

pub(super) const NAME: Parameter = path("name", "The object's name.");
pub(super) const NAMESPACE: Parameter = path("namespace", "The namespace that the objects live in.");
pub(super) const PRETTY: Parameter = query("pretty", "string", "`true` asks for indented JSON.");

const DRY_RUN: Parameter =
    query("dryRun", "string", "`All` runs every check and answers as if the write had happened, but stores nothing.");
const FIELD_MANAGER: Parameter =
    query("fieldManager", "string", "Who makes the change, at most 128 printable characters.");
const FIELD_VALIDATION: Parameter = query(
    "fieldValidation",
    "string",
    "What to do about unknown and duplicate fields: `Ignore` them, `Warn` (the default), or refuse the request (`Strict`).",
);
const CONTINUE: Parameter = query("continue", "string", "The token of the last page, to read the next one.");
const FIELD_SELECTOR: Parameter =
    query("fieldSelector", "string", "Only objects whose fields match, e.g. `metadata.name=a`.");
const LABEL_SELECTOR: Parameter =
    query("labelSelector", "string", "Only objects whose labels match, e.g. `app=web,!legacy`.");
const LIMIT: Parameter = query("limit", "integer", "At most so many objects in one page.");
const RESOURCE_VERSION: Parameter =
    query("resourceVersion", "string", "Which version of the collection to read, or to watch from.");
const RESOURCE_VERSION_MATCH: Parameter =
    query("resourceVersionMatch", "string", "How `resourceVersion` is meant: `Exact` or `NotOlderThan`.");
const SEND_INITIAL_EVENTS: Parameter =
    query("sendInitialEvents", "boolean", "Begin a watch with the objects that exist, ended by a bookmark.");
const SHARD_SELECTOR: Parameter = query("shardSelector", "string", "Only objects of one shard of the collection.");
const TIMEOUT: Parameter = query("timeoutSeconds", "integer", "End the request after so many seconds.");
const BOOKMARKS: Parameter =
    query("allowWatchBookmarks", "boolean", "Allow events of type BOOKMARK, which only say how far a watch has come.");
const WATCH: Parameter = query("watch", "boolean", "Stream changes instead of returning a list.");
const GRACE: Parameter =
    query("gracePeriodSeconds", "integer", "Time for the object to end by itself; 0 removes it at once.");
const IGNORE_READ_ERROR: Parameter = query(
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "boolean",
    "Delete even an object that can no longer be read. Finalizers and preconditions are ignored then.",
);
const ORPHAN: Parameter = query("orphanDependents", "boolean", "Old form of `propagationPolicy=Orphan`.");
const PROPAGATION: Parameter = query(
    "propagationPolicy",
    "string",
    "What becomes of dependents: `Orphan` keeps them, `Background` deletes them afterwards, `Foreground` before.",
);
const FORCE: Parameter = query("force", "boolean", "For apply: take fields over from other managers.");

/// Of `list`, and of watches.
pub(super) const LIST: &[Parameter] = &[
    BOOKMARKS,
    CONTINUE,
    FIELD_SELECTOR,
    LABEL_SELECTOR,
    LIMIT,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    SHARD_SELECTOR,
    TIMEOUT,
    WATCH,
];

/// Of `create` and `update`.
pub(super) const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];

/// Of `patch`.
pub(super) const PATCH: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE];

/// Of `delete`.
pub(super) const DELETE: &[Parameter] = &[DRY_RUN, GRACE, IGNORE_READ_ERROR, ORPHAN, PROPAGATION];

/// Of `deletecollection`.
pub(super) const DELETE_COLLECTION: &[Parameter] = &[
    CONTINUE,
    DRY_RUN,
    FIELD_SELECTOR,
    GRACE,
    IGNORE_READ_ERROR,
    LABEL_SELECTOR,
    LIMIT,
    ORPHAN,
    PROPAGATION,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    SHARD_SELECTOR,
    TIMEOUT,
];

/// Of a pod's `log`.
pub(super) const LOG: &[Parameter] = &[
    query("container", "string", "Which container; may be left out where there is one."),
    query("follow", "boolean", "Go on with new lines as they come."),
    query("insecureSkipTLSVerifyBackend", "boolean", "Do not verify the certificate of the node that has the log."),
    query("limitBytes", "integer", "End after so many bytes."),
    query("previous", "boolean", "The log of the container's last run."),
    query("sinceSeconds", "integer", "Only lines of the last so many seconds."),
    query("stream", "string", "Which stream: `All`, `Stdout` or `Stderr`."),
    query("tailLines", "integer", "Only so many lines from the end."),
    query("timestamps", "boolean", "Begin every line with its time."),
];

/// Of a pod's `exec`.
pub(super) const EXEC: &[Parameter] = &[
    query("command", "string", "The command, one parameter a word; no shell is involved."),
    query("container", "string", "Which container; may be left out where there is one."),
    query("stderr", "boolean", "Send the command's errors."),
    query("stdin", "boolean", "Pass input to the command."),
    query("stdout", "boolean", "Send the command's output."),
    query("tty", "boolean", "Run the command on a terminal."),
];
