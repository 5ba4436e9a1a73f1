//! Where a processor's results go.

use std::ops::{Deref, DerefMut};

use tidemill_data::BoxError;

use super::{Child, Children, ProcessorContext};
use crate::{
    Record,
    edge::{Edge, Outlet},
};

/// Hands on a processor's results, and lends what [`ProcessorContext`] offers.
pub struct Forward<'a, L, W> {
    pub(crate) context: ProcessorContext<'a>,
    pub(crate) out: &'a Outlet<L, W>,
    pub(crate) children: &'a Children,
}

impl<'a, L, W> Deref for Forward<'a, L, W> {
    type Target = ProcessorContext<'a>;

    fn deref(&self) -> &Self::Target {
        &self.context
    }
}

impl<L, W> DerefMut for Forward<'_, L, W> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.context
    }
}

impl<L: 'static, W: 'static> Forward<'_, L, W> {
    /// Hands on a record: it has gone through everything behind this operator when this returns.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, Forward, Processor, Record};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # struct Own;
    /// # impl Processor<String, i64, String, i64> for Own {
    /// fn process(
    ///     &mut self,
    ///     record: Record<String, i64>,
    ///     to: &mut Forward<'_, String, i64>,
    /// ) -> Result<(), BoxError> {
    ///     let record = record.with_key("everyone".to_owned());
    ///     to.forward(record);
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// # app.stream(&IN).process(|| Own).to(&OUT);
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 7, ms(2));
    /// assert_eq!(test.read(&OUT)[0].key, "everyone");
    /// ```
    pub fn forward(&mut self, record: Record<L, W>) {
        self.send(self.out, record);
    }

    /// Hands on a record to one child only, which may have types of its own: see
    /// [`KStream::child`](crate::KStream::child).
    ///
    /// # Errors
    /// When the program reads no such child, or one of other types.
    ///
    /// ```
    /// # use tidemill_data::{BoxError, Topic};
    /// # use tidemill_streams::{App, Child, Forward, Processor, Record};
    /// # use tidemill_testing::{TestDriver, ms};
    /// # const IN: Topic<String, i64> = Topic::new("in");
    /// # const OUT: Topic<String, i64> = Topic::new("out");
    /// # const LOSSES: Topic<String, String> = Topic::new("losses");
    /// const LOSS: Child<String, String> = Child::new("loss");
    ///
    /// # struct Own;
    /// # impl Processor<String, i64, String, i64> for Own {
    /// fn process(&mut self, record: Record<String, i64>, to: &mut Forward<'_, String, i64>) -> Result<(), BoxError> {
    ///     if record.value < 0 {
    ///         let text = format!("lost {}", -record.value);
    ///         return to.forward_to(&LOSS, record.with_value(text));
    ///     }
    ///     to.forward(record);
    ///     Ok(())
    /// }
    /// # }
    /// # let app = App::new("docs");
    /// let gains = app.stream(&IN).process(|| Own);
    /// gains.child(&LOSS).to(&LOSSES);
    /// gains.to(&OUT);
    ///
    /// # let mut test = TestDriver::new(&app);
    /// test.pipe(&IN, "a", 1, ms(1));
    /// test.pipe(&IN, "a", -2, ms(2));
    /// assert_eq!(test.read(&OUT).len(), 1);
    /// assert_eq!(test.read(&LOSSES)[0].value, "lost 2");
    /// ```
    pub fn forward_to<M: 'static, X: 'static>(
        &mut self,
        child: &Child<M, X>,
        record: Record<M, X>,
    ) -> Result<(), BoxError> {
        let outlet = self.children.outlet(child)?;
        self.send(outlet, record);
        Ok(())
    }

    fn send<M: 'static, X: 'static>(&mut self, out: &Outlet<M, X>, record: Record<M, X>) {
        if self.context.halted.is_none() {
            *self.context.halted = out.send(self.context.ctx, record).err();
        }
    }

    /// The same for a shorter time.
    pub(crate) fn again(&mut self) -> Forward<'_, L, W> {
        let context = ProcessorContext {
            ctx: self.context.ctx,
            node: self.context.node,
            timestamp: self.context.timestamp,
            headers: self.context.headers.clone(),
            punctuating: self.context.punctuating,
            halted: self.context.halted,
        };
        Forward {
            context,
            out: self.out,
            children: self.children,
        }
    }
}
