//! The objects that environment, files and credentials come from.

use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use serde::de::DeserializeOwned;

use crate::actors::agent::parts::Parts;
use crate::kube::resource::id;
use crate::model::{ObjectKey, ResourceId, Scope};
use crate::plan::pod::fields::Sources;

/// Looks them up where the agent reads all its objects.
pub struct ObjectSources<'a>(pub &'a Parts);

impl ObjectSources<'_> {
    fn one<T: DeserializeOwned>(&self, what: ResourceId, namespace: &str, name: &str) -> Result<Option<T>, String> {
        let key = ObjectKey::new(what, namespace, name);
        let Some(record) = self.0.objects.get(&key) else { return Ok(None) };
        serde_json::from_slice(&record.value).map(Some).map_err(|error| format!("{key} cannot be read: {error}"))
    }
}

impl Sources for ObjectSources<'_> {
    fn config_map(&self, namespace: &str, name: &str) -> Result<Option<ConfigMap>, String> {
        self.one(id::CONFIG_MAPS, namespace, name)
    }

    fn secret(&self, namespace: &str, name: &str) -> Result<Option<Secret>, String> {
        self.one(id::SECRETS, namespace, name)
    }

    fn services(&self, namespace: &str) -> Result<Vec<Service>, String> {
        let scope = Scope::resource(id::SERVICES, Some(namespace));
        let (records, _) = self.0.objects.list(&scope).map_err(|error| error.to_string())?;
        let read = |record: &std::sync::Arc<crate::store::Record>| {
            serde_json::from_slice(&record.value).map_err(|error| format!("{} cannot be read: {error}", record.key))
        };
        records.iter().map(read).collect()
    }
}
