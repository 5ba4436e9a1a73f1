//! `group_by` of a table: its rows by another key, to be aggregated with an adder and a subtractor.

use std::sync::Arc;

use tidemill_data::{BoxError, Data, DecodeError, EncodeError, Format, Headers, Place, Presence, Wire};

use crate::{
    Change, KGroupedTable, KTable, Record,
    context::Context,
    edge::{Edge, Flow, Outlet},
    failure::Halt,
    graph::NodeId,
};

impl<K: Clone + 'static, V: Clone + 'static> KTable<K, V> {
    /// Groups rows by another key and value. The changes go through a repartition topic. A null key or value leaves
    /// the row out.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # const INHABITANTS: StoreName<String, i64> = StoreName::new("inhabitants");
    /// # let app = App::new("docs");
    /// app.table(&CITIES).group_by(|user, city| (city, user.clone())).count(&INHABITANTS);
    /// # app.topology().unwrap();
    /// ```
    pub fn group_by<L: Data, W: Data>(
        &self,
        select: impl Fn(&K, V) -> (L, W) + Send + Sync + 'static,
    ) -> KGroupedTable<L, W> {
        self.try_group_by(move |key, value| Ok(select(key, value)))
    }

    /// As [`group_by`](Self::group_by), with a closure that may fail: the row is then left out of its group, and so is not
    /// taken out of one later.
    ///
    /// ```
    /// # use tidemill_streams::App;
    /// # use tidemill_data::{StoreName, Topic};
    /// # const CITIES: Topic<String, String> = Topic::new("cities");
    /// # const INHABITANTS: StoreName<i64, i64> = StoreName::new("inhabitants");
    /// # let app = App::new("docs");
    /// app.table(&CITIES)
    ///     .try_group_by(|user, postcode| Ok((postcode.parse::<i64>()?, user.clone())))
    ///     .count(&INHABITANTS);
    /// # app.topology().unwrap();
    /// ```
    pub fn try_group_by<L: Data, W: Data>(
        &self,
        select: impl Fn(&K, V) -> Result<(L, W), BoxError> + Send + Sync + 'static,
    ) -> KGroupedTable<L, W> {
        self.outlet.fan_out();
        self.rows.send_old(&self.builder, true);
        let (key, value) = (Wire::own(), Wire::own());
        let outlet = Outlet::new();
        let node = self
            .builder
            .attach("KTABLE-SELECT-", self.node, &self.outlet, |node| Regroup {
                node,
                key: key.clone(),
                value: value.clone(),
                select,
                out: Arc::clone(&outlet),
            });
        KGroupedTable {
            builder: self.builder.clone(),
            node,
            outlet,
            key,
            value,
        }
    }
}

struct Regroup<L, W, F> {
    node: NodeId,
    key: Wire<L>,
    value: Wire<W>,
    select: F,
    out: Arc<Outlet<L, Change<W>>>,
}

impl<K: 'static, V: 'static, L: 'static, W: 'static, F> Edge<K, Change<V>> for Regroup<L, W, F>
where
    F: Fn(&K, V) -> Result<(L, W), BoxError> + Send + Sync,
{
    fn send(&self, ctx: &mut Context, record: Record<K, Change<V>>) -> Flow {
        let Record {
            key,
            value: change,
            timestamp,
            headers,
        } = record;
        if !change.latest {
            ctx.drop_record();
            return Ok(());
        }
        let new = self.selected(ctx, &key, change.new)?;
        let old = self.selected(ctx, &key, change.old)?;
        let send = |ctx: &mut Context, key: L, change: Change<W>| {
            self.out.send(
                ctx,
                Record {
                    key,
                    value: change,
                    timestamp,
                    headers: headers.clone(),
                },
            )
        };
        match (old, new) {
            // One message keeps the row of an unchanged group from showing the value between.
            (Some((old_key, old)), Some((new_key, new))) if self.same(&old_key, &new_key) => {
                send(ctx, new_key, Change::new(Some(new), Some(old)))
            }
            (old, new) => {
                if let Some((key, old)) = old {
                    send(ctx, key, Change::new(None, Some(old)))?;
                }
                match new {
                    Some((key, new)) => send(ctx, key, Change::new(Some(new), None)),
                    None => Ok(()),
                }
            }
        }
    }
}

impl<L: 'static, W: 'static, F> Regroup<L, W, F> {
    fn selected<K, V>(&self, ctx: &mut Context, key: &K, value: Option<V>) -> Result<Option<(L, W)>, Halt>
    where
        F: Fn(&K, V) -> Result<(L, W), BoxError> + Send + Sync,
    {
        let Some(value) = value else { return Ok(None) };
        let none = Headers::new();
        let selected = ctx.try_call(self.node, || (self.select)(key, value))?;
        Ok(selected.filter(|(key, value)| {
            !self.key.is_null(Place::key("", &none), key)
                && !self.value.is_null(Place::value("", &none), value)
        }))
    }

