//! Questions about oneself: who am I, what may I do. They are asked by creating an object that is answered, not stored.

use serde_json::{Value, json};

use super::authz::{Action, Authorizer, Named};
use super::identity::Identity;
use crate::kube::resource::{Resource, TABLE, Verb, id};
use crate::kube::status::{Cause, Status};

/// Whether a resource is a question.
pub fn is_review(resource: &Resource) -> bool {
    matches!(resource.id, id::SELF_SUBJECT_REVIEWS | id::SELF_SUBJECT_ACCESS_REVIEWS | id::SELF_SUBJECT_RULES_REVIEWS)
}

/// Answers a question: the body with its status.
///
/// # Errors
/// 422 where the question does not say what it is about.
pub fn answer(
    resource: &'static Resource,
    mut body: Value,
    identity: &Identity,
    authorizer: &dyn Authorizer,
) -> Result<Value, Status> {
    let status = match resource.id {
        id::SELF_SUBJECT_REVIEWS => json!({ "userInfo": { "username": &*identity.user, "groups": groups(identity) } }),
        id::SELF_SUBJECT_ACCESS_REVIEWS => access(&body, identity, authorizer)?,
        _ => rules(identity, authorizer),
    };
    let Some(fields) = body.as_object_mut() else {
        return Err(Status::bad_request(format!("the body of a {} must be an object", resource.kind)));
    };
    fields.insert("apiVersion".into(), resource.api_version().into());
    fields.insert("kind".into(), resource.kind.into());
    fields.entry("metadata").or_insert_with(|| json!({}));
    fields.insert("status".into(), status);
    Ok(body)
}

/// Every user is also in the group of those who are known.
fn groups(identity: &Identity) -> Vec<String> {
    let own = identity.groups.iter().map(|group| group.to_string());
    own.chain(["system:authenticated".to_owned()]).collect()
}

fn access(body: &Value, identity: &Identity, authorizer: &dyn Authorizer) -> Result<Value, Status> {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let about_path = body.pointer("/spec/nonResourceAttributes").is_some_and(Value::is_object);
    if !about_path && !body.pointer("/spec/resourceAttributes").is_some_and(Value::is_object) {
        let cause = Cause::required("spec.resourceAttributes", "one of resourceAttributes or nonResourceAttributes");
        return Err(Status::invalid("authorization.k8s.io", "SelfSubjectAccessReview", "", vec![cause]));
    }
    let (verb, path) = if about_path {
        (text("/spec/nonResourceAttributes/verb"), text("/spec/nonResourceAttributes/path"))
    } else {
        (text("/spec/resourceAttributes/verb"), "")
    };
    let of = |name: &str| text(&format!("/spec/resourceAttributes/{name}"));
    let row = TABLE.iter().find(|row| row.id.group == of("group") && row.id.plural == of("resource"));
    // What no row names is asked as a path that nobody but an administrator may use.
    let object = row.filter(|_| !about_path).map(|resource| Named {
        resource,
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
    });
    let allowed = authorizer.allows(&Action { identity, verb: known(verb), path, object });
    Ok(json!({ "allowed": allowed }))
}

/// The verb as authorization knows it.
fn known(verb: &str) -> &'static str {
    let all = [Verb::Create, Verb::Delete, Verb::DeleteCollection, Verb::Get, Verb::List, Verb::Patch, Verb::Update];
    let found = all.into_iter().chain([Verb::Watch]).map(Verb::as_str).find(|known| *known == verb);
    found.unwrap_or(if verb == "head" { "head" } else { "other" })
}

fn rules(identity: &Identity, authorizer: &dyn Authorizer) -> Value {
    let may = |resource: &'static Resource, verb: Verb| {
        let object = Named { resource, subresource: "", namespace: "", name: "" };
        authorizer.allows(&Action { identity, verb: verb.as_str(), path: "", object: Some(object) })
    };
    let each: Vec<(&Resource, Vec<&str>)> = TABLE
        .iter()
        .map(|row| (row, row.verbs.iter().filter(|verb| may(row, **verb)).map(|verb| verb.as_str()).collect()))
        .collect();
    let everything = each.iter().all(|(row, verbs)| verbs.len() == row.verbs.len());
    let resources: Vec<Value> = if everything {
        vec![json!({ "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] })]
    } else {
        let some = each.iter().filter(|(_, verbs)| !verbs.is_empty());
        some.map(|(row, verbs)| json!({ "apiGroups": [row.id.group], "resources": [row.id.plural], "verbs": verbs }))
            .collect()
    };
    let urls: &[&str] =
        if everything { &["*"] } else { &["/api", "/apis", "/healthz", "/livez", "/openapi", "/readyz", "/version"] };
    let verbs: &[&str] = if everything { &["*"] } else { &["get"] };
    json!({
        "resourceRules": resources, "nonResourceRules": [{ "nonResourceURLs": urls, "verbs": verbs }],
        "incomplete": false,
    })
}
