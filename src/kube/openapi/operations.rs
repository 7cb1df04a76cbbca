//! What can be asked of each path, as data that both dialects are written from.

use super::parameters::{self, NAME, NAMESPACE, PRETTY, Parameter};
use super::types::META;
use crate::kube::resource::{Resource, Subresource, Verb};

/// A path and everything that can be asked of it.
#[derive(Debug)]
pub(super) struct Path {
    pub template: String,
    pub parameters: Vec<Parameter>,
    pub operations: Vec<Operation>,
}

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    /// `get`, `post`, ...
    pub method: &'static str,
    /// `listCoreV1NamespacedPod`, ...
    pub id: String,
    pub description: String,
    /// `x-kubernetes-action`.
    pub action: &'static str,
    /// Group, version and kind.
    pub kind: (String, String, String),
    pub parameters: &'static [Parameter],
    /// Type of the body, and whether it must be there.
    pub body: Option<(String, bool)>,
    /// Codes of success.
    pub codes: &'static [&'static str],
    /// Type of the answer; `None` for text.
    pub answer: Option<String>,
    /// Whether the answer may be a stream of events.
    pub streams: bool,
}

const OK: &[&str] = &["200"];
const STORED: &[&str] = &["200", "201"];
const MADE: &[&str] = &["200", "201", "202"];
const DELETED: &[&str] = &["200", "202"];

/// All paths of a row.
pub(super) fn of(row: &'static Resource) -> Vec<Path> {
    let names = Names::of(row);
    let mut paths = vec![collection(&names), object(&names)];
    paths.extend(row.subresources.iter().map(|sub| subresource(&names, sub)));
    paths.retain(|path| !path.operations.is_empty());
    if row.namespaced {
        paths.push(everywhere(&names));
    }
    if row.verbs.contains(&Verb::Watch) {
        paths.extend(watches(&names));
    }
    paths
}

/// `CoreV1`, `AppsV1`, ...: the group's first word and the version, as operation ids have them.
pub(super) fn id_part(group: &str, version: &str) -> String {
    let first = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or(group) };
    format!("{}{}", capital(first), capital(version))
}

/// `/api/v1` or `/apis/apps/v1`.
pub(super) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
}

struct Names {
    row: &'static Resource,
    group_version: String,
    /// `NamespacedPod` or `Node`.
    scoped: String,
    root: String,
}

impl Names {
    fn of(row: &'static Resource) -> Self {
        let scoped = if row.namespaced { format!("Namespaced{}", row.kind) } else { row.kind.to_owned() };
        let (group, version) = (row.id.group, row.version);
        Self { row, group_version: id_part(group, version), scoped, root: root(group, version) }
    }

    fn collection_path(&self) -> String {
        let scope = if self.row.namespaced { "/namespaces/{namespace}" } else { "" };
        format!("{}{scope}/{}", self.root, self.row.id.plural)
    }

    fn shared(&self, named: bool) -> Vec<Parameter> {
        let all = [(named, NAME), (self.row.namespaced, NAMESPACE), (true, PRETTY)];
        all.into_iter().filter(|(wanted, _)| *wanted).map(|(_, parameter)| parameter).collect()
    }

    fn operation(&self, method: &'static str, action: &'static str, id: String, description: String) -> Operation {
        Operation {
            method,
            id,
            description,
            action,
            kind: (self.row.id.group.into(), self.row.version.into(), self.row.kind.into()),
            parameters: &[],
            body: None,
            codes: OK,
            answer: Some(self.row.type_name.into()),
            streams: false,
        }
    }

    fn verb(&self, verb: Verb, part: &str, what: &str) -> Operation {
        let (kind, gv, scoped) = (self.row.kind, &self.group_version, &self.scoped);
        let body = Some((self.row.type_name.to_owned(), true));
        let options = Some((format!("{META}.DeleteOptions"), false));
        match verb {
            Verb::Create => Operation {
                parameters: parameters::WRITE,
                body,
                codes: MADE,
                ..self.operation("post", "post", format!("create{gv}{scoped}{part}"), format!("create a {kind}"))
            },
            Verb::Get => self.operation("get", "get", format!("read{gv}{scoped}{part}"), format!("read {what}")),
            Verb::Update => Operation {
                parameters: parameters::WRITE,
                body,
                codes: STORED,
                ..self.operation("put", "put", format!("replace{gv}{scoped}{part}"), format!("replace {what}"))
            },
            Verb::Patch => Operation {
                parameters: parameters::PATCH,
                body: Some((format!("{META}.Patch"), true)),
                codes: STORED,
                ..self.operation(
                    "patch",
                    "patch",
                    format!("patch{gv}{scoped}{part}"),
                    format!("change parts of {what}"),
                )
            },
            Verb::Delete => Operation {
                parameters: parameters::DELETE,
                body: options,
                codes: DELETED,
                answer: Some(self.deleted()),
                ..self.operation("delete", "delete", format!("delete{gv}{scoped}"), format!("delete {what}"))
            },
            Verb::DeleteCollection => Operation {
                parameters: parameters::DELETE_COLLECTION,
                body: options,
                answer: Some(format!("{META}.Status")),
                ..self.operation(
                    "delete",
                    "deletecollection",
                    format!("delete{gv}Collection{scoped}"),
                    format!("delete many objects of kind {kind}"),
                )
            },
            Verb::List | Verb::Watch => Operation {
                parameters: parameters::LIST,
                answer: Some(format!("{}List", self.row.type_name)),
                streams: true,
                ..self.operation(
                    "get",
                    "list",
                    format!("list{gv}{scoped}"),
                    format!("list or watch objects of kind {kind}"),
                )
            },
        }
    }

