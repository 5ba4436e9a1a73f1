//! Names that carry the types of what they name.

use std::{borrow::Cow, fmt};

use crate::{Data, Format, Wire};

macro_rules! named_pair {
    ($(#[$doc:meta])* $Name:ident) => {
        $(#[$doc])*
        pub struct $Name<K, V> {
            name: Cow<'static, str>,
            key: Wire<K>,
            value: Wire<V>,
        }

        impl<K: Data, V: Data> $Name<K, V> {
            /// With the types' own formats; usable in a `const`.
            #[must_use]
            pub const fn new(name: &'static str) -> Self {
                Self { name: Cow::Borrowed(name), key: Wire::own(), value: Wire::own() }
            }

            /// As [`new`](Self::new), for a name made at run time.
            pub fn named(name: impl Into<String>) -> Self {
                Self { name: Cow::Owned(name.into()), key: Wire::own(), value: Wire::own() }
            }
        }

        impl<K: 'static, V: 'static> $Name<K, V> {
            /// With formats that are given, for types that have none of their own.
            pub fn with_formats(
                name: impl Into<Cow<'static, str>>,
                key: impl Format<K>,
                value: impl Format<V>,
            ) -> Self {
                Self { name: name.into(), key: Wire::given(key), value: Wire::given(value) }
            }

            /// The same with another format for keys.
            #[must_use]
            pub fn key_format(self, format: impl Format<K>) -> Self {
                Self { key: Wire::given(format), ..self }
            }

            /// The same with another format for values.
            #[must_use]
            pub fn value_format(self, format: impl Format<V>) -> Self {
                Self { value: Wire::given(format), ..self }
            }

            /// The name.
            #[must_use]
            pub fn name(&self) -> &str {
                &self.name
            }

            /// How keys are written.
            #[must_use]
            pub const fn key(&self) -> &Wire<K> {
                &self.key
            }

            /// How values are written.
            #[must_use]
            pub const fn value(&self) -> &Wire<V> {
                &self.value
            }
        }

        impl<K, V> Clone for $Name<K, V> {
            fn clone(&self) -> Self {
                Self { name: self.name.clone(), key: self.key.clone(), value: self.value.clone() }
            }
        }

        impl<K: 'static, V: 'static> fmt::Debug for $Name<K, V> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($Name))
                    .field("name", &self.name)
                    .field("key", &self.key)
                    .field("value", &self.value)
                    .finish()
            }
        }
    };
}

named_pair! {
    /// A topic: its name, and the types of its keys and values with their formats.
    Topic
}
named_pair! {
    /// A state store: its name, and the types of its keys and values with their formats.
    StoreName
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DecodeError, EncodeError, Headers, Own, Place, Presence};

    struct Tagged;

    impl Format<u8> for Tagged {
        fn encode(&self, at: Place<'_>, value: &u8, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
            out.extend_from_slice(at.topic.as_bytes());
            out.push(*value + u8::from(at.headers.is_empty()));
            Ok(Presence::Value)
        }

        fn decode(&self, at: Place<'_>, bytes: Option<&[u8]>) -> Result<u8, DecodeError> {
            let last = bytes.and_then(<[u8]>::last).ok_or_else(DecodeError::null::<u8>)?;
            Ok(last - u8::from(at.headers.is_empty()))
        }
    }

    #[test]
    fn a_topic_is_a_constant_with_the_types_own_formats() {
        const CLICKS: Topic<String, i64> = Topic::new("clicks");
        const VISITS: StoreName<String, Option<i64>> = StoreName::new("visits");
        assert!(CLICKS.key().is_own() && VISITS.value().is_own());
        assert_eq!((CLICKS.name(), VISITS.name()), ("clicks", "visits"));
    }

    #[test]
    fn a_given_format_sees_topic_and_headers() {
        let topic: Topic<String, u8> = Topic::with_formats("t", Own, Tagged);
        let (none, some) = (Headers::new(), Headers::new().with("h", "x"));
        let mut out = Vec::new();
        assert_eq!(
            topic
                .value()
                .encode(Place::value("t", &none), &7, &mut out)
                .unwrap(),
            Presence::Value
        );
        assert_eq!(out, [b't', 8]);
        assert_eq!(
            topic
                .value()
                .decode(Place::value("t", &some), Some(&out))
                .unwrap(),
            8
        );
        assert_eq!(
            topic
                .clone()
                .value()
                .decode(Place::value("t", &none), Some(&out))
                .unwrap(),
            7
        );
    }
}
