use kv::proof::{Claim, CoinbaseParts};
use serde_json::json;

use super::*;

fn file(key: &[u8]) -> Value {
    let (payee, tag) = (chain::tx::PublicKey([3; 32]), b"t".to_vec());
    let proof = Proof {
        key: key.to_vec(),
        block: Hash([1; 32]),
        coinbase: CoinbaseParts { height: 1, extranonce: 2, tag, value: 3, payee },
        branch: Vec::new(),
        steps: Vec::new(),
        other: None,
        claim: Claim::Absent,
    };
    let network = Network::dev();
    ProofFile::new(&network, proof, vec![network.genesis().header; 2]).to_json()
}

fn read(value: &Value) -> Result<ProofFile, MalformedFile> {
    ProofFile::read(value.to_string().as_bytes())
}

#[test]
fn what_is_written_can_be_read_again() {
    for key in [&b"key"[..], b"\xff\x00"] {
        let written = file(key);
        let file = read(&written).unwrap();
        assert_eq!((file.headers.len(), &file.key[..]), (2, key));
        assert_eq!(file.to_json(), written);
        let mut bare = written;
        bare.as_object_mut().unwrap().remove("headers");
        assert!(read(&bare).unwrap().headers.is_empty());
    }
}

#[test]
fn there_is_one_way_to_write_a_key() {
    let mut both = file(b"key");
    both["key_base64"] = "a2V5".into();
    assert_eq!(read(&both), Err(MalformedFile::Field("key")));
    both.as_object_mut().unwrap().remove("key");
    assert_eq!(read(&both), Err(MalformedFile::Field("key_base64")));
    both.as_object_mut().unwrap().remove("key_base64");
    assert_eq!(read(&both), Err(MalformedFile::Field("key")));
}

#[test]
fn everything_else_is_refused() {
    let json = |value: Value| matches!(read(&value), Err(MalformedFile::Json(_)));
    let with = |name: &str, field: Value| {
        let mut file = file(b"key");
        file[name] = field;
        file
    };
    assert!(json(with("more", json!(1))));
    assert!(json(with("network", json!(1))));
    assert!(json(with("headers", json!(["00"]))));
    assert!(json(with("headers", json!([[0]]))));
    assert!(json(json!([[0]])));
    assert_eq!(read(&with("format", json!("graven proof 2"))), Err(MalformedFile::Format));
    assert_eq!(read(&json!({"other": 1})), Err(MalformedFile::Format));
    assert_eq!(read(&with("genesis", json!("00"))), Err(MalformedFile::Field("genesis")));
    assert_eq!(read(&with("proof", json!("*"))), Err(MalformedFile::Field("proof")));
    assert!(matches!(read(&with("proof", json!("AQ=="))), Err(MalformedFile::Proof(_))));
    let error = read(&with("\u{1b}[31m", json!(1))).unwrap_err().to_string();
    assert!(!error.contains(char::is_control), "{error:?}");
}
