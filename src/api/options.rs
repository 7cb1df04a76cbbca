//! What a request may ask of a verb, as values; `from_query` parts read them from a URL.

use serde_json::Value;

use super::query::Query;
use crate::kube::fields;
pub use crate::kube::patch::Kind as PatchKind;
use crate::kube::resource::Resource;
use crate::kube::status::{Cause, Status};
use crate::model::selector::{FieldSelector, LabelSelector};
use crate::plan::command::Propagation;

/// What to do about fields that the schema does not know, and about fields that appear twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Nothing.
    Ignore,
    /// Say it in `Warning` headers.
    #[default]
    Warn,
    /// Refuse the request.
    Strict,
}

/// Options of create, update and patch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// Go all the way, but write nothing.
    pub dry_run: bool,
    /// Unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Who manages the fields.
    pub field_manager: String,
    /// Fields that the body had twice, as the decoder found them.
    pub duplicates: Vec<String>,
}

/// What must be true of an object for it to be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preconditions {
    /// Its uid.
    pub uid: Option<String>,
    /// Its version.
    pub resource_version: Option<String>,
}

/// Options of delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Go all the way, but write nothing.
    pub dry_run: bool,
    /// What must be true.
    pub preconditions: Preconditions,
    /// What happens to owned objects; `None` for the resource's default.
    pub propagation: Option<Propagation>,
    /// Grace in seconds; `None` for the object's own.
    pub grace_seconds: Option<i64>,
}

/// How `resourceVersion` of a list is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    /// At exactly this revision.
    Exact,
    /// At any revision not older.
    NotOlderThan,
}

/// What to leave out of a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// On labels.
    pub labels: LabelSelector,
    /// On fields.
    pub fields: FieldSelector,
}

/// Options of list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Which objects.
    pub selection: Selection,
    /// At most so many; 0 for all.
    pub limit: usize,
    /// Where an earlier page ended.
    pub continue_token: Option<String>,
    /// `None` where unset: the most recent data.
    pub resource_version: Option<u64>,
    /// How `resource_version` is meant.
    pub version_match: Option<VersionMatch>,
}

/// Options of watch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Which objects.
    pub selection: Selection,
    /// `None` and 0: what exists, then changes.
    pub resource_version: Option<u64>,
    /// Send bookmarks.
    pub bookmarks: bool,
    /// `Some(true)`: what exists, then an annotated bookmark, then changes. `Some(false)`: changes only.
    pub initial_events: Option<bool>,
    /// End after so many seconds; 0 for the server's choice.
    pub timeout_seconds: u64,
}

impl Selection {
    /// Whether it leaves nothing out.
    pub fn is_empty(&self) -> bool {
        self.labels.requirements.is_empty() && self.fields.terms.is_empty()
    }

    /// The one name that can be selected, where the fields say so.
    pub fn name(&self) -> Option<&str> {
        let named = self.fields.terms.iter().find(|term| term.equal && term.path == "metadata.name");
        named.map(|term| term.value.as_str())
    }

    fn from_query(query: &Query) -> Result<Self, Status> {
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        Ok(Self { labels, fields })
    }
}

impl WriteOptions {
    /// Reads `dryRun`, `fieldValidation`, `fieldManager`.
    pub fn from_query(query: &Query) -> Result<Self, Status> {
        let field_validation = match query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => return Err(unsupported("fieldValidation", other, &["Ignore", "Strict", "Warn"])),
        };
        Ok(Self {
            dry_run: dry_run(query.all("dryRun"))?,
            field_validation,
            field_manager: query.get("fieldManager").unwrap_or_default().to_owned(),
            duplicates: Vec::new(),
        })
    }
}

impl DeleteOptions {
    /// Reads a `DeleteOptions` body (null for none) and the query, which loses.
    pub fn read(query: &Query, body: &Value) -> Result<Self, Status> {
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        let in_body = body.get("dryRun").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let propagation = match text("/propagationPolicy").or_else(|| query.get("propagationPolicy")) {
            Some(policy) => Some(propagation(policy)?),
            None => orphan_dependents(query, body),
        };
        let asked = body.get("gracePeriodSeconds").and_then(Value::as_i64);
        let grace_seconds = match (asked, query.get("gracePeriodSeconds")) {
            (Some(seconds), _) => Some(seconds),
            (None, Some(text)) => Some(number("gracePeriodSeconds", text)?),
            (None, None) => None,
        };
        Ok(Self {
            dry_run: dry_run(query.all("dryRun").chain(in_body))?,
            preconditions: Preconditions {
                uid: text("/preconditions/uid").map(str::to_owned),
                resource_version: text("/preconditions/resourceVersion").map(str::to_owned),
            },
            propagation,
            grace_seconds: grace_seconds.filter(|seconds| *seconds >= 0),
        })
    }
}

