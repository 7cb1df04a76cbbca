//! Get and list: records at one revision, in pages that a token continues.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::select::selected;
use super::{Place, Registry, store_failure, too_large};
use crate::api::options::{ListOptions, check_fields};
use crate::kube::resource::Resource;
use crate::kube::status::Status;
use crate::model::{ObjectKey, Revision, Scope};
use crate::store::{self, Freshness, Record, Silence};

/// How long a read waits for a revision that came from another replica, as long as Kubernetes' watch cache does.
pub const FRESH_WITHIN: Duration = Duration::from_secs(3);
/// How many records a page of a selected list looks at in one go.
const SCAN: usize = 512;

/// A list, or one page of it.
#[derive(Debug, Clone)]
pub struct Listing {
    /// In key order.
    pub records: Vec<Arc<Record>>,
    /// The revision that the whole list is at.
    pub revision: Revision,
    /// Where the next page starts; `None` at the end.
    pub continue_token: Option<String>,
    /// How many more there are; `None` where a selector makes that unknown.
    pub remaining: Option<usize>,
    /// Where it may not be the newest.
    pub stale: Option<Stale>,
}

/// A read without a quorum: of this node's copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale(pub Silence);

impl fmt::Display for Stale {
    /// For a `Warning` header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Silence { lasts, since_start } = self.0;
        let begin = if since_start { ", not since this node started" } else { "" };
        write!(
            f,
            "the cluster has no quorum: this is what one node has and may be stale; no leader was heard for {} s{begin}",
            lasts.as_secs()
        )
    }
}

/// Where a page ended.
#[derive(Serialize, Deserialize)]
struct Token {
    /// Revision of the whole list; 0 where it may be a newer one.
    rv: u64,
    /// Namespace of the last object.
    ns: String,
    /// Name of the last object.
    start: String,
}

impl Registry {
    /// One object; the most recent version unless an older one will do (`at_least` given).
    pub async fn get(&self, place: &Place<'_>, at_least: Option<u64>) -> Result<(Arc<Record>, Option<Stale>), Status> {
        let stale = self.wait_for(at_least).await?;
        // That it is not here may be as stale as what is.
        let missing = || Status { warning: stale.map(|stale| stale.to_string()), ..place.not_found() };
        Ok((self.store.get(&place.key()).ok_or_else(missing)?, stale))
    }

    /// Objects of a resource, in one namespace where it is not empty.
    pub async fn list(
        &self,
        resource: &'static Resource,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<Listing, Status> {
        check_fields(resource, &options.selection.fields)?;
        let scope = scope(resource, namespace, options.selection.name());
        if let Some(token) = &options.continue_token {
            let token = decode_token(token)?;
            // The page before may have come from a replica that is ahead of this one.
            self.wait_for(Some(token.rv)).await?;
            return self.next_page(resource, &scope, &token, options);
        }
        let stale = self.wait_for(options.resource_version).await?;
        if options.is_exact() {
            let at = options.resource_version.map(Revision);
            return self.page(resource, &scope, at, None, options).map_err(PageError::into_status);
        }
        let listing = self.page(resource, &scope, None, None, options).map_err(PageError::into_status)?;
        Ok(Listing { stale, ..listing })
    }

    fn next_page(
        &self,
        resource: &'static Resource,
        scope: &Scope,
        token: &Token,
        options: &ListOptions,
    ) -> Result<Listing, Status> {
        let after = resource.key(&token.ns, &token.start);
        let at = Some(token.rv).filter(|revision| *revision > 0).map(Revision);
        self.page(resource, scope, at, Some(after), options).map_err(|error| match error {
            PageError::Store(store::Error::Compacted { .. }) => expired_token(token),
            error => error.into_status(),
        })
    }

    fn page(
        &self,
        resource: &'static Resource,
        scope: &Scope,
        at: Option<Revision>,
        mut after: Option<ObjectKey>,
        options: &ListOptions,
    ) -> Result<Listing, PageError> {
        if options.selection.is_empty() {
            let page = self.store.list(scope, at, after.as_ref(), options.limit)?;
            let (records, remaining) = (page.records, page.remaining);
            return Ok(listing(records, page.revision, remaining > 0, Some(remaining)));
        }
        let chunk = if options.limit == 0 { 0 } else { SCAN };
        let (mut at, mut records) = (at, Vec::new());
        loop {
            let page = self.store.list(scope, at, after.as_ref(), chunk)?;
            at = Some(page.revision);
            for record in page.records {
                if options.limit > 0 && records.len() == options.limit {
                    return Ok(listing(records, page.revision, true, None));
                }
                after = Some(record.key.clone());
                if selected(resource, &options.selection, &record)? {
                    records.push(record);
                }
            }
            if page.remaining == 0 {
                return Ok(listing(records, page.revision, false, None));
            }
        }
    }

    /// Waits until reads are as recent as asked: the most recent (`None`), or not older than a revision (0: any). A revision
    /// that this replica has not applied yet is waited for, at most [`FRESH_WITHIN`]. Where the quorum is lost the most
    /// recent is what there is here, and the answer says so.
    pub async fn wait_for(&self, at_least: Option<u64>) -> Result<Option<Stale>, Status> {
        let Some(wanted) = at_least else {
            let freshness = self.store.refresh().await.map_err(|error| store_failure(&error))?;
            return Ok(match freshness {
                Freshness::Newest(_) => None,
                Freshness::Stale(silence) => Some(Stale(silence)),
            });
        };
        match self.store.reach(Revision(wanted), FRESH_WITHIN).await {
            Err(store::Error::Future { newest }) => Err(too_large(&format!("{wanted}, current: {newest}"))),
            Err(error) => Err(store_failure(&error)),
            Ok(()) => Ok(None),
        }
    }
}

#[derive(Debug)]
enum PageError {
    Store(store::Error),
    Status(Status),
}

impl PageError {
    fn into_status(self) -> Status {
        match self {
            Self::Store(error) => store_failure(&error),
            Self::Status(status) => status,
        }
    }
}

impl From<store::Error> for PageError {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Status> for PageError {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// What a list or watch covers.
pub(super) fn scope(resource: &Resource, namespace: &str, name: Option<&str>) -> Scope {
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    let mut scope = Scope::resource(resource.storage(), namespace);
    scope.name = name.map(Into::into);
    scope
}

fn listing(records: Vec<Arc<Record>>, revision: Revision, more: bool, remaining: Option<usize>) -> Listing {
    let continue_token = records.last().filter(|_| more).map(|last| {
        encode_token(&Token { rv: revision.0, ns: last.key.namespace.to_string(), start: last.key.name.to_string() })
    });
    let remaining = remaining.filter(|_| continue_token.is_some());
    Listing { records, revision, remaining, continue_token, stale: None }
}

fn encode_token(token: &Token) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).unwrap_or_default())
}

fn decode_token(text: &str) -> Result<Token, Status> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    bytes
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| Status::bad_request("continue key is not valid: the token was not issued by this server"))
}

/// 410 with a token that continues at the newest revision instead, as the protocol allows.
fn expired_token(token: &Token) -> Status {
    let fresh = Token { rv: 0, ns: token.ns.clone(), start: token.start.clone() };
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.continue_token = Some(encode_token(&fresh));
    status
}
