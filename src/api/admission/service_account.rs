//! `ServiceAccount`: a pod acts as an account that exists; `default` where it names none.

use serde_json::Value;

use super::{Admission, Attempt, Operation};
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::model::ObjectKey;
use crate::store::Op;

const DEFAULT: &str = "default";

/// See the module.
pub struct ServiceAccount;

impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn admit(&self, attempt: &Attempt<'_>, object: &mut Value) -> Result<Vec<Op>, Status> {
        let created = attempt.operation == Operation::Create && attempt.subresource.is_none();
        if !created || attempt.resource.id != id::PODS || is_mirror(object) {
            return Ok(Vec::new());
        }
        let pod = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(Vec::new()) };
        let named = spec.get("serviceAccountName").and_then(Value::as_str).filter(|name| !name.is_empty());
        let account = named.unwrap_or(DEFAULT).to_owned();
        let key = ObjectKey::new(id::SERVICE_ACCOUNTS, attempt.namespace, &account);
        if attempt.store.get(&key).is_none() {
            let why = format!(
                "error looking up service account {}/{account}: serviceaccount {account:?} not found",
                attempt.namespace
            );
            return Err(Status::forbidden("", "pods", &pod, &why));
        }
        spec.insert("serviceAccountName".into(), account.clone().into());
        spec.insert("serviceAccount".into(), account.into());
        Ok(Vec::new())
    }
}

fn is_mirror(object: &Value) -> bool {
    object.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some()
}
