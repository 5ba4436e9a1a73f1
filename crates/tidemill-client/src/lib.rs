//! What programs and the runtime need of a cluster: `Transport`, Producer, Consumer, Admin.
