//! The environment of a container: services, `envFrom`, `env` with `$(VAR)` expansion; and expanded commands.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, Service};

use super::fields::Facts;

/// Name and namespace of the service that every container is told of.
const API_SERVICE: (&str, &str) = ("kubernetes", "default");

/// The environment of `container`, sorted by name (a later definition of a name replaces an earlier one).
///
/// # Errors
/// Why the container cannot be made yet (`CreateContainerConfigError`).
pub fn of(container: &Container, facts: &Facts<'_>) -> Result<Vec<(String, String)>, String> {
    let services = service_variables(facts)?;
    let mut own = BTreeMap::new();
    for source in container.env_from.iter().flatten() {
        from_source(source, facts, &mut own)?;
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(variable, container, facts, &own, &services)? {
            own.insert(variable.name.clone(), value);
        }
    }
    let mut all = services;
    all.extend(own);
    Ok(all.into_iter().collect())
}

/// Expands `$(VAR)` in each of `words`; `$$` is a dollar sign, and what is not known stays as it is written.
pub fn expand_all(words: &[String], env: &[(String, String)]) -> Vec<String> {
    let env: BTreeMap<&str, &str> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    words.iter().map(|word| expand(word, |name| env.get(name).map(|value| (*value).to_owned()))).collect()
}

/// Expands `$(VAR)` in `text`.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) {
            out.push_str(&lookup(name).unwrap_or_else(|| format!("$({name})")));
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

fn value_of(
    variable: &EnvVar,
    container: &Container,
    facts: &Facts<'_>,
    own: &BTreeMap<String, String>,
    services: &BTreeMap<String, String>,
) -> Result<Option<String>, String> {
    if let Some(source) = &variable.value_from {
        from_reference(source, container, facts)
    } else {
        let text = variable.value.as_deref().unwrap_or_default();
        Ok(Some(expand(text, |name| own.get(name).or_else(|| services.get(name)).cloned())))
    }
}

fn from_reference(source: &EnvVarSource, container: &Container, facts: &Facts<'_>) -> Result<Option<String>, String> {
    let namespace = facts.namespace();
    if let Some(field) = &source.field_ref {
        return facts.field(&field.field_path).map(Some);
    }
    if let Some(resource) = &source.resource_field_ref {
        return facts.resource(resource, Some(container)).map(Some);
    }
    if let Some(wanted) = &source.config_map_key_ref {
        let optional = wanted.optional == Some(true);
        let Some(map) = facts.sources.config_map(namespace, &wanted.name)? else {
            return absent(optional, format!("configmap {:?} not found", wanted.name));
        };
        let value = map.data.and_then(|data| data.get(&wanted.key).cloned());
        let missing = || format!("couldn't find key {} in ConfigMap {namespace}/{}", wanted.key, wanted.name);
        return value.map_or_else(|| absent(optional, missing()), |value| Ok(Some(value)));
    }
    if let Some(wanted) = &source.secret_key_ref {
        let optional = wanted.optional == Some(true);
        let Some(secret) = facts.sources.secret(namespace, &wanted.name)? else {
            return absent(optional, format!("secret {:?} not found", wanted.name));
        };
        let value = secret.data.and_then(|data| data.get(&wanted.key).cloned());
        let missing = || format!("couldn't find key {} in Secret {namespace}/{}", wanted.key, wanted.name);
        return value.map_or_else(|| absent(optional, missing()), |value| Ok(Some(text(&value.0))));
    }
    Err("the source of the variable is not supported".to_owned())
}

fn absent(optional: bool, message: String) -> Result<Option<String>, String> {
    if optional { Ok(None) } else { Err(message) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn from_source(
    source: &k8s_openapi::api::core::v1::EnvFromSource,
    facts: &Facts<'_>,
    out: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let prefix = source.prefix.as_deref().unwrap_or_default();
    let namespace = facts.namespace();
    if let Some(wanted) = &source.config_map_ref {
        match facts.sources.config_map(namespace, &wanted.name)? {
            Some(map) => out.extend(named(prefix, map.data.unwrap_or_default())),
            None => drop(absent(wanted.optional == Some(true), format!("configmap {:?} not found", wanted.name))?),
        }
    }
    if let Some(wanted) = &source.secret_ref {
        match facts.sources.secret(namespace, &wanted.name)? {
            Some(secret) => {
                let data = secret.data.unwrap_or_default();
                out.extend(named(prefix, data.into_iter().map(|(key, value)| (key, text(&value.0)))));
            }
            None => drop(absent(wanted.optional == Some(true), format!("secret {:?} not found", wanted.name))?),
        }
    }
    Ok(())
}

/// Keys that cannot be names of variables are left out, as Kubernetes does.
fn named(prefix: &str, data: impl IntoIterator<Item = (String, String)>) -> impl Iterator<Item = (String, String)> {
    data.into_iter()
        .map(move |(key, value)| (format!("{prefix}{key}"), value))
        .filter(|(name, _)| !name.is_empty() && !name.contains(['=', '\0']))
}

/// Variables that tell of services: those of the pod's namespace where `enableServiceLinks` allows it, and always the
/// cluster's API.
fn service_variables(facts: &Facts<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    let links = facts.pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    for service in facts.sources.services(API_SERVICE.1)? {
        if service.metadata.name.as_deref() == Some(API_SERVICE.0) {
            service_into(&service, &mut out);
        }
    }
    if links {
        for service in facts.sources.services(facts.namespace())? {
            service_into(&service, &mut out);
        }
    }
    Ok(out)
}

fn service_into(service: &Service, out: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let mut put = |suffix: String, value: String| out.insert(format!("{name}_{suffix}"), value);
    put("SERVICE_HOST".into(), ip.to_owned());
    put("SERVICE_PORT".into(), first.port.to_string());
    for (index, port) in ports.iter().enumerate() {
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            put(format!("SERVICE_PORT_{}", upper(port_name)), port.port.to_string());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if index == 0 {
            put("PORT".into(), url.clone());
        }
        let prefix = format!("PORT_{}_{protocol}", port.port);
        put(prefix.clone(), url);
        put(format!("{prefix}_PROTO"), protocol.to_lowercase());
        put(format!("{prefix}_PORT"), port.port.to_string());
        put(format!("{prefix}_ADDR"), ip.to_owned());
    }
}
