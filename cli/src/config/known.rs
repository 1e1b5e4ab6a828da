//! What the operator knows of the network's chain beforehand.

use chain::landmarks::{self, Checkpoint, Landmarks};
use chain::params::Network;

use super::{ConfigError, value};

/// What the operator knows of the chain, as text.
pub(super) struct Known {
    pub(super) minimum_work: Option<String>,
    pub(super) checkpoints: Vec<String>,
    pub(super) assume_valid: Option<String>,
}

impl Known {
    /// Puts it in the place of what the network's file or the release knows; checkpoints come on
    /// top.
    pub(super) fn add_to(&self, network: &mut Network) -> Result<(), ConfigError> {
        let Landmarks { minimum_work, assume_valid, .. } = &mut network.landmarks;
        if let Some(text) = &self.minimum_work {
            let work = landmarks::parse_work(text);
            *minimum_work = work.map_err(|error| value("--minimum-work", text, error))?;
        }
        if let Some(text) = &self.assume_valid {
            let hash = text.parse().map_err(|error| value("--assume-valid", text, error))?;
            *assume_valid = Some(hash);
        }
        for text in &self.checkpoints {
            let read = text.parse::<Checkpoint>();
            let added = read.and_then(|checkpoint| network.landmarks.add(checkpoint));
            added.map_err(|error| value("--checkpoint", text, error))?;
        }
        Ok(())
    }
}

/// What the operator knows of the chain, for a command that runs no node.
///
/// # Errors
/// When it does not read, or contradicts the network's.
pub fn add_landmarks(
    network: &mut Network,
    minimum_work: Option<&str>,
    checkpoints: &[String],
) -> Result<(), ConfigError> {
    let minimum_work = minimum_work.map(str::to_string);
    Known { minimum_work, checkpoints: checkpoints.to_vec(), assume_valid: None }.add_to(network)
}
