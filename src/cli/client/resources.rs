//! What the API serves, by discovery, and which of it a word on the command line means.

use serde_json::Value;

use super::Session;
use crate::cli::failure::Failure;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A kind of object that the API serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Plural, as in paths.
    pub plural: String,
    /// Singular.
    pub singular: String,
    /// Abbreviations.
    pub short_names: Vec<String>,
    /// Groups of resources that it is in, e.g. `all`.
    pub categories: Vec<String>,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// Resources with the names that were asked for; no names mean all objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The resource.
    pub resource: Resource,
    /// Names; empty for all.
    pub names: Vec<String>,
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Path of its objects in a namespace (`None` for all), or of one of them.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let mut path = format!("{root}/{}", self.api_version());
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path.push_str(&format!("/namespaces/{}", super::escape(namespace)));
        }
        path.push_str(&format!("/{}", self.plural));
        if let Some(name) = name {
            path.push_str(&format!("/{}", super::escape(name)));
        }
        path
    }

    /// `pod/NAME`, `deployment.apps/NAME`.
    pub fn qualified(&self, name: &str) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        format!("{}{dot}{}/{name}", self.singular, self.group)
    }

    fn is_called(&self, word: &str) -> bool {
        let (word, group) = word.split_once('.').map_or((word, None), |(word, group)| (word, Some(group)));
        let named = self.plural == word
            || self.singular == word
            || self.short_names.iter().any(|name| name == word)
            || self.kind.to_lowercase() == word;
        named && group.is_none_or(|group| group == self.group || group == format!("{}.{}", self.version, self.group))
    }
}

/// All resources of the API.
///
/// # Errors
/// Where the API cannot be reached.
pub async fn discover(session: &Session) -> Result<Vec<Resource>, Failure> {
    let (core, groups) = tokio::join!(session.get("/api", AGGREGATED), session.get("/apis", AGGREGATED));
    Ok(read(&core?).into_iter().chain(read(&groups?)).collect())
}

fn read(list: &Value) -> Vec<Resource> {
    let mut resources = Vec::new();
    for group in items(list, "items") {
        let name = text(group, "/metadata/name");
        let mut known: Vec<String> = Vec::new();
        // Versions come best first: of a resource in several, the first one is meant.
        for version in items(group, "versions") {
            for resource in items(version, "resources") {
                let plural = text(resource, "/resource");
                if known.contains(&plural) {
                    continue;
                }
                known.push(plural.clone());
                resources.push(Resource {
                    group: name.clone(),
                    version: text(version, "/version"),
                    kind: text(resource, "/responseKind/kind"),
                    plural,
                    singular: text(resource, "/singularResource"),
                    short_names: texts(resource, "shortNames"),
                    categories: texts(resource, "categories"),
                    namespaced: text(resource, "/scope") == "Namespaced",
                });
            }
        }
    }
    resources
}

/// What words such as `pods`, `deploy/hello`, `pod a b` or `all` mean.
///
/// # Errors
/// For a word that the API has no resource for.
pub fn resolve(resources: &[Resource], words: &[String]) -> Result<Vec<Target>, Failure> {
    let Some((first, rest)) = words.split_first() else {
        return Err(Failure::usage("which resource? For example `pods`, `deployments`, `pod/NAME`"));
    };
    if first.contains('/') {
        let mut targets = Vec::new();
        for word in words {
            let (kind, name) = word
                .split_once('/')
                .filter(|(_, name)| !name.is_empty())
                .ok_or_else(|| Failure::usage(format!("{word:?} is not TYPE/NAME")))?;
            targets.push(Target { resource: one(resources, kind)?, names: vec![name.into()] });
        }
        return Ok(targets);
    }
    let mut targets = Vec::new();
    for word in first.split(',') {
        let in_category: Vec<&Resource> =
            resources.iter().filter(|resource| resource.categories.iter().any(|category| category == word)).collect();
        if in_category.is_empty() {
            targets.push(Target { resource: one(resources, word)?, names: rest.to_vec() });
        }
        targets.extend(in_category.into_iter().map(|found| Target { resource: found.clone(), names: Vec::new() }));
    }
    Ok(targets)
}

/// The resource that a word means.
///
/// # Errors
/// Where there is none.
pub fn one(resources: &[Resource], word: &str) -> Result<Resource, Failure> {
    let word = word.to_lowercase();
    let found = resources.iter().find(|resource| resource.is_called(&word));
    found.cloned().ok_or_else(|| {
        let names = resources.iter().flat_map(|resource| [resource.plural.clone(), resource.singular.clone()]);
        let near = crate::cli::settings::nearest(&word, names).map(|name| format!("; did you mean {name:?}?"));
        Failure::new(format!("the server has no resource {word:?}{}", near.unwrap_or_default()))
    })
}

/// The resource of an object's `apiVersion` and `kind`.
pub fn of_object<'a>(resources: &'a [Resource], object: &Value) -> Option<&'a Resource> {
    let (version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    resources.iter().find(|resource| resource.kind == kind && resource.api_version() == version)
}

/// A text at a JSON pointer; empty where there is none.
pub fn text(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string()
}

/// The items of a list; none where there is no list.
pub fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    items(value, key).iter().filter_map(Value::as_str).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served() -> Vec<Resource> {
        let resource = |group: &str, plural: &str, kind: &str, short: &str, namespaced| Resource {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            plural: plural.into(),
            singular: kind.to_lowercase(),
            short_names: vec![short.into()],
            categories: vec![if namespaced { "all" } else { "" }.into()],
            namespaced,
        };
        vec![
            resource("", "pods", "Pod", "po", true),
            resource("apps", "deployments", "Deployment", "deploy", true),
            resource("", "nodes", "Node", "no", false),
        ]
    }

    #[test]
    fn words_mean_resources_as_kubectl_reads_them() {
        let check = |words: &str, expect: &str| {
            let words: Vec<String> = words.split(' ').map(String::from).collect();
            let answer = match resolve(&served(), &words) {
                Ok(targets) => targets
                    .iter()
                    .map(|target| format!("{}[{}]", target.resource.plural, target.names.join("+")))
                    .collect::<Vec<_>>()
                    .join(" "),
                Err(failure) => failure.message().to_string(),
            };
            assert_eq!(answer, expect, "{words:?}");
        };
        check("po", "pods[]");
        check("Pod a b", "pods[a+b]");
        check("po/a deploy/b", "pods[a] deployments[b]");
        check("po,no", "pods[] nodes[]");
        check("deployments.apps x", "deployments[x]");
        check("deployments.v1.apps", "deployments[]");
        check("all", "pods[] deployments[]");
        check("pot", "the server has no resource \"pot\"; did you mean \"pod\"?");
        check("po/a b", "\"b\" is not TYPE/NAME");
    }

    #[test]
    fn paths_follow_scope_and_group() {
        let served = served();
        let paths: Vec<String> = served.iter().map(|resource| resource.path(Some("ns"), Some("x"))).collect();
        assert_eq!(
            paths,
            ["/api/v1/namespaces/ns/pods/x", "/apis/apps/v1/namespaces/ns/deployments/x", "/api/v1/nodes/x"]
        );
        assert_eq!(served[0].path(None, None), "/api/v1/pods");
    }
}
