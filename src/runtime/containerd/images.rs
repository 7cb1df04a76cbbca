//! Finds the daemon's images again, by what was noted in their labels.

use std::collections::BTreeMap;

use containerd_client::services::v1::{DeleteImageRequest, Image as Named, ListImagesRequest, ReadContentRequest};

use super::api::{Api, found, request, system};
use crate::runtime::images::Configuration;
use crate::runtime::images::reference::normalize;
use crate::runtime::oci::ImageConfig;
use crate::runtime::{Error, Image};

/// Label: digest of the image's configuration.
pub(super) const LABEL_ID: &str = "shoal.local/id";
/// Label: the snapshot of its top layer.
pub(super) const LABEL_CHAIN: &str = "shoal.local/chain";
/// Label: bytes of its layers.
pub(super) const LABEL_SIZE: &str = "shoal.local/size";
/// Label: its user.
pub(super) const LABEL_USER: &str = "shoal.local/user";
/// Label: `repository@sha256:...`.
pub(super) const LABEL_DIGEST: &str = "shoal.local/digest";

/// What making a container of an image needs.
pub(super) struct Unpacked {
    pub(super) name: String,
    pub(super) chain: String,
    pub(super) config: ImageConfig,
}

pub(super) async fn all(api: &Api) -> Result<Vec<Image>, Error> {
    let mut images: BTreeMap<String, Image> = BTreeMap::new();
    for named in list(api).await? {
        let Some(id) = named.labels.get(LABEL_ID) else { continue };
        let image = images.entry(id.clone()).or_insert_with(|| Image {
            id: id.clone(),
            references: Vec::new(),
            digests: Vec::new(),
            size_bytes: named.labels.get(LABEL_SIZE).and_then(|size| size.parse().ok()).unwrap_or(0),
            user: named.labels.get(LABEL_USER).cloned().unwrap_or_default(),
        });
        if named.name != *id {
            image.references.push(named.name.clone());
        }
        image.digests.extend(named.labels.get(LABEL_DIGEST).cloned());
    }
    let sorted = |mut image: Image| {
        image.references.sort();
        image.digests.sort();
        image.digests.dedup();
        image
    };
    Ok(images.into_values().map(sorted).collect())
}

pub(super) async fn find(api: &Api, reference: &str) -> Result<Option<Image>, Error> {
    Ok(all(api).await?.into_iter().find(|image| matches(image, reference)))
}

fn matches(image: &Image, reference: &str) -> bool {
    if image.id == reference {
        return true;
    }
    let Ok(name) = normalize(reference) else { return false };
    let by_digest = name.split_once('@').map(|(head, digest)| {
        let repository = head.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(head, |(r, _)| r);
        format!("{repository}@{digest}")
    });
    image.references.contains(&name) || by_digest.is_some_and(|digest| image.digests.contains(&digest))
}

/// Removes a name, or by an image's id all of them; the daemon collects what is then left over.
pub(super) async fn remove(api: &Api, reference: &str) -> Result<(), Error> {
    let image = find(api, reference).await?.ok_or_else(|| Error::NotFound(format!("image {reference}")))?;
    let one = normalize(reference).ok().filter(|name| image.references.contains(name));
    let names = match one {
        Some(name) => vec![name],
        None => image.references.iter().cloned().chain([image.id.clone()]).collect(),
    };
    for name in names {
        let delete = DeleteImageRequest { name, sync: true, ..DeleteImageRequest::default() };
        found(api.images().delete(request(delete)).await, "remove an image")?;
    }
    Ok(())
}

/// The image with this id, ready to run.
pub(super) async fn unpacked(api: &Api, id: &str) -> Result<Unpacked, Error> {
    let missing = || Error::NotFound(format!("image {id}"));
    let named = list(api).await?.into_iter().find(|named| named.labels.get(LABEL_ID).is_some_and(|found| found == id));
    let named = named.ok_or_else(missing)?;
    let bytes = read(api, id).await?.ok_or_else(missing)?;
    let parsed: Configuration = serde_json::from_slice(&bytes)
        .map_err(|error| Error::System(format!("the configuration of image {id} cannot be read: {error}")))?;
    Ok(Unpacked {
        chain: named.labels.get(LABEL_CHAIN).cloned().unwrap_or_default(),
        name: named.name,
        config: parsed.config.unwrap_or_default(),
    })
}

async fn list(api: &Api) -> Result<Vec<Named>, Error> {
    let answer = api.images().list(request(ListImagesRequest::default())).await;
    Ok(answer.map_err(|status| system("list images", &status))?.into_inner().images)
}

async fn read(api: &Api, digest: &str) -> Result<Option<Vec<u8>>, Error> {
    let read = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
    let Some(answer) = found(api.content().read(request(read)).await, "read content")? else { return Ok(None) };
    let mut stream = answer.into_inner();
    let mut bytes = Vec::new();
    while let Some(part) = found(stream.message().await, "read content")?.flatten() {
        bytes.extend(part.data);
    }
    Ok((!bytes.is_empty()).then_some(bytes))
}
