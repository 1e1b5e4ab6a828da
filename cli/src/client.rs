//! The client's side of the admin port: a line out, a line in.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::Global;
use crate::command::Line;
use crate::config::{self, ConfigError};
use crate::folder;
use crate::reply::{Code, Failure, one_line};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest line that is read, in bytes: a node drops clients that it owes more.
pub const MAX_LINE_BYTES: usize = 32 * 1024 * 1024;

/// Why a node cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no node answers at {address}: {source}; is `graven node` running?")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection to the node broke: {0}")]
    Io(#[from] std::io::Error),
    /// The node ended the connection.
    #[error("the node ended the connection without an answer")]
    Closed,
    /// What came is no reply.
    #[error("the node's answer is no reply of the admin port: {0:?}")]
    Garbled(String),
    /// It is a reply to something else, or a lie.
    #[error("the node's answer is not what was asked for: {0}")]
    Unexpected(String),
    /// The node took too long.
    #[error("the node did not answer within {} s", .0.as_secs())]
    Late(Duration),
    /// The node refused.
    #[error(transparent)]
    Refused(#[from] Failure),
    /// The settings make no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What a node can send.
#[derive(Debug)]
pub enum Reply {
    /// The answer to a request.
    Ok(Value),
    /// An event of a `WATCH`.
    Event(Value),
}

/// A connection to a node's admin port.
#[derive(Debug)]
pub struct Client {
    reader: BufReader<TcpStream>,
    cookie: Option<String>,
    /// When waiting began, and how long it may take.
    patience: Option<(Instant, Duration)>,
}

impl Client {
    /// Connects as the global flags say: to `--admin`, else to the node that runs in the data
    /// folder, else to the default port.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn open(global: &Global) -> Result<Client, ClientError> {
        let data: Option<PathBuf> = config::data_folder(global).ok();
        let written = data.as_deref().and_then(|data| folder::read_address(data, "admin"));
        let address = global.admin.or(written).unwrap_or_else(config::default_admin);
        let cookie = data.as_deref().and_then(folder::read_cookie);
        Client::connect(address, cookie)
    }

    /// Connects to an address. The cookie is shown when the node asks for it.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(address: SocketAddr, cookie: Option<String>) -> Result<Client, ClientError> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
            .map_err(|source| ClientError::Connect { address, source })?;
        stream.set_nodelay(true)?;
        Ok(Client { reader: BufReader::new(stream), cookie, patience: None })
    }

    /// Asks and waits for the answer. Shows the cookie if the node wants it.
    ///
    /// # Errors
    /// When the node refuses or the connection breaks.
    pub fn request(&mut self, line: &Line) -> Result<Value, ClientError> {
        match self.ask(&line.build()) {
            Err(ClientError::Refused(failure)) if failure.code == Code::NoAuth => {
                let Some(cookie) = self.cookie.take() else { return Err(failure.into()) };
                self.ask(&Line::new("AUTH").word(cookie).build())?;
                self.ask(&line.build())
            }
            result => result,
        }
    }

    /// Likewise, of a node that is not trusted: its answer is of this shape and has no more than
    /// so many bytes, or is refused before it costs more memory than that. It sees no cookie.
    ///
    /// # Errors
    /// When the node refuses, the connection breaks, or the answer is another one.
    pub fn request_as<T: DeserializeOwned>(
        &mut self,
        line: &Line,
        most_bytes: usize,
    ) -> Result<T, ClientError> {
        self.ask_as(&line.build(), most_bytes)
    }

    /// Sends a line and waits for its answer.
    ///
    /// # Errors
    /// When the node refuses or the connection breaks.
    pub fn ask(&mut self, line: &str) -> Result<Value, ClientError> {
        self.ask_as(line, MAX_LINE_BYTES)
    }

    fn ask_as<T: DeserializeOwned>(
        &mut self,
        line: &str,
        most_bytes: usize,
    ) -> Result<T, ClientError> {
        self.send(line)?;
        loop {
            if let Told::Ok(json) = told(&self.line(most_bytes)?)? {
                let read = serde_json::from_str(json);
                return read.map_err(|error| ClientError::Unexpected(one_line(&error.to_string())));
            }
        }
    }

    /// Sends a line.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn send(&mut self, line: &str) -> Result<(), ClientError> {
        Ok(self.reader.get_mut().write_all(format!("{line}\n").as_bytes())?)
    }

    /// Waits for the next reply or event.
    ///
    /// # Errors
    /// When the node refuses or the connection breaks.
    pub fn receive(&mut self) -> Result<Reply, ClientError> {
        let line = self.line(MAX_LINE_BYTES)?;
        let reply = match told(&line)? {
            Told::Ok(json) => serde_json::from_str(json).map(Reply::Ok),
            Told::Event(json) => serde_json::from_str(json).map(Reply::Event),
        };
        reply.map_err(|_| garbled(&line))
    }

    /// Asks for the latest value of a key by `GET` of the Redis protocol, which the connection
    /// speaks from then on; `None` = it has none.
    ///
    /// # Errors
    /// When the node refuses or the connection breaks.
    pub fn get(&mut self, key: &str) -> Result<Option<Vec<u8>>, ClientError> {
        let request = format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len());
        self.reader.get_mut().write_all(request.as_bytes())?;
        let head = self.line(MAX_LINE_BYTES)?;
        let head = head.trim_end();
        let Some(length) = head.strip_prefix('$') else { return Err(refusal(head)) };
        if length == "-1" {
            return Ok(None);
        }
        let length = length.parse().ok().filter(|length: &usize| *length <= MAX_LINE_BYTES);
        let length = length.ok_or_else(|| garbled(head))?;
        let mut value = vec![0; length + 2];
        self.reader.read_exact(&mut value)?;
        value.truncate(length);
        Ok(Some(value))
    }

    /// Gives up all waiting when `patience` has passed since `began`: then a node that sends byte
    /// after byte, and never all, is no better than one that sends none.
    pub fn be_patient(&mut self, began: Instant, patience: Duration) {
        self.patience = Some((began, patience));
    }

    /// The next line, its end included, of at most so many bytes.
    fn line(&mut self, most_bytes: usize) -> Result<String, ClientError> {
        let mut line = Vec::new();
        loop {
            if let Some((began, patience)) = self.patience {
                let left = patience.saturating_sub(began.elapsed());
                if left.is_zero() {
                    return Err(ClientError::Late(patience));
                }
                self.set_timeout(Some(left))?;
            }
            let bytes = match self.reader.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => match (error.kind(), self.patience) {
                    (ErrorKind::WouldBlock | ErrorKind::TimedOut, Some((_, patience))) => {
                        return Err(ClientError::Late(patience));
                    }
                    _ => return Err(error.into()),
                },
            };
            let end = bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
            let taken = end.unwrap_or(bytes.len());
            line.extend_from_slice(&bytes[..taken]);
            self.reader.consume(taken);
            if taken == 0 && line.is_empty() {
                return Err(ClientError::Closed);
            }
            if line.len() > most_bytes {
                let what = format!("a line of more than {most_bytes} bytes");
                return Err(ClientError::Unexpected(what));
            }
            if taken == 0 || end.is_some() {
                let no_text = |_| ClientError::Garbled("no text".to_string());
                return String::from_utf8(line).map_err(no_text);
            }
        }
    }

    /// Gives up waiting for a reply after this time; `None` = never.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), ClientError> {
        Ok(self.reader.get_ref().set_read_timeout(timeout)?)
    }
}

/// A line of a node, its JSON not yet read.
enum Told<'a> {
    Ok(&'a str),
    Event(&'a str),
}

fn told(line: &str) -> Result<Told<'_>, ClientError> {
    let line = line.trim_end();
    if let Some(json) = line.strip_prefix("+OK ") {
        return Ok(Told::Ok(json));
    }
    if let Some(json) = line.strip_prefix("+EVENT ") {
        return Ok(Told::Event(json));
    }
    Err(refusal(line))
}

/// What a line says that is no answer.
fn refusal(line: &str) -> ClientError {
    let Some(rest) = line.strip_prefix('-') else { return garbled(line) };
    let (code, message) = rest.split_once(' ').unwrap_or((rest, ""));
    Failure::new(Code::from_word(code), message).into()
}

fn garbled(line: &str) -> ClientError {
    ClientError::Garbled(line.trim_end().chars().take(80).collect())
}
