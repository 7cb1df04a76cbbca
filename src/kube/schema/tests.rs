//! Behaviour of the type graph.

use serde_json::{Value, json};

use super::*;

const POD: &str = "io.k8s.api.core.v1.Pod";

#[test]
fn every_resource_of_the_table_has_its_type() {
    for resource in crate::kube::resource::TABLE {
        assert!(knows(resource.type_name), "{}", resource.type_name);
        let lists = resource.verbs.contains(&crate::kube::resource::Verb::List);
        assert_eq!(knows(&format!("{}List", resource.type_name)), lists, "{}List", resource.type_name);
    }
}

#[test]
fn fields_say_their_shape_and_the_type_within() {
    let check = |type_name: &str, name: &str, shape: Shape, inner: Option<&str>| {
        let field = field(type_name, name).unwrap_or_else(|| panic!("{type_name} {name}"));
        assert_eq!((field.shape, field.type_name), (shape, inner), "{type_name} {name}");
    };
    check(POD, "spec", Shape::Object, Some("io.k8s.api.core.v1.PodSpec"));
    check("io.k8s.api.core.v1.PodSpec", "containers", Shape::List, Some("io.k8s.api.core.v1.Container"));
    check("io.k8s.api.core.v1.PodSpec", "nodeSelector", Shape::Map, None);
    check("io.k8s.api.core.v1.PodSpec", "overhead", Shape::Map, None);
    check("io.k8s.api.core.v1.ServicePort", "targetPort", Shape::Leaf, None);
    check("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "creationTimestamp", Shape::Leaf, None);
    assert!(field(POD, "speck").is_none());
    assert!(
        field("io.k8s.api.core.v1.PodSpec", "containers").is_some_and(|field| field.facts.merge_key == Some("name"))
    );
}

fn findings(type_name: &str, value: &Value) -> Vec<String> {
    let text = |finding: Finding| match finding.fault {
        Fault::Unknown => format!("unknown field \"{}\"", finding.path),
        Fault::WrongType(text) => format!("{} | {text}", finding.path),
    };
    check(type_name, value).into_iter().map(text).collect()
}

#[test]
fn unknown_fields_and_wrong_types_are_found_with_their_path() {
    let deployment = "io.k8s.api.apps.v1.Deployment";
    let cases: &[(&str, Value, &[&str])] = &[
        (POD, json!({"spec": {"containers": [{"name": "a", "image": "b", "ports": [{"containerPort": 80}]}]}}), &[]),
        (POD, json!({"spec": {"containers": [{"imagee": "b"}]}}), &["unknown field \"spec.containers[0].imagee\""]),
        (POD, json!({"spec": null, "metadata": {"annotations": null}}), &[]),
        (
            deployment,
            json!({"spec": {"replicas": "3"}}),
            &[
                "spec.replicas | json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
            ],
        ),
        (
            POD,
            json!({"spec": {"containers": [{"env": [{"name": "A", "value": 1}]}]}}),
            &[
                "spec.containers[0].env[0].value | json: cannot unmarshal number into Go struct field EnvVar.spec.containers.env.value of type string",
            ],
        ),
        (
            POD,
            json!({"spec": {"containers": {}}}),
            &[
                "spec.containers | json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
            ],
        ),
        (
            POD,
            json!({"metadata": {"labels": {"a": 1}}}),
            &[
                "metadata.labels.a | json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
            ],
        ),
        (
            POD,
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}),
            &[
                "spec.containers[0].resources.limits.cpu | quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            ],
        ),
        (
            POD,
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": 0.5, "memory": "1e3", "x": "64Mi"}}}]}}),
            &[],
        ),
        ("io.k8s.api.core.v1.Secret", json!({"data": {"a": "c3R1ZmY="}}), &[]),
        ("io.k8s.api.core.v1.Secret", json!({"data": {"a": "!"}}), &["data.a | illegal base64 data at input byte 0"]),
        (POD, json!([]), &[" | json: cannot unmarshal array into Go value of type v1.Pod"]),
    ];
    for (type_name, value, want) in cases {
        assert_eq!(&findings(type_name, value), want, "{value}");
    }
}

#[test]
fn a_body_of_nothing_but_faults_gives_a_bounded_answer() {
    let fields: serde_json::Map<String, Value> = (0..10_000).map(|n| (format!("f{n}"), Value::Null)).collect();
    assert!(check(POD, &Value::Object(fields)).len() <= 100);
}
