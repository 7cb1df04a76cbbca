//! What log and exec need to know of a pod: where it runs, and which of its containers is meant.

use serde_json::Value;

use super::gateway::ContainerRef;
use super::registry::{Place, parse};
use super::route::Target;
use super::service::Service;
use crate::kube::status::Status;

/// A pod, as read for a stream.
pub struct Pod {
    name: String,
    object: Value,
}

impl Pod {
    /// Reads the pod that a path names.
    pub async fn read(service: &Service, target: &Target) -> Result<Self, Status> {
        let name = target.name.clone().unwrap_or_default();
        let place = Place::object(target.resource, &target.namespace, &name);
        let (record, _) = service.registry.get(&place, None).await?;
        Ok(Self { object: parse(&record.value)?, name })
    }

    /// Its node; empty while it has none.
    pub fn node(&self) -> &str {
        self.text("/spec/nodeName")
    }

    /// `Pending`, `Running`, ...
    pub fn phase(&self) -> &str {
        self.text("/status/phase")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The container that is meant: the named one, or the only one.
    pub fn container(&self, asked: Option<&str>) -> Result<ContainerRef, Status> {
        let name = match asked {
            Some(name) => self.named(name)?,
            None => self.only()?,
        };
        Ok(ContainerRef {
            node: self.node().into(),
            namespace: self.text("/metadata/namespace").into(),
            pod: self.name.clone(),
            pod_uid: self.text("/metadata/uid").into(),
            container: name.into(),
        })
    }

    /// Why a container has not run yet; `None` where it has, or where nothing is known of it.
    pub fn waiting(&self, container: &str) -> Option<&str> {
        let lists = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];
        let all = lists.iter().filter_map(|list| self.object.get("status")?.get(list)?.as_array()).flatten();
        let status = all.into_iter().find(|status| status.get("name").is_some_and(|name| name == container))?;
        let reason = status.pointer("/state/waiting/reason").and_then(Value::as_str)?;
        if status.pointer("/lastState/terminated").is_some() {
            return None;
        }
        Some(match reason {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            other => other,
        })
    }

    fn named<'a>(&self, name: &'a str) -> Result<&'a str, Status> {
        let lists = ["/spec/containers", "/spec/initContainers", "/spec/ephemeralContainers"];
        if lists.iter().any(|list| self.names(list).contains(&name)) {
            return Ok(name);
        }
        Err(Status::bad_request(format!("container {name} is not valid for pod {}", self.name)))
    }

    fn only(&self) -> Result<&str, Status> {
        let containers = self.names("/spec/containers");
        if let [only] = containers.as_slice() {
            return Ok(only);
        }
        let mut text = format!(
            "a container name must be specified for pod {}, choose one of: [{}]",
            self.name,
            containers.join(" ")
        );
        let init = self.names("/spec/initContainers");
        if !init.is_empty() {
            text = format!("{text} or one of the init containers: [{}]", init.join(" "));
        }
        Err(Status::bad_request(text))
    }

    fn names(&self, list: &str) -> Vec<&str> {
        let list = self.object.pointer(list).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|container| container.get("name").and_then(Value::as_str)).collect()
    }

    fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }
}
