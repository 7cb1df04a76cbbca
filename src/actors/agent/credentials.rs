//! Credentials for an image's registry, from the pod's `imagePullSecrets`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::pod::perform::Site;
use super::spec::ObjectSources;
use crate::plan::pod::fields::Sources as _;
use crate::runtime::PullAuth;

/// The credentials of `site`'s pod that fit `image`, in the order of its secrets. A secret that is not there is left out.
pub fn of_pod(site: &Site, image: &str) -> Vec<PullAuth> {
    let secrets = site.pod.spec.as_ref().and_then(|spec| spec.image_pull_secrets.as_deref()).unwrap_or_default();
    let sources = ObjectSources(&site.parts);
    let mut out = Vec::new();
    for secret in secrets {
        let found = sources.secret(&site.object.key.namespace, &secret.name).ok().flatten();
        for (key, bytes) in found.and_then(|secret| secret.data).into_iter().flatten() {
            match key.as_str() {
                ".dockerconfigjson" => out.extend(matching(&bytes.0, image, true)),
                ".dockercfg" => out.extend(matching(&bytes.0, image, false)),
                _ => {}
            }
        }
    }
    out
}

fn matching(config: &[u8], image: &str, nested: bool) -> Vec<PullAuth> {
    let Ok(config) = serde_json::from_slice::<Value>(config) else { return Vec::new() };
    let auths = if nested { config.get("auths") } else { Some(&config) };
    let auths = auths.and_then(Value::as_object).into_iter().flatten();
    auths.filter(|(server, _)| fits(server, image)).filter_map(|(_, entry)| credentials(entry)).collect()
}

/// Whether `server`, as a Docker configuration spells it, is the registry of `image`.
fn fits(server: &str, image: &str) -> bool {
    let server = server.trim_start_matches("https://").trim_start_matches("http://");
    let server = server.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2").trim_end_matches('/');
    let first = image.split('/').next().unwrap_or_default();
    let named = image.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    if !named {
        return matches!(server, "index.docker.io" | "docker.io" | "registry-1.docker.io");
    }
    let rest = image.strip_prefix(server);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
}

fn credentials(entry: &Value) -> Option<PullAuth> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let (Some(username), Some(password)) = (text("username"), text("password")) {
        return Some(PullAuth { username: username.to_owned(), password: password.to_owned() });
    }
    let decoded = String::from_utf8(STANDARD.decode(text("auth")?.trim()).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(PullAuth { username: username.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_fits_the_registry_it_names_and_no_other() {
        let check =
            |server: &str, image: &str, expect: bool| assert_eq!(fits(server, image), expect, "{server} {image}");
        check("registry.example:5000", "registry.example:5000/team/app:1", true);
        check("https://registry.example/v2/", "registry.example/app", true);
        check("registry.example/team", "registry.example/team/app", true);
        check("registry.example/team", "registry.example/teams/app", false);
        check("registry.example", "registry.example.evil/app", false);
        check("https://index.docker.io/v1/", "busybox", true);
        check("registry.example", "busybox", false);
    }

    #[test]
    fn credentials_are_read_from_auth_and_from_fields() {
        let config =
            br#"{"auths":{"r.example":{"auth":"dXNlcjpwYTpzcw=="},"s.example":{"username":"a","password":"b"}}}"#;
        let read = |image: &str| {
            matching(config, image, true).into_iter().map(|auth| (auth.username, auth.password)).collect::<Vec<_>>()
        };
        assert_eq!(read("r.example/x"), [("user".to_owned(), "pa:ss".to_owned())]);
        assert_eq!(read("s.example/x"), [("a".to_owned(), "b".to_owned())]);
        assert!(read("t.example/x").is_empty());
    }
}
