//! One change of the metadata, as bytes.
//!
//! ```text
//! u8 kind, then by kind
//!   1 topic created     id, name, u32 partitions, u32 settings, settings × (text name, text value)
//!   2 partitions added  id, u32 partitions in all
//!   3 topic deleted     id
//!   4 topic setting     id, text name, u8 present, [text value]
//!   5 producer ids      u64 the first id that was not given out
//!   6 broker setting    u8 for all brokers, text name, u8 present, [text value]
//!   7 feature level     text name, i16 level
//! id = 16 bytes; text = u32 length, UTF-8; numbers are big-endian
//! ```

use bytes::{Buf, BufMut};
use uuid::Uuid;

use crate::settings::Layer;

/// One change of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    TopicCreated {
        id: Uuid,
        name: String,
        partitions: u32,
        settings: Vec<(String, String)>,
    },
    PartitionsAdded {
        id: Uuid,
        partitions: u32,
    },
    TopicDeleted {
        id: Uuid,
    },
    TopicSetting {
        id: Uuid,
        name: String,
        value: Option<String>,
    },
    ProducerIds {
        next: u64,
    },
    BrokerSetting {
        layer: Layer,
        name: String,
        value: Option<String>,
    },
    FeatureLevel {
        name: String,
        level: i16,
    },
}

impl Change {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Change::TopicCreated {
                id,
                name,
                partitions,
                settings,
            } => {
                out.put_u8(1);
                out.put_slice(id.as_bytes());
                put_text(out, name);
                out.put_u32(*partitions);
                out.put_u32(u32::try_from(settings.len()).expect("a topic has fewer settings than 2^32"));
                for (name, value) in settings {
                    put_text(out, name);
                    put_text(out, value);
                }
            }
            Change::PartitionsAdded { id, partitions } => {
                out.put_u8(2);
                out.put_slice(id.as_bytes());
                out.put_u32(*partitions);
            }
            Change::TopicDeleted { id } => {
                out.put_u8(3);
                out.put_slice(id.as_bytes());
            }
            Change::TopicSetting { id, name, value } => {
                out.put_u8(4);
                out.put_slice(id.as_bytes());
                put_text(out, name);
                put_optional(out, value.as_deref());
            }
            Change::ProducerIds { next } => {
                out.put_u8(5);
                out.put_u64(*next);
            }
            Change::BrokerSetting { layer, name, value } => {
                out.put_u8(6);
                out.put_u8(u8::from(*layer == Layer::Everywhere));
                put_text(out, name);
                put_optional(out, value.as_deref());
            }
            Change::FeatureLevel { name, level } => {
                out.put_u8(7);
                put_text(out, name);
                out.put_i16(*level);
            }
        }
    }

    /// Reads one change off the front of `bytes`; none when they are not one.
    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Change> {
        Some(match bytes.try_get_u8().ok()? {
            1 => {
                let (id, name, partitions) = (take_id(bytes)?, take_text(bytes)?, bytes.try_get_u32().ok()?);
                let count = bytes.try_get_u32().ok()?;
                let mut settings = Vec::new();
                for _ in 0..count {
                    settings.push((take_text(bytes)?, take_text(bytes)?));
                }
                Change::TopicCreated {
                    id,
                    name,
                    partitions,
                    settings,
                }
            }
            2 => Change::PartitionsAdded {
                id: take_id(bytes)?,
                partitions: bytes.try_get_u32().ok()?,
            },
            3 => Change::TopicDeleted { id: take_id(bytes)? },
            4 => {
                let (id, name) = (take_id(bytes)?, take_text(bytes)?);
                let value = take_optional(bytes)?;
                Change::TopicSetting { id, name, value }
            }
            5 => Change::ProducerIds {
                next: bytes.try_get_u64().ok()?,
            },
            6 => Change::BrokerSetting {
                layer: match bytes.try_get_u8().ok()? {
                    0 => Layer::Here,
                    _ => Layer::Everywhere,
                },
                name: take_text(bytes)?,
                value: take_optional(bytes)?,
            },
            7 => Change::FeatureLevel {
                name: take_text(bytes)?,
                level: bytes.try_get_i16().ok()?,
            },
            _ => return None,
        })
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.put_u32(
        u32::try_from(text.len()).expect("names and values come from requests, which are shorter than 2^31"),
    );
    out.put_slice(text.as_bytes());
}

fn put_optional(out: &mut Vec<u8>, text: Option<&str>) {
    out.put_u8(u8::from(text.is_some()));
    if let Some(text) = text {
        put_text(out, text);
    }
}

fn take_optional(bytes: &mut &[u8]) -> Option<Option<String>> {
    Some(match bytes.try_get_u8().ok()? {
        0 => None,
        _ => Some(take_text(bytes)?),
    })
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(bytes.try_get_u32().ok()?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(std::str::from_utf8(text).ok()?.to_string())
}

fn take_id(bytes: &mut &[u8]) -> Option<Uuid> {
    let (id, rest) = bytes.split_first_chunk::<16>()?;
    *bytes = rest;
    Some(Uuid::from_bytes(*id))
}
