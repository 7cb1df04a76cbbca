//! The types that bodies can have, with everything reachable from them, as `k8s-openapi` describes them.

use k8s_openapi::api::{
    apps, authentication, authorization, autoscaling, coordination, core, discovery, events, policy,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::version;
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::kube::resource::{TABLE, Verb};

const API_VERSION: &str = "The version of this object's schema, with its group, e.g. `apps/v1`.";
const KIND: &str = "What kind of object this is, e.g. `Pod`.";

/// The schemas of all types, by their full names. Costs milliseconds and megabytes: for documents, not for requests.
pub fn definitions() -> Map<String, Value> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    resources(&mut generator);
    bodies(&mut generator);
    let mut definitions = generator.take_definitions(false);
    lists(&mut definitions);
    definitions
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    let _ = generator.subschema_for::<T>();
}

/// Adds the `List` kind of every resource; `k8s-openapi` has no schema for those.
fn lists(definitions: &mut Map<String, Value>) {
    for resource in TABLE.iter().filter(|row| row.verbs.contains(&Verb::List)) {
        let list = json!({
            "description": format!("{}List is a list of {} objects.", resource.kind, resource.kind),
            "type": "object",
            "properties": {
                "apiVersion": { "description": API_VERSION, "type": "string" },
                "items": {
                    "description": format!("The {}.", resource.id.plural),
                    "type": "array",
                    "items": { "$ref": format!("#/$defs/{}", resource.type_name) },
                },
                "kind": { "description": KIND, "type": "string" },
                "metadata": {
                    "description": "Standard list metadata: the version of the collection, and how to read on.",
                    "$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
                },
            },
            "required": ["items"],
        });
        definitions.insert(format!("{}List", resource.type_name), list);
    }
}

/// One line for each row of the resource table.
fn resources(generator: &mut SchemaGenerator) {
    add::<core::v1::ConfigMap>(generator);
    add::<core::v1::Endpoints>(generator);
    add::<core::v1::Event>(generator);
    add::<core::v1::Namespace>(generator);
    add::<core::v1::Node>(generator);
    add::<core::v1::Pod>(generator);
    add::<core::v1::ReplicationController>(generator);
    add::<core::v1::Secret>(generator);
    add::<core::v1::Service>(generator);
    add::<core::v1::ServiceAccount>(generator);
    add::<apps::v1::Deployment>(generator);
    add::<apps::v1::ReplicaSet>(generator);
    add::<extensions::CustomResourceDefinition>(generator);
    add::<authentication::v1::SelfSubjectReview>(generator);
    add::<authorization::v1::SelfSubjectAccessReview>(generator);
    add::<authorization::v1::SelfSubjectRulesReview>(generator);
    add::<coordination::v1::Lease>(generator);
    add::<discovery::v1::EndpointSlice>(generator);
    add::<events::v1::Event>(generator);
}

/// Bodies that are no resource of their own.
fn bodies(generator: &mut SchemaGenerator) {
    add::<core::v1::Binding>(generator);
    add::<autoscaling::v1::Scale>(generator);
    add::<policy::v1::Eviction>(generator);
    add::<meta::APIGroup>(generator);
    add::<meta::APIGroupList>(generator);
    add::<meta::APIResourceList>(generator);
    add::<meta::APIVersions>(generator);
    add::<meta::DeleteOptions>(generator);
    add::<meta::ListMeta>(generator);
    add::<meta::Patch>(generator);
    add::<meta::Status>(generator);
    add::<meta::WatchEvent<core::v1::Pod>>(generator);
    add::<version::Info>(generator);
}
