//! What every namespace is given: the `default` service account and the cluster's CA certificate.

use k8s_openapi::api::core::v1::ConfigMap;
use rand::RngCore;
use serde_json::json;

use super::{Command, Controller, Plan, Snapshot, write};
use crate::kube::object::{DecodeError, Object};
use crate::kube::resource::id;
use crate::model::{ObjectKey, Timestamp};

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const FIELD: &str = "ca.crt";
/// Namespace of what the cluster keeps about itself.
const SYSTEM: &str = "kube-system";
/// ConfigMap there: the authorities that everybody believes.
const AUTHORITIES: &str = "shoal-authorities";

/// Equips namespaces. Its keys are namespaces.
#[derive(Debug)]
pub struct ServiceAccounts {
    ca_pem: String,
}

impl ServiceAccounts {
    /// `ca_pem`: the certificate that clients inside the cluster trust the API by, until the cluster publishes it.
    pub fn new(ca_pem: String) -> Self {
        Self { ca_pem }
    }

    fn account(namespace: &str) -> Command {
        let body = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": ACCOUNT, "namespace": namespace },
        });
        Command::Create { resource: id::SERVICE_ACCOUNTS, namespace: namespace.to_owned(), body }
    }

    /// The authorities as the cluster publishes them: more than one while one replaces another.
    fn published(&self, snapshot: &Snapshot) -> Result<String, DecodeError> {
        let authorities = snapshot.get(&ObjectKey::new(id::CONFIG_MAPS, SYSTEM, AUTHORITIES));
        let published = authorities.map(field).transpose()?.flatten();
        Ok(published.unwrap_or_else(|| self.ca_pem.clone()))
    }

    fn root_ca(&self, namespace: &str, snapshot: &Snapshot) -> Result<Option<Command>, DecodeError> {
        let ca_pem = self.published(snapshot)?;
        let Some(object) = snapshot.get(&ObjectKey::new(id::CONFIG_MAPS, namespace, ROOT_CA)) else {
            let why = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                       endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                       guaranteed across distributions of Kubernetes clusters.";
            let body = json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {
                    "name": ROOT_CA, "namespace": namespace,
                    "annotations": { "kubernetes.io/description": why },
                },
                "data": { FIELD: ca_pem },
            });
            return Ok(Some(Command::Create { resource: id::CONFIG_MAPS, namespace: namespace.to_owned(), body }));
        };
        if field(object)?.as_ref() == Some(&ca_pem) {
            return Ok(None);
        }
        let mut body = object.value()?;
        write::set(&mut body, "data", json!({ FIELD: ca_pem }));
        Ok(Some(write::replace(object, None, body)))
    }
}

fn field(object: &std::sync::Arc<Object>) -> Result<Option<String>, DecodeError> {
    let view = object.view::<ConfigMap>()?;
    Ok(view.data.as_ref().and_then(|data| data.get(FIELD)).cloned())
}

impl Controller for ServiceAccounts {
    fn name(&self) -> &'static str {
        "service-account-controller"
    }

    fn marks(&self, object: &Object, snapshot: &Snapshot) -> Vec<ObjectKey> {
        if object.key.is(id::CONFIG_MAPS) && &*object.key.name == AUTHORITIES && &*object.key.namespace == SYSTEM {
            return snapshot.list(id::NAMESPACES, None).map(|namespace| namespace.key.clone()).collect();
        }
        let ours = (object.key.is(id::SERVICE_ACCOUNTS) && &*object.key.name == ACCOUNT)
            || (object.key.is(id::CONFIG_MAPS) && &*object.key.name == ROOT_CA);
        if ours {
            return vec![ObjectKey::new(id::NAMESPACES, "", &object.key.namespace)];
        }
        object.key.is(id::NAMESPACES).then(|| object.key.clone()).into_iter().collect()
    }

    fn reconcile(
        &self,
        key: &ObjectKey,
        snapshot: &Snapshot,
        _now: Timestamp,
        _rng: &mut dyn RngCore,
    ) -> Result<Plan, DecodeError> {
        if snapshot.get(key).is_none_or(|namespace| namespace.is_terminating()) {
            return Ok(Plan::default());
        }
        let has_account = snapshot.get(&ObjectKey::new(id::SERVICE_ACCOUNTS, &key.name, ACCOUNT)).is_some();
        let mut commands: Vec<Command> = (!has_account).then(|| Self::account(&key.name)).into_iter().collect();
        commands.extend(self.root_ca(&key.name, snapshot)?);
        Ok(Plan { commands, again_after: None })
    }
}
