//! The Node object and its lease: made where missing, written only where something changed.

use serde_json::{Map, Value, json};

use super::parts::Parts;
use crate::kube::resource::id;
use crate::kube::status::Status;
use crate::model::ObjectKey;
use crate::plan::Command;
use crate::plan::registration as node;
use crate::store::Record;

/// Namespace of nodes' leases.
const LEASES: &str = "kube-node-lease";

/// Brings node object and lease up to date.
pub async fn sync(parts: &Parts) -> Result<(), Status> {
    let facts = facts(parts).await?;
    let key = ObjectKey::new(id::NODES, "", &parts.node.name);
    let now = parts.clock.now();
    let Some(known) = value(parts, &key)? else {
        let body = node::object(&facts, now);
        let status = body.get("status").cloned().unwrap_or_default();
        write(parts, Command::Create { resource: id::NODES, namespace: String::new(), body }).await?;
        return write(parts, Command::Patch { key, subresource: Some("status"), body: json!({ "status": status }) })
            .await;
    };
    if let Some(patch) = node::metadata_patch(&known, &facts) {
        write(parts, Command::Patch { key: key.clone(), subresource: None, body: patch }).await?;
    }
    if let Some(patch) = node::status_patch(&known, &facts, now) {
        write(parts, Command::Patch { key, subresource: Some("status"), body: patch }).await?;
    }
    lease(parts, &known).await
}

async fn lease(parts: &Parts, node: &Map<String, Value>) -> Result<(), Status> {
    let key = ObjectKey::new(id::LEASES, LEASES, &parts.node.name);
    if parts.objects.get(&key).is_some() {
        return Ok(());
    }
    let body = node::lease(&parts.node.name, node, parts.clock.now());
    write(parts, Command::Create { resource: id::LEASES, namespace: LEASES.to_owned(), body }).await
}

async fn write(parts: &Parts, command: Command) -> Result<(), Status> {
    let identity = format!("system:node:{}", parts.node.name);
    parts.executor.execute(&identity, 0, command).await.map(drop)
}

fn value(parts: &Parts, key: &ObjectKey) -> Result<Option<Map<String, Value>>, Status> {
    let read = |record: &Record| {
        serde_json::from_slice(&record.value)
            .map_err(|error| Status::internal(format!("{key} cannot be read: {error}")))
    };
    parts.objects.get(key).map(|record| read(&record)).transpose()
}

async fn facts(parts: &Parts) -> Result<node::Facts, Status> {
    let settings = &parts.node;
    let machine = &settings.machine;
    let fail = |error: crate::runtime::Error| Status::internal(error.to_string());
    let images = parts.runtime.images().await.map_err(fail)?;
    Ok(node::Facts {
        name: settings.name.clone(),
        ips: settings.ips.clone(),
        api_port: settings.api_port,
        pod_cidr: settings.pod_cidr.clone(),
        labels: settings.labels.clone(),
        architecture: machine.architecture.clone(),
        cpus: machine.cpus,
        memory_bytes: machine.memory_bytes,
        disk_bytes: machine.disk_bytes,
        max_pods: settings.max_pods,
        machine_id: machine.machine_id.clone(),
        system_uuid: machine.system_uuid.clone(),
        boot_id: machine.boot_id.clone(),
        kernel_version: machine.kernel_version.clone(),
        os_image: machine.os_image.clone(),
        runtime_version: parts.runtime.version().await.map_err(fail)?,
        images: images
            .into_iter()
            .map(|image| node::NodeImage {
                names: image.digests.into_iter().chain(image.references).collect(),
                size_bytes: image.size_bytes,
            })
            .collect(),
    })
}