    fn same(&self, a: &L, b: &L) -> bool {
        let none = Headers::new();
        let bytes = |key| {
            let mut bytes = Vec::new();
            self.key
                .encode(Place::key("", &none), key, &mut bytes)
                .is_ok()
                .then_some(bytes)
        };
        matches!((bytes(a), bytes(b)), (Some(a), Some(b)) if a == b)
    }
}

/// A change as it crosses the repartition topic of a grouped table, in the bytes of Kafka Streams' `ChangedSerializer`:
///
/// ```text
/// old value | 0                                      only an old value
/// new value | 1                                      only a new value
/// length of the new value | new | old | 2            both; the length is a zigzag varint
/// ```
pub(super) struct ChangeFormat<V>(pub(super) Wire<V>);

const OLD: u8 = 0;
const NEW: u8 = 1;
const BOTH: u8 = 2;

impl<V: 'static> Format<Change<V>> for ChangeFormat<V> {
    fn encode(&self, at: Place<'_>, change: &Change<V>, out: &mut Vec<u8>) -> Result<Presence, EncodeError> {
        match (&change.new, &change.old) {
            (None, None) => return Ok(Presence::Null),
            (None, Some(old)) => {
                let _ = self.0.encode(at, old, out)?;
                out.push(OLD);
            }
            (Some(new), None) => {
                let _ = self.0.encode(at, new, out)?;
                out.push(NEW);
            }
            (Some(new), Some(old)) => {
                let mut bytes = Vec::new();
                let _ = self.0.encode(at, new, &mut bytes)?;
                push_varint(bytes.len(), out);
                out.extend_from_slice(&bytes);
                let _ = self.0.encode(at, old, out)?;
                out.push(BOTH);
            }
        }
        Ok(Presence::Value)
    }

    fn decode(&self, at: Place<'_>, bytes: Option<&[u8]>) -> Result<Change<V>, DecodeError> {
        let malformed =
            || DecodeError::of::<Change<V>>("a change", "the bytes end early or have an unknown flag");
        let Some(bytes) = bytes else {
            return Ok(Change::new(None, None));
        };
        let (flag, bytes) = bytes.split_last().ok_or_else(malformed)?;
        let value = |bytes| self.0.decode(at, Some(bytes));
        match *flag {
            OLD => Ok(Change::new(None, Some(value(bytes)?))),
            NEW => Ok(Change::new(Some(value(bytes)?), None)),
            BOTH => {
                let (length, rest) = take_varint(bytes).ok_or_else(malformed)?;
                let (new, old) = rest.split_at_checked(length).ok_or_else(malformed)?;
                Ok(Change::new(Some(value(new)?), Some(value(old)?)))
            }
            _ => Err(malformed()),
        }
    }
}

/// Zigzag doubles what is not negative, and a length never is.
fn push_varint(length: usize, out: &mut Vec<u8>) {
    let mut n = length << 1;
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// A length, and the bytes after it; `None` for one that is cut short, too long or negative.
fn take_varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut n = 0_usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        n |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return (n & 1 == 0).then_some((n >> 1, bytes.get(at + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(new: Option<&str>, old: Option<&str>, bytes: &[u8]) {
        let (format, headers) = (ChangeFormat(Wire::<String>::own()), Headers::new());
        let change = Change::new(new.map(str::to_owned), old.map(str::to_owned));
        let mut out = Vec::new();
        let presence = format
            .encode(Place::value("t", &headers), &change, &mut out)
            .unwrap();
        assert_eq!((presence, out.as_slice()), (Presence::Value, bytes));
        assert_eq!(
            format.decode(Place::value("t", &headers), Some(bytes)).unwrap(),
            change
        );
    }

    // The bytes are what Kafka Streams 4.1.0's ChangedSerializer gave for these changes.
    #[test]
    fn changes_have_the_bytes_of_kafka_streams() {
        check(Some("new"), None, b"new\x01");
        check(None, Some("old"), b"old\x00");
        check(Some("new"), Some("old"), b"\x06newold\x02");
        let long = "n".repeat(200);
        check(
            Some(&long),
            Some("old"),
            &[b"\x90\x03", long.as_bytes(), b"old\x02"].concat(),
        );
    }

    #[test]
    fn malformed_changes_are_errors() {
        let (format, headers) = (ChangeFormat(Wire::<String>::own()), Headers::new());
        for bytes in [
            &b""[..],
            b"\x02",
            b"\x06ne\x02",
            b"\x05new\x02",
            b"\xff\xff\xff\xff\xff\x02",
            b"new\x09",
        ] {
            assert!(
                format.decode(Place::value("t", &headers), Some(bytes)).is_err(),
                "{bytes:?}"
            );
        }
    }
}