    /// What a DELETE answers: the object where its end takes time, else a status.
    fn deleted(&self) -> String {
        if matches!(self.row.kind, "Pod" | "Service" | "ServiceAccount") {
            self.row.type_name.into()
        } else {
            format!("{META}.Status")
        }
    }
}

fn collection(names: &Names) -> Path {
    let wanted = [Verb::List, Verb::Create, Verb::DeleteCollection];
    let what = format!("a {}", names.row.kind);
    let verbs = wanted.into_iter().filter(|verb| names.row.verbs.contains(verb));
    Path {
        template: names.collection_path(),
        parameters: names.shared(false),
        operations: verbs.map(|verb| names.verb(verb, "", &what)).collect(),
    }
}

fn object(names: &Names) -> Path {
    let wanted = [Verb::Get, Verb::Update, Verb::Patch, Verb::Delete];
    let what = format!("the named {}", names.row.kind);
    let verbs = wanted.into_iter().filter(|verb| names.row.verbs.contains(verb));
    Path {
        template: format!("{}/{{name}}", names.collection_path()),
        parameters: names.shared(true),
        operations: verbs.map(|verb| names.verb(verb, "", &what)).collect(),
    }
}

fn subresource(names: &Names, sub: &Subresource) -> Path {
    let part = capital(sub.name);
    let what = format!("{} of the named {}", sub.name, names.row.kind);
    let mut parameters = names.shared(true);
    let connects = sub.name == "exec";
    match sub.name {
        "exec" => parameters.splice(.., parameters::EXEC.iter().copied().chain([NAME, NAMESPACE])).for_each(drop),
        "log" => parameters.extend(parameters::LOG),
        _ => {}
    }
    let operation = |verb: &Verb| {
        let mut operation = names.verb(*verb, &part, &what);
        let type_name = body_type(names.row, sub);
        if *verb == Verb::Create {
            operation.description = format!("create {what}");
        }
        if let Some((group, version)) = sub.group_version {
            operation.kind = (group.into(), version.into(), sub.kind.into());
        } else {
            operation.kind.2 = sub.kind.into();
        }
        if connects {
            let method = if *verb == Verb::Create { "post" } else { "get" };
            let id = format!("connect{}{}{}{part}", names.group_version, capital(method), names.scoped);
            let kind = operation.kind;
            operation = names.operation(method, "connect", id, format!("connect to {what}"));
            operation.kind = kind;
        } else if matches!(verb, Verb::Create | Verb::Update) {
            operation.body = Some((type_name.clone(), true));
        }
        operation.answer = (!connects && sub.name != "log").then_some(type_name);
        operation
    };
    Path {
        template: format!("{}/{{name}}/{}", names.collection_path(), sub.name),
        operations: sub.verbs.iter().map(operation).collect(),
        parameters,
    }
}

/// The full name of the type that a subresource carries.
fn body_type(row: &Resource, sub: &Subresource) -> String {
    match sub.kind {
        kind if kind == row.kind => row.type_name.into(),
        "Scale" => "io.k8s.api.autoscaling.v1.Scale".into(),
        "Eviction" => "io.k8s.api.policy.v1.Eviction".into(),
        kind => format!("io.k8s.api.core.v1.{kind}"),
    }
}

/// The collection over all namespaces.
fn everywhere(names: &Names) -> Path {
    let mut list = names.verb(Verb::List, "", "");
    list.id = format!("list{}{}ForAllNamespaces", names.group_version, names.row.kind);
    list.parameters = &[];
    let mut parameters: Vec<Parameter> = parameters::LIST.to_vec();
    parameters.push(PRETTY);
    Path { template: format!("{}/{}", names.root, names.row.id.plural), parameters, operations: vec![list] }
}

/// The old watch paths, which some clients still use.
fn watches(names: &Names) -> Vec<Path> {
    let path = |path: String, action: &'static str, id: String, own: &[Parameter]| {
        let mut watch = names.operation("get", action, id, format!("watch objects of kind {}", names.row.kind));
        watch.answer = Some(format!("{META}.WatchEvent"));
        watch.streams = true;
        let parameters = own.iter().chain(parameters::LIST).chain([&PRETTY]).copied().collect();
        Path { template: path, parameters, operations: vec![watch] }
    };
    let (group_version, scoped, plural) = (&names.group_version, &names.scoped, names.row.id.plural);
    let scope = if names.row.namespaced { "/namespaces/{namespace}" } else { "" };
    let base = format!("{}/watch{scope}/{plural}", names.root);
    let namespace: &[Parameter] = if names.row.namespaced { &[NAMESPACE] } else { &[] };
    let named: Vec<Parameter> = namespace.iter().copied().chain([NAME]).collect();
    let mut found = vec![
        path(base.clone(), "watchlist", format!("watch{group_version}{scoped}List"), namespace),
        path(format!("{base}/{{name}}"), "watch", format!("watch{group_version}{scoped}"), &named),
    ];
    if names.row.namespaced {
        let id = format!("watch{group_version}{}ListForAllNamespaces", names.row.kind);
        found.push(path(format!("{}/watch/{plural}", names.root), "watchlist", id, &[]));
    }
    found
}
