//! A record's headers.

use std::{fmt, sync::Arc};

use bytes::Bytes;

/// One header: a name and a value that may be null.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The name; several headers of a record may have the same.
    pub name: String,
    /// The value; `None` is a null, which is not the empty value.
    pub value: Option<Bytes>,
}

/// A record's headers, in order, duplicates kept. One pointer wide; empty ones cost nothing, clones share.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    // Invariant: never `Some` of an empty list, so that equality is that of the lists.
    list: Option<Arc<Vec<Header>>>,
}

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self { list: None }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    /// All of them, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Header] {
        self.list.as_ref().map_or(&[], |list| list.as_slice())
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.as_slice().iter()
    }

    /// The last header named `name`, as Kafka's `lastHeader`.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&Header> {
        self.iter().rfind(|header| header.name == name)
    }

    /// Adds a header at the end. A value of `None` is a null.
    pub fn push(&mut self, name: impl Into<String>, value: Option<Bytes>) {
        let header = Header {
            name: name.into(),
            value,
        };
        Arc::make_mut(self.list.get_or_insert_default()).push(header);
    }

    /// Adds a header at the end and gives the headers back.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.push(name, Some(value.into()));
        self
    }

    /// Removes all headers named `name`.
    pub fn remove(&mut self, name: &str) {
        if self.last(name).is_none() {
            return;
        }
        if let Some(list) = &mut self.list {
            let list = Arc::make_mut(list);
            list.retain(|header| header.name != name);
            if list.is_empty() {
                self.list = None;
            }
        }
    }

    /// The bytes of names and values together, for accounting.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.iter()
            .map(|header| header.name.len() + header.value.as_ref().map_or(0, Bytes::len))
            .sum()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        let list: Vec<Header> = headers.into_iter().collect();
        Self {
            list: (!list.is_empty()).then(|| Arc::new(list)),
        }
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|header| (&header.name, &header.value)))
            .finish()
    }
}
