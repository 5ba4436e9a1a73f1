//! Topologies beside what Kafka Streams' `describe()` prints of them, in `tests/golden/describe/`.

use tidemill_streams::App;

pub(crate) fn check(golden: &str, compose: impl FnOnce(&App)) {
    let app = App::new("app");
    compose(&app);
    assert_eq!(app.describe().expect("the topology can run"), golden);
}

macro_rules! golden {
    ($($name:ident: $compose:expr;)*) => {
        $(
            #[test]
            fn $name() {
                let golden = include_str!(concat!("../../../../tests/golden/describe/", stringify!($name), ".txt"));
                $crate::golden::check(golden, $compose);
            }
        )*
    };
}
