//! Bodies in protobuf, as client-go writes them.

use serde_json::json;

use super::*;

fn body(hex: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digit).collect()
}

#[test]
fn bodies_that_kubectl_sends_read_as_the_json_of_the_same_object() {
    let secret = "6b3873000a0c0a027631120653656372657412250a190a02733112001a0764656661756c7422002a0032003800420012060a01701\
                  201771a001a002200";
    let service = "6b3873000a0d0a027631120753657276696365126c0a240a026e7012001a0764656661756c7422002a003200380042005a090a03\
                   6170701202\
                   6e7012400a1b0a0738302d38303830120354435018502207080010903f1a00280012090a0361707012026e701a0022084e6f6465\
                   506f72743a00420052005a00600068001a020a001a002200";
    let cases = [
        (
            secret,
            json!({
                "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s1", "namespace": "default" },
                "data": { "p": "dw==" },
            }),
        ),
        (
            service,
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": "np", "namespace": "default", "labels": { "app": "np" } },
                "spec": {
                    "ports": [{ "name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080 }],
                    "selector": { "app": "np" }, "type": "NodePort",
                },
                "status": { "loadBalancer": {} },
            }),
        ),
    ];
    for (hex, expect) in cases {
        assert_eq!(decode(&body(hex), Limits::REQUEST).unwrap(), expect);
    }
}

#[test]
fn fields_that_json_has_inline_and_zeros_that_mean_something_are_kept() {
    let container = message(2, &[message(1, b"c"), message(10, &message(1, &message(1, &message(1, b"ls"))))].concat());
    let volume = message(1, &[message(1, b"v"), message(2, &message(2, b""))].concat());
    let pod = message(3, &message(2, &[volume, container].concat()));
    let spec = message(2, &[vec![8, 0], pod].concat());
    let envelope = message(1, &[message(1, b"apps/v1"), message(2, b"Deployment")].concat());
    let all = [MAGIC.to_vec(), envelope, message(2, &spec)].concat();
    let read = decode(&all, Limits::REQUEST).unwrap();
    assert_eq!(
        read["spec"],
        json!({
            "replicas": 0,
            "template": { "spec": {
                "volumes": [{ "name": "v", "emptyDir": {} }],
                "containers": [{ "name": "c", "livenessProbe": { "exec": { "command": ["ls"] } } }],
            } },
        })
    );
}

#[test]
fn damaged_bodies_are_refused_and_never_panic() {
    let good =
        [MAGIC.to_vec(), message(1, &[message(1, b"v1"), message(2, b"Pod")].concat()), message(2, b"")].concat();
    assert!(decode(&good, Limits::REQUEST).is_ok());
    for length in 0..good.len() {
        let _ = decode(&good[..length], Limits::REQUEST);
    }
    for bad in [&b"{}"[..], b"k8s\0\xff", b"k8s\0\x0a\x7f", b"k8s\0\x0a\x03\x12\x01X"] {
        assert_eq!(decode(bad, Limits::REQUEST).unwrap_err().code, 400);
    }
}

fn message(number: u8, content: &[u8]) -> Vec<u8> {
    assert!(content.len() < 128, "a fixture that fits one length byte");
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}
