//! What the demo plays, step by step.

use std::path::Path;

use serde_json::Value;

use super::{ChildNode, DemoError, start, wait_for};
use crate::client::ClientError;
use crate::client::Reply;
use crate::reply::Code;

pub(super) fn play(temp: &Path) -> Result<(), DemoError> {
    println!("Starting three nodes on this machine, each with a chain of its own on disk.");
    println!("Ada mines; bob and cyd check everything themselves.");
    let ada = start("ada", temp, None, &[])?;
    let bob = start("bob", temp, None, &[ada.peers])?;
    let cyd = start("cyd", temp, None, &[ada.peers, bob.peers])?;
    for node in [&ada, &bob, &cyd] {
        println!("  {}: peers {}, admin {}", node.name, node.peers, node.admin);
    }
    wait_for("the nodes meeting", || {
        let met = [&ada, &bob, &cyd].map(|node| node.ask("STATUS"));
        let met = met.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(met.iter().all(|status| status["peers"] == 2).then_some(()))
    })?;
    println!("  Each is connected to the two others.\n");

    life_of_a_put(&ada)?;
    read_everywhere(&bob, &[&ada, &bob, &cyd])?;
    conflict(&ada, &cyd)?;

    println!("Killing cyd (SIGKILL) and going on without it.");
    let at = cyd.kill();
    put(&ada, "greeting", "written while cyd was dead")?;
    put(&bob, "farewell", "see you")?;
    println!("Starting cyd again on the same folder.");
    let cyd = start("cyd", temp, Some(at), &[ada.peers, bob.peers])?;
    agree(&[&ada, &bob, &cyd])
}

/// Shows pending, included and confirmed as events.
fn life_of_a_put(node: &ChildNode) -> Result<(), DemoError> {
    println!("Putting greeting = \"hello world\" at {}, and watching it:", node.name);
    let mut watcher = node.client()?;
    watcher.ask("WATCH greeting CONFIRMATIONS 2")?;
    node.ask("PUT greeting 'hello world'")?;
    for expected in ["pending", "included", "confirmed"] {
        if expected == "confirmed" {
            println!("  (mining one block more on top)");
            node.ask("MINE 1")?;
        }
        let event = loop {
            if let Reply::Event(event) = watcher.receive()? {
                break event;
            }
        };
        let name = event["event"].as_str().unwrap_or_default();
        let height = event["height"].as_u64();
        let height = height.map_or(String::new(), |height| format!(" at height {height}"));
        println!("  event: {name}{height}");
        check(name == expected, || format!("event {name} where {expected} was due"))?;
    }
    println!();
    Ok(())
}

/// Puts again at another node and reads the result at all.
fn read_everywhere(writer: &ChildNode, nodes: &[&ChildNode]) -> Result<(), DemoError> {
    println!("Putting greeting again, at {}.", writer.name);
    put(writer, "greeting", "hello from bob")?;
    for node in nodes {
        let value = wait_for("the write reaching every node", || {
            let value = node.ask("RETRIEVE greeting")?;
            Ok((value["value"] == "hello from bob").then_some(value))
        })?;
        println!("  {} reads version {}: {}", node.name, value["version"], value["value"]);
    }
    println!();
    Ok(())
}

/// Two writers expect the same version: one succeeds, the other is told why not.
fn conflict(one: &ChildNode, other: &ChildNode) -> Result<(), DemoError> {
    println!("A conflict: {} and {} both write on top of version 2.", one.name, other.name);
    let writers = [one, other].map(|node| {
        let client = node.client();
        let line = format!("PUT greeting 'by {}' IF 2 WAIT 1", node.name);
        client.and_then(|mut client| {
            client.send(&line)?;
            Ok((node, client))
        })
    });
    let (mut won, mut lost) = (0, 0);
    for writer in writers {
        let (node, mut client) = writer?;
        match client.receive() {
            Ok(Reply::Ok(value)) => {
                won += 1;
                println!("  {}: confirmed as version {}", node.name, value["version"]);
            }
            Err(ClientError::Refused(failure)) if failure.code == Code::Failed => {
                lost += 1;
                println!("  {}: failed, {}", node.name, failure.message);
            }
            Ok(Reply::Event(_)) => return Err(DemoError::Differs("an event".to_string())),
            Err(error) => return Err(error.into()),
        }
    }
    check(won == 1 && lost == 1, || format!("{won} writers succeeded and {lost} failed"))?;
    println!();
    Ok(())
}

/// All nodes come to the same tip and the same history.
fn agree(nodes: &[&ChildNode]) -> Result<(), DemoError> {
    let tip = wait_for("agreement on a tip", || {
        let statuses: Vec<Value> =
            nodes.iter().map(|node| node.ask("STATUS")).collect::<Result<_, _>>()?;
        let same = statuses.iter().all(|status| status["tip"] == statuses[0]["tip"]);
        Ok(same.then(|| statuses[0].clone()))
    })?;
    println!("\nAll three agree on tip {} at height {}.", tip["tip"], tip["height"]);
    let histories: Vec<Value> =
        nodes.iter().map(|node| node.ask("RETRIEVE_ALL greeting")).collect::<Result<_, _>>()?;
    for (node, history) in nodes.iter().zip(&histories) {
        check(history["versions"] == histories[0]["versions"], || {
            format!("{} has another history of greeting", node.name)
        })?;
    }
    println!("All three have the same history of greeting:");
    for version in histories[0]["versions"].as_array().into_iter().flatten() {
        let (number, value, height) = (&version["version"], &version["value"], &version["height"]);
        println!("  version {number} at height {height}: {value}");
    }
    let last = &histories[0]["versions"][3]["value"];
    check(*last == "written while cyd was dead", || format!("version 4 is {last}"))
}

fn put(node: &ChildNode, key: &str, value: &str) -> Result<(), DemoError> {
    let answer = node.ask(&format!("PUT {key} '{value}' WAIT 1"))?;
    println!("  {}: {key} confirmed as version {}", node.name, answer["version"]);
    Ok(())
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), DemoError> {
    if holds { Ok(()) } else { Err(DemoError::Differs(what())) }
}
