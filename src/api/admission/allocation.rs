//! Addresses and ports of services: each is a key of its own, written in the transaction that writes the service, so
//! that no two services can have the same one.

use std::net::Ipv4Addr;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Admission, Attempt, Operation};
use crate::api::registry::encode::encode;
use crate::kube::resource::id;
use crate::kube::status::{Cause, Status};
use crate::model::ObjectKey;
use crate::store::{Action, Expect, Op};

/// Tries before a range counts as exhausted.
const MAX_PROBES: u32 = 4096;

/// Where services get their addresses and node ports from.
#[derive(Debug, Clone)]
pub struct ServiceAddresses {
    /// First address of the range; never handed out, nor the one after it, which is the API's own.
    pub network: Ipv4Addr,
    /// Length of the range's prefix, at most 28.
    pub prefix: u8,
    /// First node port.
    pub first_port: u16,
    /// Last node port.
    pub last_port: u16,
}

impl Default for ServiceAddresses {
    /// 10.96.0.0/12 and 30000 to 32767.
    fn default() -> Self {
        Self { network: Ipv4Addr::new(10, 96, 0, 0), prefix: 12, first_port: 30000, last_port: 32767 }
    }
}

impl ServiceAddresses {
    /// The address of the API's own service: the first of the range after the network's.
    pub fn api(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network).saturating_add(1))
    }
}

impl Admission for ServiceAddresses {
    fn name(&self) -> &'static str {
        "ServiceAddresses"
    }

    fn admit(&self, attempt: &Attempt<'_>, object: &mut Value) -> Result<Vec<Op>, Status> {
        if attempt.resource.id != id::SERVICES || attempt.subresource.is_some() {
            return Ok(Vec::new());
        }
        let owner = format!("{}/{}", attempt.namespace, text(object, "/metadata/name"));
        if attempt.operation == Operation::Delete {
            return Ok(held(object).into_iter().map(release).collect());
        }
        let before = attempt.old.map(held).unwrap_or_default();
        self.choose_address(attempt, object)?;
        self.choose_ports(attempt, object)?;
        let after = held(object);
        let mut ops: Vec<Op> = Vec::new();
        for key in after.iter().filter(|key| !before.contains(key)) {
            if attempt.store.get(key).is_some() {
                return Err(taken(key, &owner));
            }
            ops.push(claim(key, &owner)?);
        }
        ops.extend(before.into_iter().filter(|key| !after.contains(key)).map(release));
        Ok(ops)
    }
}

impl ServiceAddresses {
    fn choose_address(&self, attempt: &Attempt<'_>, object: &mut Value) -> Result<(), Status> {
        let name = text(object, "/metadata/name").to_owned();
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        let field = |name: &str| spec.get(name).and_then(Value::as_str).unwrap_or_default();
        if field("type") == "ExternalName" {
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
            return Ok(());
        }
        let asked = Some(field("clusterIP")).filter(|ip| !ip.is_empty()).map(str::to_owned);
        let kept = attempt.old.map(|old| text(old, "/spec/clusterIP").to_owned()).filter(|ip| !ip.is_empty());
        let address = match asked.or(kept) {
            Some(address) if address == "None" => address,
            Some(address) => self.checked(&name, address)?,
            None => self.free_address(attempt)?,
        };
        spec.insert("clusterIPs".into(), json!([&address]));
        spec.insert("clusterIP".into(), address.into());
        Ok(())
    }

    fn checked(&self, name: &str, address: String) -> Result<String, Status> {
        let inside = address.parse::<Ipv4Addr>().is_ok_and(|ip| self.mask(ip) == self.network);
        if inside {
            return Ok(address);
        }
        let why = format!(
            "failed to allocate IP {address}: the provided IP ({address}) is not in the valid range. \
             The range of valid IPs is {}/{}",
            self.network, self.prefix
        );
        let cause = Cause::invalid("spec.clusterIPs", &json!([address]), &why);
        Err(Status::invalid("", "Service", name, vec![cause]))
    }

