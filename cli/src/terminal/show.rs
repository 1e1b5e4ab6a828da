//! Answers as a person likes to read them.

use std::fmt::Write;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use crate::command::show_coins;
use crate::reply::get_bytes;

/// Longest value shown in a table, in characters.
const SHOWN_CHARS: usize = 60;

/// A write's answer, in a sentence.
pub(super) fn written(value: &Value) -> String {
    let txid = text(value, "txid");
    match value["status"].as_str() {
        Some("confirmed") => {
            let version = value["version"].as_u64();
            let version = version.map_or(String::new(), |version| format!(" as version {version}"));
            let height = &value["height"];
            let confirmations = &value["confirmations"];
            format!("confirmed{version} at height {height} ({confirmations} deep), txid {txid}")
        }
        Some(status) => format!("{status}, txid {txid}"),
        None => fields(value),
    }
}

/// A value, and below it where it comes from when there is a line for that.
pub(super) fn value(value: &Value) -> String {
    shown_bytes(&get_bytes(value, "value").unwrap_or_default())
}

/// Every field on its own line.
pub(super) fn fields(value: &Value) -> String {
    let Some(object) = value.as_object() else { return value.to_string() };
    let width = object.keys().map(String::len).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in object {
        let shown = match value {
            Value::Array(list) => {
                let items: Vec<String> = list.iter().map(plain).collect();
                items.join(&format!("\n{:width$}  ", ""))
            }
            other => plain(other),
        };
        let name = on_one_line(name);
        let _ = writeln!(out, "{name:width$}  {shown}"); // writing to a string cannot fail
    }
    out
}

/// What the node is doing.
pub(super) fn status(value: &Value) -> String {
    let mut shown = value.clone();
    shown["hash_rate"] = mega_hashes(&value["hash_rate"]).into();
    let stratum = shown.as_object_mut().and_then(|fields| fields.remove("stratum"));
    if let Some(Value::Object(stratum)) = stratum {
        for (name, field) in stratum {
            let field = if name == "hash_rate" { mega_hashes(&field).into() } else { field };
            shown[format!("stratum_{name}")] = field;
        }
    }
    if let Some(Value::Object(limits)) = value.get("limits") {
        let limits: Vec<String> =
            limits.iter().map(|(name, limit)| format!("{name} {limit}")).collect();
        shown["limits"] = limits.join(", ").into();
    }
    if let Some(syncing) = shown.as_object_mut().and_then(|fields| fields.remove("syncing")) {
        shown["syncing"] = sync_progress(&value["height"], &syncing).into();
    }
    fields(&shown)
}

/// How far a node that catches up has come, and when it will be there.
fn sync_progress(height: &Value, syncing: &Value) -> String {
    let done = height.as_f64().unwrap_or_default() / syncing["to"].as_f64().unwrap_or(1.0);
    let rate = syncing["blocks_per_second"].as_f64();
    let left = syncing["left_s"].as_u64();
    let pace = rate.zip(left).map_or_else(String::new, |(rate, left)| {
        format!(", {rate:.0} blocks/s, about {left} s left")
    });
    format!("{:.1} % of {} blocks{pace}", done * 100.0, syncing["to"])
}

/// The versions of a key, one a line.
pub(super) fn history(value: &Value) -> String {
    let mut table = plain_table(&["version", "height", "time", "value", "writer"]);
    for version in value["versions"].as_array().into_iter().flatten() {
        table.add_row([
            plain(&version["version"]),
            plain(&version["height"]),
            plain(&version["time"]),
            cell(version),
            text(version, "writer"),
        ]);
    }
    table.to_string()
}

/// Keys, one a line.
pub(super) fn keys(value: &Value) -> String {
    let mut table = plain_table(&["key", "version", "value"]);
    for key in value["keys"].as_array().into_iter().flatten() {
        let name = on_one_line(&shown_bytes(&get_bytes(key, "key").unwrap_or_default()));
        table.add_row([name, plain(&key["version"]), cell(key)]);
    }
    table.to_string()
}

