//! From a URL's path to a row of the resource table, pure.

use crate::api::query::percent_decode;
use crate::kube::resource::{self, Resource, Subresource};

/// Bound on the length of a path, in bytes.
pub const MAX_PATH_BYTES: usize = 4096;

/// What a path names.
#[derive(Debug, Clone)]
pub enum Route {
    /// Objects of a resource.
    Resource(Target),
    /// Anything else: health, version, discovery, documents.
    Other,
    /// A path below a group that names no resource.
    Unknown,
}

/// A collection, an object or a subresource of one.
#[derive(Debug, Clone)]
pub struct Target {
    /// The row.
    pub resource: &'static Resource,
    /// Empty for cluster-scoped objects and for all namespaces.
    pub namespace: String,
    /// `None` for a collection.
    pub name: Option<String>,
    /// `None` for the object itself.
    pub subresource: Option<&'static Subresource>,
    /// The deprecated `/watch/` form.
    pub watch: bool,
}

/// Reads a path.
pub fn parse(path: &str) -> Route {
    if path.len() > MAX_PATH_BYTES {
        return Route::Unknown;
    }
    let segments: Vec<String> =
        path.split('/').filter(|part| !part.is_empty()).map(|part| percent_decode(part, false)).collect();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => below("", version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => below(group, version, rest),
        _ => Route::Other,
    }
}

fn below(group: &str, version: &str, rest: &[&str]) -> Route {
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let target = match rest {
        ["namespaces", namespace, plural, rest @ ..] if !is_namespace_subresource(plural) => {
            target(group, version, plural, Some(namespace), rest)
        }
        [plural, rest @ ..] => target(group, version, plural, None, rest),
        [] => None,
    };
    target.map_or(Route::Unknown, |target| Route::Resource(Target { watch, ..target }))
}

fn is_namespace_subresource(part: &str) -> bool {
    resource::find("", "v1", "namespaces").is_some_and(|row| row.subresource(part).is_some())
}

fn target(group: &str, version: &str, plural: &str, namespace: Option<&str>, rest: &[&str]) -> Option<Target> {
    let resource = resource::find(group, version, plural)?;
    if namespace.is_some() && !resource.namespaced {
        return None;
    }
    let (name, subresource) = match rest {
        [] => (None, None),
        [name] => (Some(*name), None),
        [name, sub] => (Some(*name), Some(resource.subresource(sub)?)),
        _ => return None,
    };
    if name.is_some() && resource.namespaced && namespace.is_none() {
        return None;
    }
    Some(Target {
        resource,
        namespace: namespace.unwrap_or_default().to_owned(),
        name: name.map(str::to_owned),
        subresource,
        watch: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expect: &str) {
        let found = match parse(path) {
            Route::Other => "other".to_owned(),
            Route::Unknown => "unknown".to_owned(),
            Route::Resource(t) => format!(
                "{}{}|{}|{}|{}",
                if t.watch { "watch " } else { "" },
                t.resource.id,
                t.namespace,
                t.name.unwrap_or_default(),
                t.subresource.map_or("", |sub| sub.name)
            ),
        };
        assert_eq!(found, expect, "{path}");
    }

    #[test]
    fn paths_name_collections_objects_and_subresources() {
        for (path, expect) in [
            ("/api/v1/pods", "pods|||"),
            ("/api/v1/namespaces/a/pods", "pods|a||"),
            ("/api/v1/namespaces/a/pods/b", "pods|a|b|"),
            ("/api/v1/namespaces/a/pods/b/log", "pods|a|b|log"),
            ("/api/v1/namespaces/a/pods/b%3Ac", "pods|a|b:c|"),
            ("/api/v1/namespaces/a", "namespaces||a|"),
            ("/api/v1/namespaces/a/status", "namespaces||a|status"),
            ("/api/v1/namespaces/a/finalize", "namespaces||a|finalize"),
            ("/api/v1/watch/namespaces/a/pods", "watch pods|a||"),
            ("/api/v1/watch/pods", "watch pods|||"),
            ("/apis/apps/v1/namespaces/a/deployments/d/scale", "deployments.apps|a|d|scale"),
            ("/api/v1/nodes/n/", "nodes||n|"),
        ] {
            check(path, expect);
        }
    }

    #[test]
    fn paths_that_name_nothing_are_told_apart_from_documents() {
        for (path, expect) in [
            ("/api", "other"),
            ("/apis/apps/v1", "other"),
            ("/healthz", "other"),
            ("/api/v1/pods/b", "unknown"),
            ("/api/v1/namespaces/a/nodes", "unknown"),
            ("/api/v1/namespaces/a/pods/b/nothing", "unknown"),
            ("/apis/apps/v1beta1/deployments", "unknown"),
            ("/api/v1/namespaces/a/pods/b/log/c", "unknown"),
        ] {
            check(path, expect);
        }
    }
}