    fn mask(&self, ip: Ipv4Addr) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(ip) & !(self.hosts()))
    }

    fn hosts(&self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0)
    }

    fn free_address(&self, attempt: &Attempt<'_>) -> Result<String, Status> {
        let usable = self.hosts().saturating_sub(2).max(1);
        let start = random(attempt) % usable;
        (0..usable.min(MAX_PROBES))
            .map(|step| u32::from(self.network) + 2 + (start + step) % usable)
            .map(|ip| Ipv4Addr::from(ip).to_string())
            .find(|ip| attempt.store.get(&address_key(ip)).is_none())
            .ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))
    }

    fn choose_ports(&self, attempt: &Attempt<'_>, object: &mut Value) -> Result<(), Status> {
        let wants = matches!(text(object, "/spec/type"), "NodePort" | "LoadBalancer");
        let mut mine: Vec<ObjectKey> = held(object);
        let old = attempt.old.cloned().unwrap_or_default();
        let Some(ports) = object.pointer_mut("/spec/ports").and_then(Value::as_array_mut) else { return Ok(()) };
        for port in ports.iter_mut().filter_map(Value::as_object_mut) {
            if !wants {
                port.remove("nodePort");
                continue;
            }
            if port.get("nodePort").and_then(Value::as_u64).is_some_and(|number| number > 0) {
                continue;
            }
            let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
            let number = match kept_port(&old, port.get("port"), &protocol) {
                Some(number) => number,
                None => self.free_port(attempt, &protocol, &mine)?,
            };
            mine.push(port_key(u64::from(number), &protocol));
            port.insert("nodePort".into(), number.into());
        }
        Ok(())
    }

    fn free_port(&self, attempt: &Attempt<'_>, protocol: &str, mine: &[ObjectKey]) -> Result<u16, Status> {
        let count = u32::from(self.last_port.saturating_sub(self.first_port)) + 1;
        let start = random(attempt) % count;
        (0..count.min(MAX_PROBES))
            .filter_map(|step| u16::try_from(u32::from(self.first_port) + (start + step) % count).ok())
            .find(|port| {
                let key = port_key(u64::from(*port), protocol);
                !mine.contains(&key) && attempt.store.get(&key).is_none()
            })
            .ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))
    }
}

fn kept_port(old: &Value, port: Option<&Value>, protocol: &str) -> Option<u16> {
    let ports = old.pointer("/spec/ports").and_then(Value::as_array)?;
    let same = |one: &&Value| {
        one.get("port") == port && one.get("protocol").and_then(Value::as_str).unwrap_or("TCP") == protocol
    };
    ports.iter().find(same)?.get("nodePort")?.as_u64().and_then(|number| u16::try_from(number).ok())
}

/// The allocation keys that a service holds.
fn held(service: &Value) -> Vec<ObjectKey> {
    let address = Some(text(service, "/spec/clusterIP")).filter(|ip| !ip.is_empty() && *ip != "None");
    let ports = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten();
    let port = |port: &Value| {
        let number = port.get("nodePort").and_then(Value::as_u64).filter(|number| *number > 0)?;
        Some(port_key(number, port.get("protocol").and_then(Value::as_str).unwrap_or("TCP")))
    };
    let mut keys: Vec<ObjectKey> = address.map(address_key).into_iter().chain(ports.filter_map(port)).collect();
    keys.sort();
    keys.dedup();
    keys
}

fn address_key(address: &str) -> ObjectKey {
    ObjectKey { resource: "clusterips.allocation.shoal.local".into(), namespace: "".into(), name: address.into() }
}

fn port_key(port: u64, protocol: &str) -> ObjectKey {
    let name = format!("{}-{port}", protocol.to_ascii_lowercase());
    ObjectKey { resource: "nodeports.allocation.shoal.local".into(), namespace: "".into(), name: name.into() }
}

fn claim(key: &ObjectKey, owner: &str) -> Result<Op, Status> {
    let body = json!({
        "apiVersion": "allocation.shoal.local/v1", "kind": "Allocation",
        "metadata": { "name": &*key.name }, "owner": owner,
    });
    let encoded = encode(&body).map_err(|error| Status::internal(error.to_string()))?;
    let action = Action::Put { value: Bytes::clone(&encoded.value), splice: encoded.splice };
    Ok(Op { key: key.clone(), expect: Expect::Absent, action })
}

fn release(key: ObjectKey) -> Op {
    Op { key, expect: Expect::Any, action: Action::Delete }
}

fn taken(key: &ObjectKey, owner: &str) -> Status {
    let name = owner.split_once('/').map_or(owner, |(_, name)| name);
    let (field, why) = if key.resource.starts_with("clusterips") {
        ("spec.clusterIPs", format!("failed to allocate IP {}: provided IP is already allocated", key.name))
    } else {
        ("spec.ports[0].nodePort", "provided port is already allocated".to_owned())
    };
    let shown = key.name.rsplit('-').next().unwrap_or_default();
    let value =
        if field == "spec.clusterIPs" { json!([shown]) } else { shown.parse::<u16>().map_or(Value::Null, Value::from) };
    Status::invalid("", "Service", name, vec![Cause::invalid(field, &value, &why)])
}

fn random(attempt: &Attempt<'_>) -> u32 {
    let mut bytes = [0u8; 4];
    attempt.entropy.fill(&mut bytes);
    u32::from_le_bytes(bytes)
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
