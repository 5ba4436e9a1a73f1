//! Which client connects to a cluster.

use crate::{NativeTransport, Settings, Transport, TransportError, kafka};

/// The setting that names one.
const SETTING: &str = "client.library";

/// The clients there are, as the setting `client.library` names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Our own. It speaks to clusters without encryption and authentication.
    Native,
    /// librdkafka, which knows TLS and SASL too. Built in with the feature `kafka`.
    Librdkafka,
}

impl Library {
    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Librdkafka => "librdkafka",
        }
    }

    /// The one that settings ask for; where they do not say, the native one, unless they need what only librdkafka has.
    ///
    /// Errors: they ask for what there is not, or what it cannot do.
    pub fn of(settings: &Settings) -> Result<Self, TransportError> {
        let secured = settings
            .get("security.protocol")
            .filter(|p| !p.eq_ignore_ascii_case("plaintext"));
        let is_secret = |name: &&String| name.starts_with("ssl.") || name.starts_with("sasl.");
        let needs = secured
            .map(|_| "security.protocol")
            .or_else(|| settings.keys().find(is_secret).map(String::as_str));
        match (settings.get(SETTING).map(String::as_str), needs) {
            (Some("librdkafka"), _) | (None, Some(_)) => Ok(Self::Librdkafka),
            (Some("native") | None, None) => Ok(Self::Native),
            (Some("native"), Some(needs)) => Err(TransportError::Settings(format!(
                "`{needs}` needs `{SETTING}=librdkafka`: the native client has no encryption and no authentication"
            ))),
            (Some(other), _) => Err(TransportError::Settings(format!(
                "`{SETTING}` is {other:?}, expected `native` or `librdkafka`"
            ))),
        }
    }
}

/// Connects to a cluster, by our own client or librdkafka, as `client.library` says. Nothing is sent before the first call.
///
/// Settings have Kafka's names; one that begins with `consumer.` or `producer.` is for those only. Errors: a setting is
/// missing, does not fit, or asks for a client that is not built in.
pub fn connect(settings: &Settings) -> Result<Box<dyn Transport>, TransportError> {
    match Library::of(settings)? {
        Library::Native => Ok(Box::new(NativeTransport::connect(settings)?)),
        Library::Librdkafka => {
            let mut settings = settings.clone();
            settings.remove(SETTING);
            kafka::connect_librdkafka(&settings)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(settings: &[(&str, &str)]) -> Result<Library, TransportError> {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Library::of(&settings.collect())
    }

    #[test]
    fn the_native_client_serves_plain_clusters_and_librdkafka_the_others() {
        assert_eq!(chosen(&[]).unwrap(), Library::Native);
        assert_eq!(
            chosen(&[("security.protocol", "PLAINTEXT")]).unwrap(),
            Library::Native
        );
        assert_eq!(
            chosen(&[("security.protocol", "SSL")]).unwrap(),
            Library::Librdkafka
        );
        assert_eq!(chosen(&[("sasl.username", "u")]).unwrap(), Library::Librdkafka);
        assert_eq!(chosen(&[(SETTING, "librdkafka")]).unwrap(), Library::Librdkafka);
    }

    #[test]
    fn what_the_native_client_cannot_do_is_refused_by_name() {
        let refused = chosen(&[(SETTING, "native"), ("ssl.ca.location", "ca.pem")])
            .unwrap_err()
            .to_string();
        assert!(refused.contains("ssl.ca.location"), "{refused}");
        assert!(chosen(&[(SETTING, "other")]).is_err());
    }
}
