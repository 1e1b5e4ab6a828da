//! A node's settings: flags over environment over file over defaults.

mod known;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, ToSocketAddrs};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use chain::params::{self, Network, NetworkError};
use chain::tx::PublicKey;
use miner::{Kernel, Pin};
use serde::Deserialize;

use crate::args::{self, Global, NodeArgs, PassphraseArgs};
use crate::folder::{self, FolderError};
use known::Known;
pub use known::add_landmarks;

/// Default port of peers.
pub const PEERS_PORT: u16 = 7400;

/// Default port for administration.
pub const ADMIN_PORT: u16 = 7401;

/// Most seeds of a file: each may take seconds to look up, and a few good ones are enough.
const MAX_SEEDS: usize = 256;

/// The network when none is named.
pub const DEFAULT_NETWORK: &str = "dev";

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration file is not TOML of the right shape.
    #[error("{path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// The network is unknown or its file is wrong.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A setting's value makes no sense.
    #[error("{name} {value:?}: {why}")]
    Value {
        /// Which setting.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What is wrong with it.
        why: String,
    },
}

/// The file that `--config` names. Its keys are the flags' names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    network: Option<String>,
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    #[serde(default)]
    peers: Vec<String>,
    #[serde(default)]
    connect: Vec<String>,
    seeds: Option<PathBuf>,
    mine: Option<usize>,
    kernel: Option<String>,
    #[serde(default)]
    pin: bool,
    payee: Option<String>,
    stratum: Option<SocketAddr>,
    prune: Option<NonZeroU32>,
    minimum_work: Option<String>,
    #[serde(default)]
    checkpoints: Vec<String>,
    assume_valid: Option<String>,
    passphrase_file: Option<PathBuf>,
}

/// A node's settings.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The network.
    pub network: Network,
    /// The data folder.
    pub data: PathBuf,
    /// Where peers connect to.
    pub listen: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
    /// Peers to stay connected to.
    pub peers: Vec<SocketAddr>,
    /// Whether they are the only ones.
    pub exclusive: bool,
    /// Peers to begin with, `host:port`, besides those of the network.
    pub seeds: Vec<String>,
    /// Mining threads; 0 = none.
    pub threads: usize,
    /// The mining kernel; `None` = the one that is fastest when mining starts.
    pub kernel: Option<&'static Kernel>,
    /// Which cores the mining threads run on.
    pub pin: Pin,
    /// Who receives what is mined; `None` = the wallet.
    pub payee: Option<PublicKey>,
    /// Where miners connect to; `None` = nowhere.
    pub stratum: Option<SocketAddr>,
    /// Most MiB of block bodies to keep; `None` = all of them.
    pub prune_mib: Option<NonZeroU32>,
    /// The wallet's passphrase, if it is known.
    pub passphrase: Option<SecretString>,
}

impl NodeConfig {
    /// Puts the settings together.
    ///
    /// # Errors
    /// When a file cannot be read or a value makes no sense.
    pub fn new(global: &Global, args: NodeArgs) -> Result<NodeConfig, ConfigError> {
        let file = args.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let name = global.network.clone().or(file.network);
        let mut network = network(name.as_deref())?;
        let checkpoints =
            if args.checkpoints.is_empty() { file.checkpoints } else { args.checkpoints };
        Known {
            minimum_work: args.minimum_work.or(file.minimum_work),
            checkpoints,
            assume_valid: args.assume_valid.or(file.assume_valid),
        }
        .add_to(&mut network)?;
        let data = match global.data.clone().or(file.data) {
            Some(data) => data,
            None => folder::default_path(&network.name)?,
        };
        let peers = if args.peers.is_empty() { file.peers } else { args.peers };
        let connect = if args.connect.is_empty() { file.connect } else { args.connect };
        let seeds = args.seeds.or(file.seeds);
        let mine = args.mine.or(file.mine.map(|threads| threads.to_string()));
        let kernel = args.kernel.or(file.kernel);
        let payee = args.payee.or(file.payee);
        let passphrase_file = args.passphrase.passphrase_file.or(file.passphrase_file);
        Ok(NodeConfig {
            threads: threads(mine.as_deref(), &network)?,
            network,
            data,
            listen: args
                .listen
                .or(file.listen)
                .unwrap_or_else(|| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, PEERS_PORT).into()),
            admin: global.admin.or(file.admin).unwrap_or_else(default_admin),
            exclusive: !connect.is_empty(),
            peers: [resolve("--peer", &peers)?, resolve("--connect", &connect)?].concat(),
            seeds: seeds.as_deref().map(read_seeds).transpose()?.unwrap_or_default(),
            stratum: args.stratum.or(file.stratum),
            prune_mib: args.prune.or(file.prune),
            kernel: kernel.as_deref().map(self::kernel).transpose()?,
            pin: args::pin(args.pin || file.pin),
            payee: payee
                .map(|text| text.parse().map_err(|error| value("--payee", &text, error)))
                .transpose()?,
            passphrase: passphrase(&PassphraseArgs { passphrase_file })?,
        })
    }
}

