//! Content negotiation, pure: what a client sends and what it wants back.

use super::options::PatchKind;
use crate::kube::decode::Format;
use crate::kube::status::Status;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
}

/// What an answer is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// The objects.
    Object,
    /// Rows and columns.
    Table,
    /// Only metadata.
    Metadata,
}

/// What a client wants back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// How it is written.
    pub encoding: Encoding,
    /// What it is made of.
    pub shape: Shape,
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// An object.
    Object(Format),
    /// A patch.
    Patch(PatchKind, Format),
}

/// Bound on the alternatives that are looked at in an `Accept` header.
const MAX_ALTERNATIVES: usize = 32;

/// One alternative of an `Accept` header.
pub struct Alternative<'a> {
    /// `type/subtype`.
    pub media: &'a str,
    parameters: &'a str,
}

impl<'a> Alternative<'a> {
    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        let pair = |part: &'a str| part.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        self.parameters.split(';').filter_map(pair).find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn weight(&self) -> u16 {
        let weight = self.parameter("q").and_then(|text| text.parse::<f32>().ok()).unwrap_or(1.0);
        // Thousandths are all that RFC 9110 allows.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let thousandths = (weight.clamp(0.0, 1.0) * 1000.0) as u16;
        thousandths
    }
}

/// The alternatives of an `Accept` header, best first.
pub fn alternatives(header: &str) -> Vec<Alternative<'_>> {
    let one = |text| {
        let (media, parameters) = str::split_once(text, ';').unwrap_or((text, ""));
        Alternative { media: media.trim(), parameters }
    };
    let mut all: Vec<Alternative<'_>> = header.split(',').take(MAX_ALTERNATIVES).map(one).collect();
    all.sort_by_key(|alternative| std::cmp::Reverse(alternative.weight()));
    all
}

/// Chooses among what `Accept` offers.
pub fn accepted(header: &str) -> Result<Accepted, Status> {
    if header.trim().is_empty() {
        return Ok(Accepted { encoding: Encoding::Json, shape: Shape::Object });
    }
    alternatives(header).iter().find_map(acceptable).ok_or_else(not_acceptable)
}

fn acceptable(alternative: &Alternative<'_>) -> Option<Accepted> {
    let encoding = match alternative.media {
        "application/json" | "application/*" | "*/*" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let shape = match alternative.parameter("as") {
        None => Shape::Object,
        Some("Table") => Shape::Table,
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Shape::Metadata,
        Some(_) => return None,
    };
    let version = alternative.parameter("v");
    let known = shape == Shape::Object || matches!(version, None | Some("v1"));
    known.then_some(Accepted { encoding, shape })
}

/// 406.
pub fn not_acceptable() -> Status {
    let kinds = "application/json, application/yaml";
    Status::new(406, "NotAcceptable", format!("only the following media types are accepted: {kinds}"))
}

/// Reads `Content-Type`.
pub fn content(header: &str, is_patch: bool) -> Result<Content, Status> {
    let media = header.split(';').next().unwrap_or_default().trim();
    match (media, is_patch) {
        ("" | "application/json" | "*/*", false) => Ok(Content::Object(Format::Json)),
        ("application/yaml" | "application/x-yaml" | "text/yaml", false) => Ok(Content::Object(Format::Yaml)),
        ("application/vnd.kubernetes.protobuf", false) => Ok(Content::Object(Format::Protobuf)),
        ("application/json-patch+json", true) => Ok(Content::Patch(PatchKind::Json, Format::Json)),
        ("application/merge-patch+json", true) => Ok(Content::Patch(PatchKind::Merge, Format::Json)),
        ("application/strategic-merge-patch+json", true) => Ok(Content::Patch(PatchKind::Strategic, Format::Json)),
        _ => Err(unsupported(is_patch)),
    }
}

fn unsupported(is_patch: bool) -> Status {
    let kinds = if is_patch {
        "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"
    } else {
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    };
    let why = format!("the body of the request was in an unknown format - accepted media types include: {kinds}");
    Status::new(415, "UnsupportedMediaType", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_alternative_that_is_known_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        for (header, expect) in [
            ("", Some((Encoding::Json, Shape::Object))),
            ("*/*", Some((Encoding::Json, Shape::Object))),
            (table, Some((Encoding::Json, Shape::Table))),
            ("application/vnd.kubernetes.protobuf,application/json", Some((Encoding::Json, Shape::Object))),
            ("application/json;q=0.5, application/yaml", Some((Encoding::Yaml, Shape::Object))),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                Some((Encoding::Json, Shape::Metadata)),
            ),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
        ] {
            let found = accepted(header).ok().map(|accepted| (accepted.encoding, accepted.shape));
            assert_eq!(found, expect, "{header}");
        }
    }
}
