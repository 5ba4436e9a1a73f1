//! Consumer groups as state machines: an event and the time go in, actions come out.