/// Where a node's admin port is when nothing else is said.
pub fn default_admin() -> SocketAddr {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, ADMIN_PORT).into()
}

/// The data folder that a command works on.
///
/// # Errors
/// When the network is unknown or the platform names no home.
pub fn data_folder(global: &Global) -> Result<PathBuf, ConfigError> {
    match &global.data {
        Some(data) => Ok(data.clone()),
        None => Ok(folder::default_path(&network(global.network.as_deref())?.name)?),
    }
}

/// A network by name or file.
///
/// # Errors
/// When there is neither.
pub fn network(name: Option<&str>) -> Result<Network, ConfigError> {
    let name = name.unwrap_or(DEFAULT_NETWORK);
    if let Some(network) = Network::built_in(name) {
        return Ok(network);
    }
    let path = Path::new(name);
    if !path.exists() && !name.contains(['/', '.']) {
        return Err(NetworkError::Unknown(name.to_string()).into());
    }
    Network::from_toml(&read(path)?).map_err(|error| ConfigError::Parse {
        path: path.to_path_buf(),
        message: error.to_string(),
    })
}

/// The wallet's passphrase: the first line of the file, or `GRAVEN_PASSPHRASE`.
///
/// # Errors
/// When the file cannot be read.
pub fn passphrase(args: &PassphraseArgs) -> Result<Option<SecretString>, ConfigError> {
    if let Some(path) = &args.passphrase_file {
        let text = zeroize::Zeroizing::new(read(path)?);
        let line = text.lines().next().unwrap_or_default();
        return Ok(Some(SecretString::from(line.to_string())));
    }
    Ok(std::env::var("GRAVEN_PASSPHRASE").ok().map(SecretString::from))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })
}

fn read_file(path: &Path) -> Result<File, ConfigError> {
    toml::from_str(&read(path)?).map_err(|error| ConfigError::Parse {
        path: path.to_path_buf(),
        message: error.to_string(),
    })
}

/// How many threads mine: as asked, or one where blocks are made on demand.
fn threads(mine: Option<&str>, network: &Network) -> Result<usize, ConfigError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match mine {
        None if network.mining == params::Mining::OnDemand => Ok(1),
        None => Ok(0),
        Some("auto") => Ok(cores.saturating_sub(1).max(1)),
        Some(text) => text
            .parse()
            .ok()
            .filter(|threads| *threads <= 1024)
            .ok_or_else(|| value("--mine", text, "a number of threads from 0 to 1024")),
    }
}

/// A mining kernel that this machine can run.
///
/// # Errors
/// When it cannot, or none has this name.
pub fn kernel(name: &str) -> Result<&'static Kernel, ConfigError> {
    miner::kernel::choose(Some(name)).map_err(|error| value("--kernel", name, error))
}

fn resolve(flag: &'static str, peers: &[String]) -> Result<Vec<SocketAddr>, ConfigError> {
    let resolve = |text: &String| {
        text.to_socket_addrs()
            .map_err(|error| value(flag, text, error))?
            .next()
            .ok_or_else(|| value(flag, text, "the name has no address"))
    };
    peers.iter().map(resolve).collect()
}

/// A file with one `host:port` a line; `#` begins a comment.
fn read_seeds(path: &Path) -> Result<Vec<String>, ConfigError> {
    let text = read(path)?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let seeds: Vec<String> = lines.filter(|line| !line.is_empty()).map(str::to_string).collect();
    let is_seed = |seed: &str| {
        seed.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
    };
    if let Some(wrong) = seeds.iter().find(|seed| !is_seed(seed)) {
        return Err(value("--seeds", wrong, "a seed is host:port"));
    }
    if seeds.len() > MAX_SEEDS {
        let path = path.display().to_string();
        return Err(value("--seeds", &path, format!("more than {MAX_SEEDS} seeds")));
    }
    Ok(seeds)
}