/// Peers, one a line.
pub(super) fn peers(value: &Value) -> String {
    let mut table = plain_table(&[
        "address",
        "direction",
        "group",
        "state",
        "height",
        "ping ms",
        "connected s",
        "block s",
        "tx s",
        "agent",
        "node id",
    ]);
    for peer in value.as_array().into_iter().flatten() {
        table.add_row([
            text(peer, "address"),
            text(peer, "direction"),
            text(peer, "group"),
            text(peer, "state"),
            plain(&peer["height"]),
            plain(&peer["ping_ms"]),
            plain(&peer["connected_s"]),
            plain(&peer["last_block_s"]),
            plain(&peer["last_transaction_s"]),
            text(peer, "agent"),
            text(peer, "node_id").chars().take(16).collect(),
        ]);
    }
    table.to_string()
}

/// Miners, one a line.
pub(super) fn miners(value: &Value) -> String {
    let mut table = plain_table(&[
        "user",
        "connections",
        "hash rate",
        "difficulty",
        "accepted",
        "stale",
        "duplicate",
        "low",
        "invalid",
        "blocks",
        "seen",
    ]);
    for miner in value.as_array().into_iter().flatten() {
        table.add_row([
            text(miner, "user"),
            plain(&miner["connections"]),
            mega_hashes(&miner["hash_rate"]),
            plain(&miner["difficulty"]),
            plain(&miner["accepted"]),
            plain(&miner["stale"]),
            plain(&miner["duplicate"]),
            plain(&miner["low"]),
            plain(&miner["invalid"]),
            plain(&miner["blocks"]),
            format!("{} s ago", plain(&miner["seen_s"])),
        ]);
    }
    table.to_string()
}

/// Bans, one a line.
pub(super) fn bans(value: &Value) -> String {
    let mut table = plain_table(&["banned", "until", "left s"]);
    for ban in value.as_array().into_iter().flatten() {
        table.add_row([text(ban, "banned"), plain(&ban["until"]), plain(&ban["left_s"])]);
    }
    table.to_string()
}

fn mega_hashes(rate: &Value) -> String {
    format!("{:.2} MH/s", rate.as_f64().unwrap_or(0.0) / 1e6)
}

/// An event, in a line.
pub(super) fn event(value: &Value) -> String {
    let key = on_one_line(&shown_bytes(&get_bytes(value, "key").unwrap_or_default()));
    let mut line = format!("{:<12} {key}", text(value, "event"));
    for name in ["version", "height", "confirmations", "reason", "txid"] {
        if !value[name].is_null() {
            let _ = write!(line, "  {name} {}", plain(&value[name]));
        }
    }
    line
}

/// An account.
pub(super) fn balance(value: &Value) -> String {
    let coins = show_coins(value["balance"].as_u64().unwrap_or(0));
    let pending = &value["pending"];
    format!("{}  {coins} coins, {pending} transactions pending", text(value, "address"))
}

fn plain_table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(head);
    table
}

/// A version's value for a table.
fn cell(version: &Value) -> String {
    if version["deleted"] == true {
        return "(deleted)".to_string();
    }
    let Some(bytes) = get_bytes(version, "value") else { return String::new() };
    let shown = on_one_line(&shown_bytes(&bytes));
    if shown.chars().count() <= SHOWN_CHARS {
        return shown;
    }
    let start: String = shown.chars().take(SHOWN_CHARS).collect();
    format!("{start}.. ({} bytes)", bytes.len())
}

/// Text as it is, escaped if it could add a line to what is shown, or play tricks on the terminal:
/// what others wrote must not pass for what is said of it.
fn on_one_line(text: &str) -> String {
    let is_tricky = |c: char| {
        // The second are those that end a line or turn the way of writing.
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2066}'..='\u{2069}')
    };
    if text.contains(is_tricky) { text.escape_debug().to_string() } else { text.to_string() }
}

/// Text as it is, on as many lines as it has, other bytes in hex. Control characters cannot play
/// tricks on the terminal.
fn shown_bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && !"\n\r\t".contains(c)) => {
            text.to_string()
        }
        _ => format!("hex:{}", data_encoding::HEXLOWER.encode(bytes)),
    }
}

fn text(value: &Value, name: &str) -> String {
    on_one_line(value[name].as_str().unwrap_or_default())
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => on_one_line(text),
        Value::Null => "-".to_string(),
        other => on_one_line(&other.to_string()),
    }
}
