//! Commands about the connection, the protocol and the commands themselves.

use net::{ClientId, Millis};

use super::super::Admin;
use super::super::requests::same;
use super::Started;
use super::session::Session;
use crate::reply::{Code, Failure};
use crate::resp::glob;
use crate::resp::parser::number;
use crate::resp::reply::{Reply, Version};
use crate::resp::{REDIS_VERSION, table};

/// Longest name of a client or a library, in bytes.
const MAX_NAME_BYTES: usize = 128;

/// Settings that clients ask for.
const CONFIG: &[(&str, &str)] = &[
    ("appendonly", "yes"),
    ("databases", "1"),
    ("maxclients", "256"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("notify-keyspace-events", "KEA"),
    ("replica-read-only", "yes"),
    ("save", ""),
    ("timeout", "600"),
];

/// What a word is in upper case.
fn upper(word: &[u8]) -> Vec<u8> {
    word.to_ascii_uppercase()
}

impl Admin {
    pub(super) fn connection_command(
        &mut self,
        id: ClientId,
        name: &[u8],
        words: &[Vec<u8>],
    ) -> Started {
        let now = self.now;
        let reply = match name {
            b"PING" => match self.session(id) {
                session if session.version == Version::Two && session.is_subscribed() => {
                    let message = words.get(1).cloned().unwrap_or_default();
                    Reply::Array(vec![Reply::text("pong"), Reply::Bulk(message)])
                }
                _ if words.len() > 2 => return Err(table::wrong_number("PING")),
                _ => pong(words),
            },
            b"ECHO" => Reply::Bulk(words[1].clone()),
            b"TIME" => time(now),
            b"SELECT" if words[1] == b"0" => Reply::OK,
            b"SELECT" if number(&words[1]).is_none() => {
                return Err(Reply::error("value is not an integer or out of range"));
            }
            b"SELECT" => return Err(Reply::error("DB index is out of range: there is only 0")),
            b"AUTH" => match &words[1..] {
                [token] | [_, token] => self.authorise(id, token)?,
                _ => return Err(Reply::error("syntax error")),
            },
            b"HELLO" => self.hello(id, &words[1..])?,
            b"QUIT" => {
                let session = self.session(id);
                session.parser.discard();
                session.closing = true;
                Reply::OK
            }
            b"RESET" => self.reset(id),
            b"CLIENT" => self.client_command(id, words)?,
            b"COMMAND" => commands(words)?,
            b"CONFIG" => config(words)?,
            b"CLUSTER" if upper(&words[1]) == b"INFO" => Reply::text("cluster_enabled:0\r\n"),
            _ => return Err(Reply::error("This instance has cluster support disabled")),
        };
        Ok(Some(reply))
    }

    fn authorise(&mut self, id: ClientId, token: &[u8]) -> Result<Reply, Reply> {
        if !same(token, self.options.cookie.as_bytes()) {
            let what = "WRONGPASS the password is the content of the node's admin.cookie";
            return Err(Reply::Error(what.to_string()));
        }
        self.clients.get_mut(&id).expect("it is being served").authorised = true;
        Ok(Reply::OK)
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`.
    fn hello(&mut self, id: ClientId, words: &[Vec<u8>]) -> Result<Reply, Reply> {
        let version = match words.first().map(Vec::as_slice) {
            None => self.session(id).version,
            Some(b"2") => Version::Two,
            Some(b"3") => Version::Three,
            Some(word) if number(word).is_none() => {
                return Err(Reply::error("Protocol version is not an integer or out of range"));
            }
            Some(_) => {
                let failure = Failure::new(Code::NoProto, "unsupported protocol version");
                return Err(Reply::from(&failure));
            }
        };
        let (mut rest, mut name) = (words.get(1..).unwrap_or_default(), None);
        while let Some((option, after)) = rest.split_first() {
            rest = match (upper(option).as_slice(), after) {
                (b"AUTH", [_, password, after @ ..]) => {
                    self.authorise(id, password)?;
                    after
                }
                (b"SETNAME", [word, after @ ..]) => {
                    check_name(word)?;
                    name = Some(word.clone());
                    after
                }
                _ => {
                    let option = option[..option.len().min(64)].escape_ascii();
                    let what = format_args!("Syntax error in HELLO option '{option}'");
                    return Err(Reply::error(what));
                }
            };
        }
        let session = self.session(id);
        session.version = version;
        if let Some(name) = name {
            session.name = name;
        }
        let protocol = if version == Version::Three { 3 } else { 2 };
        let fields = [
            ("server", Reply::text("graven")),
            ("version", Reply::text(REDIS_VERSION)),
            ("proto", Reply::Integer(protocol)),
            ("id", Reply::Integer(number_of(id))),
            ("mode", Reply::text("standalone")),
            ("role", Reply::text("master")),
            ("modules", Reply::Array(Vec::new())),
        ];
        Ok(Reply::Map(fields.map(|(name, value)| (Reply::text(name), value)).to_vec()))
    }

    /// Makes the connection as it was when it was opened, but for what it has written.
    fn reset(&mut self, id: ClientId) -> Reply {
        let client = self.clients.get_mut(&id).expect("it is being served");
        client.authorised = client.trusted;
        let session = self.session(id);
        session.end_transaction();
        session.channels.clear();
        session.patterns.clear();
        session.name.clear();
        session.version = Version::Two;
        Reply::Simple("RESET")
    }

    fn client_command(&mut self, id: ClientId, words: &[Vec<u8>]) -> Result<Reply, Reply> {
        let now = self.now;
        let subcommand = upper(&words[1]);
        match (subcommand.as_slice(), &words[2..]) {
            (b"ID", []) => Ok(Reply::Integer(number_of(id))),
            (b"GETNAME", []) => {
                let name = self.session(id).name.clone();
                Ok(Reply::value(Some(name).filter(|name| !name.is_empty())))
            }
            (b"SETNAME", [name]) => {
                check_name(name)?;
                self.session(id).name = name.clone();
                Ok(Reply::OK)
            }
            (b"SETINFO", [what, value]) => {
                check_name(value)?;
                let place = match upper(what).as_slice() {
                    b"LIB-NAME" => 0,
                    b"LIB-VER" => 1,
                    _ => return Err(Reply::error("Unrecognized option")),
                };
                self.session(id).library[place] = value.clone();
                Ok(Reply::OK)
            }
            (b"INFO", []) => Ok(Reply::text(describe(id, self.session(id), now))),
            (b"LIST", _) => {
                let clients = self.clients.iter();
                let sessions =
                    clients.filter_map(|(id, client)| Some((id, client.redis.as_ref()?)));
                Ok(Reply::text(
                    sessions.map(|(id, session)| describe(*id, session, now)).collect::<String>(),
                ))
            }
            (b"NO-EVICT" | b"NO-TOUCH", [_]) => Ok(Reply::OK),
            _ => Err(refused_of_client(&subcommand)),
        }
    }
}

/// The reply to a subcommand of `CLIENT` that is not answered.
fn refused_of_client(subcommand: &[u8]) -> Reply {
    let why = match subcommand {
        b"TRACKING" | b"TRACKINGINFO" | b"CACHING" | b"GETREDIR" => "SUBSCRIBE to keys",
        b"KILL" | b"PAUSE" | b"UNPAUSE" | b"UNBLOCK" => "connections let each other be here",
        b"REPLY" => "every request is answered here",
        _ => return unknown("CLIENT", subcommand),
    };
    let name = String::from_utf8_lossy(subcommand);
    Reply::error(format_args!("{name} is not offered: {why}"))
}

fn number_of(id: ClientId) -> i64 {
    i64::try_from(id.0).unwrap_or(i64::MAX)
}

/// `PING` outside of subscriptions.
pub(super) fn pong(words: &[Vec<u8>]) -> Reply {
    words.get(1).map_or(Reply::Simple("PONG"), |word| Reply::Bulk(word.clone()))
}

/// Unix seconds, and microseconds of the second.
pub(super) fn time(now: Millis) -> Reply {
    Reply::texts([(now.0 / 1000).to_string(), (now.0 % 1000 * 1000).to_string()])
}

/// A line of `CLIENT LIST`.
fn describe(id: ClientId, session: &Session, now: Millis) -> String {
    let Session { address, name, library: [library, library_version], .. } = session;
    let version = if session.version == Version::Three { 3 } else { 2 };
    let queued = session.multi.as_ref().map_or("-1".to_string(), |m| m.queue.len().to_string());
    format!(
        "id={} addr={address} name={} age={} db=0 sub={} psub={} multi={queued} watch={} \
         resp={version} lib-name={} lib-ver={}\n",
        id.0,
        name.escape_ascii(),
        (now - session.opened_at) / 1000,
        session.channels.len(),
        session.patterns.len(),
        session.watched.len(),
        library.escape_ascii(),
        library_version.escape_ascii(),
    )
}

fn check_name(name: &[u8]) -> Result<(), Reply> {
    if name.len() > MAX_NAME_BYTES || !name.iter().all(u8::is_ascii_graphic) {
        let what = format_args!(
            "names cannot contain spaces, newlines or special characters, \
             or more than {MAX_NAME_BYTES} bytes"
        );
        return Err(Reply::error(what));
    }
    Ok(())
}

fn unknown(command: &str, subcommand: &[u8]) -> Reply {
    let shown = subcommand[..subcommand.len().min(64)].escape_ascii();
    Reply::error(format_args!("unknown subcommand '{shown}' of {command}"))
}

/// `COMMAND`, `COMMAND COUNT`, `LIST`, `DOCS`, `INFO`, `GETKEYS`.
fn commands(words: &[Vec<u8>]) -> Result<Reply, Reply> {
    let Some(subcommand) = words.get(1) else {
        return Ok(Reply::Array(table::COMMANDS.iter().map(table::Command::row).collect()));
    };
    let rest = &words[2..];
    let named = || rest.iter().map(|name| table::find(&upper(name)));
    Ok(match upper(subcommand).as_slice() {
        b"COUNT" => Reply::count(table::COMMANDS.len()),
        b"LIST" => {
            Reply::texts(table::COMMANDS.iter().map(|command| command.name.to_ascii_lowercase()))
        }
        b"DOCS" if rest.is_empty() => {
            Reply::Map(table::COMMANDS.iter().map(table::Command::docs).collect())
        }
        b"DOCS" => Reply::Map(named().flatten().map(table::Command::docs).collect()),
        b"INFO" if rest.is_empty() => {
            Reply::Array(table::COMMANDS.iter().map(table::Command::row).collect())
        }
        b"INFO" => {
            let row = |command: Option<&table::Command>| {
                command.map_or(Reply::NullArray, table::Command::row)
            };
            Reply::Array(named().map(row).collect())
        }
        b"GETKEYS" => {
            let command = rest.first().and_then(|name| table::find(&upper(name)));
            let command = command.ok_or_else(|| Reply::error("Invalid command specified"))?;
            let keys = command.keys_of(rest);
            if keys.is_empty() || !command.takes(rest.len()) {
                return Err(Reply::error("The command has no key arguments"));
            }
            Reply::Array(keys.into_iter().map(|key| Reply::Bulk(key.to_vec())).collect())
        }
        other => return Err(unknown("COMMAND", other)),
    })
}

/// `CONFIG GET pattern ..`.
fn config(words: &[Vec<u8>]) -> Result<Reply, Reply> {
    match (upper(&words[1]).as_slice(), &words[2..]) {
        (b"GET", patterns) if !patterns.is_empty() => {
            let patterns: Vec<Vec<u8>> =
                patterns.iter().take(64).map(|pattern| pattern.to_ascii_lowercase()).collect();
            let matches =
                |name: &str| patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes()));
            let fields = CONFIG.iter().filter(|(name, _)| matches(name));
            let field = |(name, value): &(&str, &str)| (Reply::text(*name), Reply::text(*value));
            Ok(Reply::Map(fields.map(field).collect()))
        }
        (b"RESETSTAT", []) => Ok(Reply::OK),
        (b"SET" | b"REWRITE", _) => {
            Err(Reply::error("settings are changed where the node is started; see graven node"))
        }
        (other, _) => Err(unknown("CONFIG", other)),
    }
}
