//! The version 2 document in the protobuf form that older clients ask for (`gnostic`'s `openapi.v2.Document`).

use serde_json::{Map, Value};

type Fields = Map<String, Value>;

/// `/openapi/v2` as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`.
pub fn v2_protobuf() -> Vec<u8> {
    encode(&super::v2())
}

/// Encodes a version 2 document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, &document["swagger"]);
    let mut info = Message::default();
    info.text(1, &document["info"]["title"]);
    info.text(2, &document["info"]["version"]);
    out.message(2, &info);
    let mut paths = Message::default();
    for (name, item) in entries(&document["paths"]) {
        paths.named(2, name, &path(item));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for (name, item) in entries(&document["definitions"]) {
        definitions.named(1, name, &schema(item));
    }
    out.message(9, &definitions);
    out.0
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn path(item: &Value) -> Message {
    let mut out = Message::default();
    for (number, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        if item[method].is_object() {
            out.message(number, &operation(&item[method]));
        }
    }
    out.parameters(9, &item["parameters"]);
    out
}

fn operation(operation: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, &operation["tags"]);
    out.text(3, &operation["description"]);
    out.text(5, &operation["operationId"]);
    out.texts(6, &operation["produces"]);
    out.texts(7, &operation["consumes"]);
    out.parameters(8, &operation["parameters"]);
    let mut responses = Message::default();
    for (code, response) in entries(&operation["responses"]) {
        let mut answer = Message::default();
        answer.text(1, &response["description"]);
        if response["schema"].is_object() {
            let mut choice = Message::default();
            choice.message(1, &schema(&response["schema"]));
            answer.message(2, &choice);
        }
        let mut choice = Message::default();
        choice.message(1, &answer);
        responses.named(1, code, &choice);
    }
    out.message(9, &responses);
    out.texts(10, &operation["schemes"]);
    if let Some(fields) = operation.as_object() {
        out.extensions(13, fields);
    }
    out
}

fn parameter(parameter: &Value) -> Message {
    let mut out = Message::default();
    let mut choice = Message::default();
    if parameter["in"] == "body" {
        let mut body = Message::default();
        body.text(1, &parameter["description"]);
        body.text(2, &parameter["name"]);
        body.text(3, &parameter["in"]);
        body.flag(4, &parameter["required"]);
        body.message(5, &schema(&parameter["schema"]));
        choice.message(1, &body);
    } else {
        let in_path = parameter["in"] == "path";
        let (kind, unique, place) = if in_path { (5, 19, 4) } else { (6, 20, 3) };
        let mut plain = Message::default();
        plain.flag(1, &parameter["required"]);
        plain.text(2, &parameter["in"]);
        plain.text(3, &parameter["description"]);
        plain.text(4, &parameter["name"]);
        plain.text(kind, &parameter["type"]);
        plain.flag(unique, &parameter["uniqueItems"]);
        let mut non_body = Message::default();
        non_body.message(place, &plain);
        choice.message(2, &non_body);
    }
    out.message(1, &choice);
    out
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, &value["$ref"]);
    out.text(2, &value["format"]);
    out.text(4, &value["description"]);
    out.texts(19, &value["required"]);
    if value["additionalProperties"].is_object() {
        let mut choice = Message::default();
        choice.message(1, &schema(&value["additionalProperties"]));
        out.message(21, &choice);
    }
    if value["type"].is_string() {
        let mut kind = Message::default();
        kind.text(1, &value["type"]);
        out.message(22, &kind);
    }
    if value["items"].is_object() {
        let mut items = Message::default();
        items.message(1, &schema(&value["items"]));
        out.message(23, &items);
    }
    if value["properties"].is_object() {
        let mut properties = Message::default();
        for (name, property) in entries(&value["properties"]) {
            properties.named(1, name, &schema(property));
        }
        out.message(25, &properties);
    }
    if let Some(fields) = value.as_object() {
        out.extensions(31, fields);
    }
    out
}

/// A protobuf message in the making.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// Wire type 2: length-delimited.
    fn bytes(&mut self, number: u64, bytes: &[u8]) {
        prost::encoding::encode_varint(number << 3 | 2, &mut self.0);
        prost::encoding::encode_varint(bytes.len() as u64, &mut self.0);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, number: u64, message: &Message) {
        self.bytes(number, &message.0);
    }

    /// A pair of name (1) and value (2).
    fn named(&mut self, number: u64, name: &str, value: &Message) {
        let mut pair = Self::default();
        pair.bytes(1, name.as_bytes());
        pair.message(2, value);
        self.message(number, &pair);
    }

    fn text(&mut self, number: u64, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.bytes(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u64, values: &Value) {
        for value in values.as_array().into_iter().flatten() {
            self.text(number, value);
        }
    }

    /// Wire type 0: a number.
    fn flag(&mut self, number: u64, value: &Value) {
        if *value == true {
            prost::encoding::encode_varint(number << 3, &mut self.0);
            self.0.push(1);
        }
    }

    fn parameters(&mut self, number: u64, values: &Value) {
        for value in values.as_array().into_iter().flatten() {
            self.message(number, &parameter(value));
        }
    }

    /// The `x-` fields, as YAML text, of which JSON is a part.
    fn extensions(&mut self, number: u64, fields: &Fields) {
        for (name, value) in fields.iter().filter(|(name, _)| name.starts_with("x-")) {
            let mut any = Self::default();
            any.bytes(2, value.to_string().as_bytes());
            self.named(number, name, &any);
        }
    }
}
