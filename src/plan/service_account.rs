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

/// Equips namespaces. Its keys are namespaces.
#[derive(Debug)]
pub struct ServiceAccounts {
    ca_pem: String,
}

impl ServiceAccounts {
    /// `ca_pem`: the certificate that clients inside the cluster trust the API by.
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

    fn root_ca(&self, namespace: &str, snapshot: &Snapshot) -> Result<Option<Command>, DecodeError> {
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
                "data": { FIELD: self.ca_pem },
            });
            return Ok(Some(Command::Create { resource: id::CONFIG_MAPS, namespace: namespace.to_owned(), body }));
        };
        let view = object.view::<ConfigMap>()?;
        if view.data.as_ref().and_then(|data| data.get(FIELD)) == Some(&self.ca_pem) {
            return Ok(None);
        }
        let mut body = object.value()?;
        write::set(&mut body, "data", json!({ FIELD: self.ca_pem }));
        Ok(Some(write::replace(object, None, body)))
    }
}

impl Controller for ServiceAccounts {
    fn name(&self) -> &'static str {
        "service-account-controller"
    }

    fn marks(&self, object: &Object, _snapshot: &Snapshot) -> Vec<ObjectKey> {
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
