use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A length-delimited field.
fn field(number: usize, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(number << 3 | 2);
    out.extend(varint(bytes.len()));
    out.extend(bytes);
    out
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &type_meta), field(2, raw)].concat()
}

fn read(bytes: &[u8]) -> Result<Value, ProtobufError> {
    decode(bytes, Catalogue::builtin(), None)
}

#[test]
fn maps_of_bytes_and_metadata_become_json() {
    let metadata = field(1, b"greeting");
    let data = [field(1, b"password"), field(2, b"hunter2")].concat();
    let secret = [field(1, &metadata), field(2, &data), field(3, b"Opaque")].concat();
    let expected = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "greeting"},
        "data": {"password": "aHVudGVyMg=="}, "type": "Opaque"});
    assert_eq!(read(&envelope("v1", "Secret", &secret)), Ok(expected));
}

#[test]
fn zero_values_that_json_omits_are_left_out_and_others_are_not() {
    // nodePort, protocol and port are all zero on the wire; only port is no `omitempty`.
    let port = [field(2, b""), vec![3 << 3, 0, 5 << 3, 0]].concat();
    let service = field(2, &field(1, &port));
    let decoded = read(&envelope("v1", "Service", &service)).expect("well-formed");
    assert_eq!(decoded["spec"]["ports"], json!([{"port": 0, "targetPort": 0}]));
}

#[test]
fn an_envelope_without_a_kind_takes_the_expected_one() {
    let body = [MAGIC.to_vec(), field(2, b"")].concat();
    let expected = Gvk::new("", "v1", "DeleteOptions");
    let decoded = decode(&body, Catalogue::builtin(), Some(&expected));
    assert_eq!(decoded, Ok(json!({"apiVersion": "v1", "kind": "DeleteOptions"})));
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(read(b"{}"), Err(ProtobufError::Prefix));
    let error = read(&envelope("example.dev/v1", "Thing", b"")).expect_err("no built-in kind");
    assert_eq!(
        error.to_string(),
        "\"example.dev/v1, Kind=Thing\" is no built-in kind, and only built-in kinds can be sent as protobuf"
    );
    let error =
        read(&envelope("v1", "Secret", &field(1, &field(1, b"\xff")))).expect_err("not UTF-8");
    assert_eq!(error.to_string(), "meta.v1.ObjectMeta.name: is not UTF-8");
    let error =
        read(&envelope("v1", "Secret", &[2 << 3, 1])).expect_err("a number where a map stands");
    assert_eq!(error.to_string(), "core.v1.Secret.data: is not a message on the wire");
}

#[test]
fn depth_and_size_are_bounded() {
    // The number of JSONSchemaProps.not, within itself.
    const NOT: usize = 28;
    let mut schema = Vec::new();
    for _ in 0..200 {
        schema = field(NOT, &schema);
    }
    let version = field(4, &field(1, &schema));
    let crd = field(2, &field(7, &version));
    assert_eq!(
        read(&envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &crd)),
        Err(ProtobufError::TooDeep)
    );
    let pods = [2 << 3 | 2, 0].repeat(400_000);
    assert_eq!(read(&envelope("v1", "PodList", &pods)), Err(ProtobufError::TooLarge));
}

#[test]
fn an_object_embedded_as_protobuf_is_read_too() {
    let inner = envelope("v1", "ConfigMap", &field(1, &field(1, b"inner")));
    let revision = field(2, &field(1, &inner));
    let decoded = read(&envelope("apps/v1", "ControllerRevision", &revision)).expect("well-formed");
    assert_eq!(decoded["data"]["metadata"]["name"], "inner");
}

proptest! {
    #[test]
    fn random_bytes_never_panic(raw in proptest::collection::vec(any::<u8>(), 0..300), which in 0usize..300) {
        let kinds: Vec<&Gvk> = Catalogue::builtin().kinds().collect();
        let gvk = kinds[which % kinds.len()];
        if let Ok(value) = read(&envelope(&gvk.api_version(), &gvk.kind, &raw)) {
            prop_assert!(value.is_object());
        }
        let _ = read(&raw);
        let _ = read(&[MAGIC, &raw].concat());
    }
}