impl ListOptions {
    /// Reads a list's query and checks that its parts go together.
    pub fn from_query(query: &Query) -> Result<Self, Status> {
        let version_match = match query.get("resourceVersionMatch") {
            None => None,
            Some("Exact") => Some(VersionMatch::Exact),
            Some("NotOlderThan") => Some(VersionMatch::NotOlderThan),
            Some(other) => return Err(unsupported("resourceVersionMatch", other, &["Exact", "NotOlderThan"])),
        };
        let options = Self {
            selection: Selection::from_query(query)?,
            limit: query.get("limit").map_or(Ok(0), |text| number("limit", text))?,
            continue_token: query.get("continue").map(str::to_owned),
            resource_version: revision(query)?,
            version_match,
        };
        options.check()?;
        Ok(options)
    }

    /// Whether the list is to be at exactly `resource_version`: where that is asked for, and where a page is asked for at a
    /// version without a word about how it is meant, as Kubernetes has it.
    pub fn is_exact(&self) -> bool {
        let at_version = self.resource_version.is_some_and(|version| version > 0);
        match self.version_match {
            Some(version_match) => version_match == VersionMatch::Exact,
            None => at_version && self.limit > 0,
        }
    }

    fn check(&self) -> Result<(), Status> {
        let forbidden = |why: &str| {
            let cause = Cause::forbidden("resourceVersionMatch", why);
            Err(Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause]))
        };
        match (self.version_match, self.resource_version, &self.continue_token) {
            (Some(_), _, Some(_)) => forbidden("resourceVersionMatch is forbidden when continue is provided"),
            (Some(_), None, _) => forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided"),
            (Some(VersionMatch::Exact), Some(0), _) => {
                forbidden("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"")
            }
            (None, Some(version), Some(_)) if version > 0 => {
                Err(Status::bad_request("specifying resource version is not allowed when using continue"))
            }
            _ => Ok(()),
        }
    }
}

impl WatchOptions {
    /// Reads a watch's query.
    pub fn from_query(query: &Query) -> Result<Self, Status> {
        let initial_events = query.has("sendInitialEvents").then(|| query.flag("sendInitialEvents"));
        let matching = query.get("resourceVersionMatch");
        let forbidden = |why: &str| {
            let cause = Cause::forbidden("sendInitialEvents", why);
            Err(Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause]))
        };
        match (initial_events, matching) {
            (Some(_), None | Some("Exact")) => {
                return forbidden("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
            }
            (None, Some(_)) => {
                return forbidden("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
            }
            _ => {}
        }
        Ok(Self {
            selection: Selection::from_query(query)?,
            resource_version: revision(query)?,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events,
            timeout_seconds: query.get("timeoutSeconds").map_or(Ok(0), |text| number("timeoutSeconds", text))?,
        })
    }
}

/// Refuses field selectors on fields that the resource does not offer.
pub fn check_fields(resource: &Resource, fields: &FieldSelector) -> Result<(), Status> {
    match fields.terms.iter().find(|term| !fields::selectable(resource, &term.path)) {
        None => Ok(()),
        Some(term) => Err(Status::bad_request(format!("field label not supported: {}", term.path))),
    }
}

fn revision(query: &Query) -> Result<Option<u64>, Status> {
    let Some(text) = query.get("resourceVersion") else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let cause = Cause::invalid("resourceVersion", &text.into(), "strconv.ParseUint: parsing: invalid syntax");
        Status::invalid("meta.k8s.io", "ListOptions", "", vec![cause])
    })
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Status> {
    text.parse().map_err(|_| Status::bad_request(format!("{name}: {text:?} is not a valid number")))
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, Status> {
    let mut asked = false;
    for value in values {
        match value {
            "" => {}
            "All" => asked = true,
            other => return Err(unsupported("dryRun", other, &["All"])),
        }
    }
    Ok(asked)
}

fn propagation(policy: &str) -> Result<Propagation, Status> {
    match policy {
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        "Orphan" => Ok(Propagation::Orphan),
        other => Err(unsupported("propagationPolicy", other, &["Background", "Foreground", "Orphan"])),
    }
}

fn orphan_dependents(query: &Query, body: &Value) -> Option<Propagation> {
    let flag = body.get("orphanDependents").and_then(Value::as_bool);
    let flag = flag.or_else(|| query.has("orphanDependents").then(|| query.flag("orphanDependents")))?;
    Some(if flag { Propagation::Orphan } else { Propagation::Background })
}

fn unsupported(field: &str, value: &str, allowed: &[&str]) -> Status {
    Status::invalid("meta.k8s.io", "Options", "", vec![Cause::not_supported(field, &value.into(), allowed)])
}
