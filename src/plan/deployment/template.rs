//! Pod templates: which are the same, and the hash that tells replica sets apart.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The label that tells the pods of one replica set from those of another.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

const ALPHABET: [char; 27] = [
    'b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'z', '2', '4', '5',
    '6', '7', '8', '9',
];

/// Whether two templates ask for the same pods: equal but for the hash label.
pub(super) fn same(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    without_hash(a) == without_hash(b)
}

/// A hash of the template and of how often its name was found taken: FNV-1a (64 bits) over its JSON, in ten letters.
pub(super) fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    let bytes = serde_json::to_vec(&without_hash(template)).unwrap_or_default();
    let start = 0xcbf2_9ce4_8422_2325u64;
    let mut state = bytes
        .iter()
        .chain(&collisions.to_le_bytes())
        .fold(start, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let mut text = String::with_capacity(10);
    for _ in 0..10 {
        let index = usize::try_from(state % 27).unwrap_or(0);
        text.extend(ALPHABET.get(index));
        state /= 27;
    }
    text
}

/// An absent map and an empty one are the same; so are an absent `metadata` and an empty one.
fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let meta = template.metadata.get_or_insert_default();
    meta.creation_timestamp = None;
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH_LABEL);
    }
    meta.labels = meta.labels.take().filter(|labels| !labels.is_empty());
    meta.annotations = meta.annotations.take().filter(|annotations| !annotations.is_empty());
    template
}