fn value(name: &'static str, value: &str, why: impl std::fmt::Display) -> ConfigError {
    ConfigError::Value { name, value: value.to_string(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn global() -> Global {
        Global { network: None, data: Some(PathBuf::from("/nowhere")), admin: None, json: false }
    }

    fn with_file(text: &str, args: NodeArgs) -> Result<NodeConfig, ConfigError> {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("graven.toml");
        std::fs::write(&path, text).unwrap();
        NodeConfig::new(&global(), NodeArgs { config: Some(path), ..args })
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let text = "listen = '127.0.0.1:1'\nadmin = '127.0.0.1:2'\nmine = 3\n";
        let listen = Some("127.0.0.1:9".parse().unwrap());
        let config = with_file(text, NodeArgs { listen, ..NodeArgs::default() }).unwrap();
        assert_eq!(config.listen.port(), 9);
        assert_eq!(config.admin.port(), 2);
        assert_eq!(config.threads, 3);
        assert_eq!(config.network.name, "dev");
        let bare = NodeConfig::new(&global(), NodeArgs::default()).unwrap();
        assert_eq!((bare.listen.port(), bare.admin.port()), (PEERS_PORT, ADMIN_PORT));
        assert_eq!(bare.threads, 1, "dev mines on demand by itself");
    }

    #[test]
    fn chosen_peers_are_the_only_ones() {
        let peers = vec!["127.0.0.1:1".to_string()];
        let args = NodeArgs { peers, ..NodeArgs::default() };
        let config = with_file("", args.clone()).unwrap();
        assert!(!config.exclusive && config.peers.len() == 1);
        let config = with_file("connect = ['127.0.0.1:2', '[::1]:3']", args).unwrap();
        let ports: Vec<u16> = config.peers.iter().map(SocketAddr::port).collect();
        assert!(config.exclusive && ports == [1, 2, 3]);
    }

    #[test]
    fn the_operator_knows_better_than_the_network() {
        let temp = tempfile::tempdir().unwrap();
        let (path, hash) = (temp.path().join("mine.toml"), "ab".repeat(32));
        let network = Network { name: "mine".to_string(), ..Network::dev() }.to_toml();
        let text = "[landmarks]\nminimum_work = '7'\ncheckpoints = ['1:HASH']\n";
        std::fs::write(&path, network + &text.replace("HASH", &hash)).unwrap();
        let file = format!("network = '{}'\n", path.display());
        let read = |text: &str, args| with_file(&format!("{file}{text}"), args);
        let known = |config: NodeConfig| config.network.landmarks;
        let plain = known(read("", NodeArgs::default()).unwrap());
        assert_eq!((plain.minimum_work.to_string(), plain.assume_valid), ("7".to_string(), None));
        let text =
            format!("minimum_work = '8'\nassume_valid = '{hash}'\ncheckpoints = ['2:{hash}']");
        let from_file = known(read(&text, NodeArgs::default()).unwrap());
        assert_eq!(from_file.minimum_work.to_string(), "8");
        assert_eq!(from_file.assume_valid.map(|hash| hash.to_string()), Some(hash.clone()));
        let heights: Vec<u32> = from_file.checkpoints().map(|known| known.height).collect();
        assert_eq!(heights, [1, 2], "the operator's come on top");
        let minimum_work = Some("9".to_string());
        let flag = read(&text, NodeArgs { minimum_work, ..NodeArgs::default() }).unwrap();
        assert_eq!(known(flag).minimum_work.to_string(), "9");
        let other = format!("1:{}", "cd".repeat(32));
        let args = NodeArgs { checkpoints: vec![other], ..NodeArgs::default() };
        let error = read("", args).unwrap_err().to_string();
        assert!(error.contains("--checkpoint") && error.contains("height 1"), "{error}");
    }

    #[test]
    fn seeds_come_from_a_file_with_comments() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("seeds.txt");
        let read = |text: String| {
            std::fs::write(&path, text).unwrap();
            let args = NodeArgs { seeds: Some(path.clone()), ..NodeArgs::default() };
            with_file("", args).map(|config| config.seeds).map_err(|error| error.to_string())
        };
        let text = "# ours\nseed.example:7400\n\n [2001:db8::1]:7400 # one of IPv6\n";
        let seeds = read(text.to_string()).unwrap();
        assert_eq!(seeds, ["seed.example:7400", "[2001:db8::1]:7400"]);
        for wrong in ["seed.example", ":7400", "seed.example:0", "seed.example:port"] {
            let error = read(format!("good:1\n{wrong}\n")).unwrap_err();
            assert!(error.contains(wrong) && error.contains("host:port"), "{error}");
        }
        assert!(read("a:1\n".repeat(257)).unwrap_err().contains("more than 256"));
    }

    #[test]
    fn unreadable_settings_name_what_is_wrong() {
        let error = |text: &str| with_file(text, NodeArgs::default()).unwrap_err().to_string();
        assert!(error("lisen = 1").contains("lisen"), "{}", error("lisen = 1"));
        assert!(error("listen = 'x'").contains("graven.toml"));
        assert!(error("kernel = 'abacus'").contains("abacus"));
        assert!(error("payee = 'me'").contains("--payee"));
        assert!(error("network = 'moon'").contains("unknown network"));
        let mine = Some("many".to_string());
        let args = NodeArgs { mine, ..NodeArgs::default() };
        assert!(with_file("", args).unwrap_err().to_string().contains("--mine"));
        let gone = NodeArgs { config: Some("/nowhere/x.toml".into()), ..NodeArgs::default() };
        let error = NodeConfig::new(&global(), gone).unwrap_err();
        assert!(matches!(error, ConfigError::Read { .. }), "{error}");
    }
}
