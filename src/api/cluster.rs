//! The cluster's own paths, `/shoal/v1/...`: members, tokens, the authority. For administrators only.
//!
//! Answers are plain JSON; failures are `Status`, as everywhere.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer;
use super::authz::is_administrator;
use super::backup;
use super::body::{self, Body};
use super::query::percent_decode;
use super::service::{Incoming, Service};
use crate::kube::decode::{self, Format, Limits};
use crate::kube::status::Status;
use crate::mesh::member::{Life, Member, View};

/// Lifetime of a token where the request names none.
pub const DEFAULT_TOKEN_TTL: Duration = Duration::from_hours(24);
/// Longest lifetime of a token: it is a secret that lies around.
pub const MAX_TOKEN_TTL: Duration = Duration::from_hours(365 * 24);
/// Most uses of a token that may be counted.
pub const MAX_TOKEN_USES: u32 = 100_000;
/// How long an answer may take; the cluster has no quorum then, most likely.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest name of a node or id of a token, in bytes.
const MAX_NAME_BYTES: usize = 253;
/// Bound on a body: two numbers.
const BODY: Limits = Limits { max_bytes: 4096, max_depth: 4, max_nodes: 32 };

/// What the node knows and does about the cluster. Every call may take until the quorum answers.
#[async_trait]
pub trait Cluster: Send + Sync + 'static {
    /// The members as this node sees them; see [`members`] for the shape.
    async fn members(&self) -> Result<Value, Status>;

    /// The quorum and the control actors: `{"me", "term", "revision", "leader", "replicas": [{"node", "raftId", "standing",
    /// "matched", "lag"}], "disk": {"syncP99Micros", "full"}, "actors": [{"name", "node", "epoch", "state", "failures",
    /// "queue", "lastAction": {"at", "what"}}]}`; `matched` and `lag` are null but on the leader.
    async fn quorum(&self) -> Result<Value, Status>;

    /// The fingerprint of the cluster's authority: which cluster this is.
    fn fingerprint(&self) -> String;

    /// How this node's replica is: `{"recoveries", "leads", "revision"}`; `leads` is true only with a quorum.
    async fn recovery(&self) -> Result<Value, Status>;

    /// Rebuilds a lost quorum from this node's log: `{"dryRun", "node", "revision", "term", "recoveries", "replicas":
    /// [{"node", "raftId", "voter", "reachable", "revision", "behind", "becomes"}], "givenUp"}`. The node restarts its part
    /// soon after. 409 with the reason where it must not be.
    async fn recover(&self, dry_run: bool) -> Result<Value, Status>;

    /// Says where a control actor should run: on that voter while it answers, or on any. 404 where there is no such
    /// actor, 409 where the node does not vote.
    async fn move_actor(&self, actor: &str, node: Option<&str>) -> Result<Value, Status>;

    /// Removes a member for good: nobody talks to it from now on. 404 where there is none, 409 for the only voter.
    async fn leave(&self, name: &str) -> Result<Value, Status>;

    /// Makes a token that lets nodes in: `{"token", "id", "expires"}`. `uses` is `None` for any number.
    async fn create_token(&self, ttl: Duration, uses: Option<u32>) -> Result<Value, Status>;

    /// The tokens, without their secrets: `{"items": [{"id", "created", "expires", "usesLeft"}]}`; `usesLeft` is null
    /// where uses are not counted.
    async fn tokens(&self) -> Result<Value, Status>;

    /// Ends a token. 404 where there is none.
    async fn revoke_token(&self, id: &str) -> Result<Value, Status>;

    /// Begins to replace the cluster's authority by a new one, with an overlap.
    async fn rotate_authority(&self) -> Result<Value, Status>;
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ask {
    Members,
    Quorum,
    Recovery,
    Recover,
    Backup,
    Restore,
    MoveActor(String),
    Leave(String),
    CreateToken,
    Tokens,
    RevokeToken(String),
    RotateAuthority,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TokenRequest {
    ttl_seconds: Option<u64>,
    uses: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MoveRequest {
    node: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
struct RecoverRequest {
    dry_run: bool,
}

/// Whether a path is one of the cluster's own.
pub fn is_cluster_path(path: &str) -> bool {
    path.split('/').find(|part| !part.is_empty()) == Some("shoal")
}

/// Serves a path of the cluster's own.
pub async fn serve(service: &Service, path: &str, incoming: Incoming) -> Result<Response<Body>, Status> {
    // Controllers pass the authorizer, but nothing here is theirs to do.
    if !is_administrator(&incoming.caller.identity) {
        return Err(Status::new(403, "Forbidden", "forbidden: only administrators may see and change the cluster"));
    }
    let ask = parse(incoming.method.as_str(), path)?;
    let cluster = service.cluster.get().cloned().ok_or_else(unavailable)?;
    if ask == Ask::Backup {
        return backup::backup(service, cluster.fingerprint()).await;
    }
    let perform = async {
        match ask {
            Ask::Restore => backup::restore(service, incoming).await,
            ask => perform(cluster, ask, incoming.body).await,
        }
    };
    let answer = tokio::time::timeout(PATIENCE, perform).await;
    let value = answer.map_err(|_| Status::new(504, "Timeout", "the cluster did not answer in time"))??;
    Ok(answer::response("application/json", value.to_string()))
}

async fn perform(cluster: Arc<dyn Cluster>, ask: Ask, body: Body) -> Result<Value, Status> {
    match ask {
        Ask::Members => cluster.members().await,
        Ask::Quorum => cluster.quorum().await,
        // Served before: they need the store.
        Ask::Backup | Ask::Restore => Err(Status::no_such_path()),
        Ask::Recovery => cluster.recovery().await,
        Ask::Recover => {
            let wanted: RecoverRequest = read(body).await?;
            cluster.recover(wanted.dry_run).await
        }
        Ask::MoveActor(actor) => {
            let wanted: MoveRequest = read(body).await?;
            cluster.move_actor(&actor, wanted.node.as_deref()).await
        }
        Ask::Leave(name) => cluster.leave(&name).await,
        Ask::Tokens => cluster.tokens().await,
        Ask::RevokeToken(id) => cluster.revoke_token(&id).await,
        Ask::RotateAuthority => cluster.rotate_authority().await,
        Ask::CreateToken => {
            let (ttl, uses) = token_request(body).await?;
            cluster.create_token(ttl, uses).await
        }
    }
}

fn unavailable() -> Status {
    let mut status = Status::new(503, "ServiceUnavailable", "this node is no member of a mesh (yet)");
    status.retry_after_seconds = Some(1);
    status
}

fn parse(method: &str, path: &str) -> Result<Ask, Status> {
    let parts: Vec<String> =
        path.split('/').filter(|part| !part.is_empty()).map(|part| percent_decode(part, false)).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let ["shoal", "v1", rest @ ..] = parts.as_slice() else { return Err(Status::no_such_path()) };
    match (method, rest) {
        ("GET" | "HEAD", ["members"]) => Ok(Ask::Members),
        ("GET" | "HEAD", ["quorum"]) => Ok(Ask::Quorum),
        ("GET" | "HEAD", ["recover"]) => Ok(Ask::Recovery),
        ("POST", ["recover"]) => Ok(Ask::Recover),
        ("GET", ["backup"]) => Ok(Ask::Backup),
        ("POST", ["restore"]) => Ok(Ask::Restore),
        ("POST", ["actors", actor, "move"]) => Ok(Ask::MoveActor(name(actor)?)),
        ("POST", ["members", node, "leave"]) => Ok(Ask::Leave(name(node)?)),
        ("GET" | "HEAD", ["tokens"]) => Ok(Ask::Tokens),
        ("POST", ["tokens"]) => Ok(Ask::CreateToken),
        ("DELETE", ["tokens", id]) => Ok(Ask::RevokeToken(name(id)?)),
        ("POST", ["authority", "rotate"]) => Ok(Ask::RotateAuthority),
        (
            _,
            ["members" | "tokens" | "quorum" | "recover" | "backup" | "restore"]
            | ["members", _, "leave"]
            | ["actors", _, "move"]
            | ["tokens", _]
            | ["authority", "rotate"],
        ) => {
            Err(Status::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource"))
        }
        _ => Err(Status::no_such_path()),
    }
}

/// A name that may be written into messages and logs.
fn name(text: &str) -> Result<String, Status> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.len() <= MAX_NAME_BYTES && text.chars().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Status::bad_request("a name has at most 253 letters, digits, '-', '_' and '.'"))
}

/// What a body asks for; an empty one asks for the defaults.
async fn read<T: Default + serde::de::DeserializeOwned>(body: Body) -> Result<T, Status> {
    let bytes = body::read(body).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    let value = decode::decode(&bytes, Format::Json, BODY)?.value;
    // A list would be taken for the fields in their order.
    if !value.is_object() {
        return Err(Status::bad_request("the body must be an object"));
    }
    serde_json::from_value(value).map_err(|error| Status::bad_request(error.to_string()))
}

/// Lifetime and uses that a body asks for; an empty body asks for the defaults.
async fn token_request(body: Body) -> Result<(Duration, Option<u32>), Status> {
    let request: TokenRequest = read(body).await?;
    let ttl = request.ttl_seconds.map_or(DEFAULT_TOKEN_TTL, Duration::from_secs);
    if ttl.is_zero() || ttl > MAX_TOKEN_TTL {
        let longest = MAX_TOKEN_TTL.as_secs();
        return Err(Status::bad_request(format!("ttl_seconds must be 1 to {longest}")));
    }
    if request.uses.is_some_and(|uses| uses == 0 || uses > MAX_TOKEN_USES) {
        return Err(Status::bad_request(format!("uses must be 1 to {MAX_TOKEN_USES}")));
    }
    Ok((ttl, request.uses))
}

/// Members as JSON: `{"me", "localHealth", "items": [...]}`, by name. Times are RFC 3339, round trips microseconds.
pub fn members(view: &View) -> Value {
    let items: Vec<Value> = view.members.values().map(member).collect();
    json!({ "me": &*view.me.0, "localHealth": view.local_health, "items": items })
}

fn member(member: &Member) -> Value {
    let meta = &member.meta;
    json!({
        "name": &*member.node.0,
        "state": state(member.life),
        "since": member.since.rfc3339_micro(),
        "generation": member.generation,
        "incarnation": member.incarnation,
        "roundTripMicros": member.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        "version": meta.release,
        "protocol": meta.protocol,
        "role": meta.role,
        "addresses": meta.addresses,
        "zone": meta.zone,
        "podCIDR": meta.pod_cidr,
        "capacityMillicores": meta.capacity_millicores,
        "capacityBytes": meta.capacity_bytes,
        "loadMillicores": meta.load_millicores,
    })
}

/// A life as it is written: `alive`, `suspect`, `dead`, `left`.
fn state(life: Life) -> &'static str {
    match life {
        Life::Alive => "alive",
        Life::Suspect => "suspect",
        Life::Dead => "dead",
        Life::Left => "left",
    }
}
