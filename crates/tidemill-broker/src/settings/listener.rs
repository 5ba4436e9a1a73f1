//! Listeners: `NAME://host:port`, as `listeners` and `advertised.listeners` write them.

/// Where a broker listens, or says it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The listener's name, which is its security protocol where no map says otherwise.
    pub name: String,
    /// The host; empty means every interface.
    pub host: String,
    /// The port; 0 asks the system for a free one.
    pub port: u16,
}

/// A listener that cannot be read or served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenerError {
    /// It is not `NAME://host:port`.
    #[error("listener {0:?} is not of the form NAME://host:port")]
    Malformed(String),
    /// Two listeners have the same name.
    #[error("{setting} names {name} twice")]
    Twice {
        /// Which setting.
        setting: &'static str,
        /// The name.
        name: String,
    },
    /// There is no listener of this name.
    #[error("{setting} names {name}, and `listeners` has none of that name")]
    Unknown {
        /// Which setting.
        setting: &'static str,
        /// The name.
        name: String,
    },
    /// It asks for TLS or authentication.
    #[error("listener {listener:?} asks for {protocol}; only PLAINTEXT is served")]
    Protocol {
        /// The listener.
        listener: String,
        /// The security protocol it stands for.
        protocol: String,
    },
}

impl Listener {
    /// Reads `NAME://host:port`; an IPv6 host stands in brackets.
    pub fn parse(text: &str) -> Result<Listener, ListenerError> {
        let malformed = || ListenerError::Malformed(text.to_string());
        let (name, address) = text.trim().split_once("://").ok_or_else(malformed)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
        let host = match host.strip_prefix('[') {
            Some(inner) => inner.strip_suffix(']').ok_or_else(malformed)?,
            None if host.contains(':') => return Err(malformed()),
            None => host,
        };
        let port = port.parse().map_err(|_| malformed())?;
        if name.is_empty() {
            return Err(malformed());
        }
        Ok(Listener {
            name: name.to_ascii_uppercase(),
            host: host.to_string(),
            port,
        })
    }

    /// Refuses a listener whose name stands for another protocol than PLAINTEXT under `map` (`NAME:PROTOCOL` parts).
    pub(super) fn require_plaintext(&self, map: &[String]) -> Result<(), ListenerError> {
        let mapped = map.iter().filter_map(|part| part.split_once(':'));
        let protocol = mapped
            .filter(|(name, _)| name.trim().eq_ignore_ascii_case(&self.name))
            .map(|(_, protocol)| protocol.trim())
            .next_back()
            .unwrap_or(&self.name);
        if protocol.eq_ignore_ascii_case("PLAINTEXT") {
            return Ok(());
        }
        Err(ListenerError::Protocol {
            listener: format!("{}://{}:{}", self.name, self.host, self.port),
            protocol: protocol.to_string(),
        })
    }
}
