//! Clients that may not do what they ask for.

use chain::tx::PublicKey;
use tests::node::{Setup, wait_until};

use super::support::{PROGRAM, assert_refused, assert_well, free_network, stranger};

/// A request of every command that needs `AUTH`.
fn guarded_requests() -> [String; 10] {
    let somebody = PublicKey([7; 32]);
    [
        "PUT key value".to_string(),
        "DELETE key".to_string(),
        format!("HANDOVER key {somebody}"),
        "BATCH DELETE key".to_string(),
        format!("SEND {somebody} 1"),
        "ADDPEER 127.0.0.1:1".to_string(),
        "BAN 203.0.113.1".to_string(),
        "UNBAN 203.0.113.1".to_string(),
        "MINE 1".to_string(),
        "SHUTDOWN".to_string(),
    ]
}

#[test]
fn nothing_is_changed_without_the_cookie() {
    let temp = tempfile::tempdir().unwrap();
    let mut setup = Setup::new(PROGRAM, temp.path().join("node"));
    // On `dev`, to be on the same machine would be enough.
    setup.network = free_network(temp.path()).1.display().to_string();
    let mut node = setup.start();
    let mut client = stranger(&node);
    let help = client.ask("HELP").unwrap();
    let guarded = help.as_array().unwrap().iter().filter(|command| command["auth"] == true);
    assert_eq!(guarded.count(), guarded_requests().len(), "a guarded command is not tested");
    for token in [None, Some("0".repeat(64)), Some(String::new())] {
        if let Some(token) = token {
            assert_refused(client.ask(&format!("AUTH '{token}'")), "-NOAUTH", &["admin.cookie"]);
        }
        for line in guarded_requests() {
            assert_refused(client.ask(&line), "-NOAUTH", &["needs AUTH"]);
        }
    }
    assert_refused(client.ask("RETRIEVE key"), "-NOTFOUND", &["key"]);
    // A node that has just started does not know its height yet.
    wait_until("the height being known", || node.status()["height"].is_u64());
    assert_eq!(node.status()["height"], 0);
    assert_well(&mut node);
}
