//! When images are fetched, and what failures to do so are called.

use k8s_openapi::api::core::v1::Container;

use super::PullPolicy;

/// Registry host of images that every node carries; they are never fetched.
pub const BUILT_IN: &str = "shoal.local/";

/// The pull policy of a container: its own, else by its image's tag.
pub fn policy(container: &Container) -> PullPolicy {
    let image = container.image.as_deref().unwrap_or_default();
    match container.image_pull_policy.as_deref() {
        Some("Never") => PullPolicy::Never,
        _ if image.starts_with(BUILT_IN) => PullPolicy::IfNotPresent,
        Some("Always") => PullPolicy::Always,
        Some("IfNotPresent") => PullPolicy::IfNotPresent,
        _ if tag(image).is_none_or(|tag| tag == "latest") => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

/// Whether a failure is one of fetching an image.
pub fn is_pull_failure(reason: &str) -> bool {
    matches!(reason, "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull")
}

/// The reason that the event about a pull failure has.
pub fn event_reason(failure: &'static str) -> &'static str {
    match failure {
        "InvalidImageName" => "InspectFailed",
        "ErrImageNeverPull" => "ErrImageNeverPull",
        _ => "Failed",
    }
}

/// Tag or digest of a reference; `None` where it has neither.
fn tag(image: &str) -> Option<&str> {
    if let Some((_, digest)) = image.split_once('@') {
        return Some(digest);
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').map(|(_, tag)| tag)
}
