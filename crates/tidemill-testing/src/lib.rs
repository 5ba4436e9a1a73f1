//! For users' tests: a topology in virtual time, with no broker and no threads.
//!
//! [`TestDriver`] runs the very tasks that run in production. Records go in with [`TestDriver::pipe`], everything they
//! lead to happens at once, and what was written is read with [`TestDriver::read`]. Time only moves when told to.
//!
//! ```
//! use tidemill_data::{StoreName, Topic};
//! use tidemill_streams::App;
//! use tidemill_testing::{TestDriver, ms};
//!
//! const CLICKS: Topic<String, String> = Topic::new("clicks");
//! const COUNTS: StoreName<String, i64> = StoreName::new("counts");
//! const TOTALS: Topic<String, Option<i64>> = Topic::new("totals");
//!
//! let app = App::new("articles");
//! app.stream(&CLICKS).group_by_key().count(&COUNTS).to_stream().to(&TOTALS);
//!
//! let mut t = TestDriver::new(&app);
//! t.pipe(&CLICKS, "u1", "a", ms(10));
//! t.pipe(&CLICKS, "u1", "b", ms(20));
//! let totals: Vec<_> = t.read(&TOTALS).into_iter().map(|record| record.value).collect();
//! assert_eq!(totals, [Some(1), Some(2)]);
//! assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(2));
//!
//! t.restart_without_state(); // a new machine: state comes back from the changelog
//! assert_eq!(t.row(&COUNTS, "u1").map(|row| row.value), Some(2));
//! ```
//!
//! [`Simulation`] runs several instances of a program in virtual time, and lets them crash, come back and rebalance as a
//! seed decides.

mod cluster;
mod driver;
mod error;
mod global;
mod patience;
mod restore;
mod simulation;
mod times;

pub use driver::{Opener, TestDriver};
pub use error::TestError;
pub use simulation::{Guarantee, Scene, Simulation};
pub use times::{at, ms};
