//! Children: named outputs of a processor beside the one all its records go to.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use crate::{KStream, edge::Outlet};

/// A named output of a processor, with types of its own.
///
/// A processor hands records to it with [`Forward::forward_to`](crate::Forward::forward_to), and
/// [`KStream::child`] is the stream of them.
pub struct Child<K, V> {
    name: &'static str,
    types: PhantomData<fn(K, V)>,
}

impl<K, V> Child<K, V> {
    /// An output of this name.
    ///
    /// ```
    /// # use tidemill_streams::Child;
    /// const LATE: Child<String, i64> = Child::new("late");
    /// assert_eq!(format!("{LATE:?}"), r#"Child("late")"#);
    /// ```
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            types: PhantomData,
        }
    }
}

impl<K, V> fmt::Debug for Child<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Child").field(&self.name).finish()
    }
}

/// The named outputs of one processor.
#[derive(Default)]
pub(crate) struct Children {
    // Guards the outputs while the program composes them; taken by the first record.
    building: Mutex<Vec<Output>>,
    fixed: OnceLock<Vec<Output>>,
}

struct Output {
    name: &'static str,
    // An `Outlet` of the child's types.
    outlet: Arc<dyn Any + Send + Sync>,
}

/// Why a record cannot be handed to a child.
#[derive(Debug, thiserror::Error)]
enum NoChild {
    #[error("the program reads no child {0:?} of this processor")]
    Unread(&'static str),
    #[error("child {0:?} is read with other types")]
    OtherTypes(&'static str),
}

impl Children {
    fn add<K: 'static, V: 'static>(&self, child: &Child<K, V>) -> Option<Arc<Outlet<K, V>>> {
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = building.iter().find(|known| known.name == child.name) {
            return Arc::clone(&known.outlet).downcast().ok();
        }
        let outlet = Outlet::<K, V>::new();
        building.push(Output {
            name: child.name,
            outlet: Arc::<Outlet<K, V>>::clone(&outlet),
        });
        Some(outlet)
    }

    pub(super) fn outlet<K: 'static, V: 'static>(
        &self,
        child: &Child<K, V>,
    ) -> Result<&Outlet<K, V>, tidemill_data::BoxError> {
        let fixed = self.fixed.get_or_init(|| {
            std::mem::take(&mut *self.building.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let found = fixed.iter().find(|output| output.name == child.name);
        let output = found.ok_or(NoChild::Unread(child.name))?;
        Ok(output
            .outlet
            .downcast_ref()
            .ok_or(NoChild::OtherTypes(child.name))?)
    }
}

impl<K: 'static, V: 'static> KStream<K, V> {
    /// The records that the processor which made this stream handed to one of its children.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, Child, Forward, Processor, Record};
    /// # const IN: Topic<String, String> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const DEBRIS: Topic<String, String> = Topic::new("debris");
    /// const UNREADABLE: Child<String, String> = Child::new("unreadable");
    ///
    /// struct Parse;
    ///
    /// impl Processor<String, String, String, i64> for Parse {
    ///     fn process(
    ///         &mut self,
    ///         record: Record<String, String>,
    ///         to: &mut Forward<'_, String, i64>,
    ///     ) -> Result<(), BoxError> {
    ///         match record.value.parse() {
    ///             Ok(number) => to.forward(record.with_value(number)),
    ///             Err(_) => to.forward_to(&UNREADABLE, record)?,
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let app = App::new("docs");
    /// let numbers = app.stream(&IN).process(|| Parse);
    /// numbers.child(&UNREADABLE).to(&DEBRIS);
    /// numbers.to(&OUT);
    /// # app.topology().unwrap();
    /// ```
    pub fn child<L: 'static, W: 'static>(&self, child: &Child<L, W>) -> KStream<L, W> {
        let mut graph = self.builder.lock();
        let mut processors = graph.processors.iter();
        let children = processors.find(|(node, _)| *node == self.node);
        let outlet = children.and_then(|(_, children)| children.add(child));
        if outlet.is_none() {
            let name = graph.node(self.node).name.clone();
            graph.problems.push(format!(
                "{name} has no child {:?} of these types: it is no processor, or the child is read with other types too",
                child.name
            ));
        }
        drop(graph);
        let outlet = outlet.unwrap_or_else(Outlet::new);
        KStream {
            key_changed: true,
            ..KStream::new(self.builder.clone(), self.node, outlet)
        }
    }
}
