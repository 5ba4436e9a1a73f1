//! `describe()`: Kafka Streams' own text for a topology, byte for byte.
//!
//! Kafka sorts operators by the number of paths behind them, and their neighbours in the order in which they were
//! sorted in while those numbers were still being counted, over a Java hash map. So the map's order is part of the text.

use std::fmt::Write as _;

use crate::{
    Subtopology, Topology,
    graph::{Node, NodeId, NodeKind},
};

pub(crate) fn describe(topology: &Topology) -> String {
    let mut text = String::from("Topologies:\n");
    for (id, part) in topology.subtopologies().iter().enumerate() {
        let prefix = if id == 0 { "   " } else { "  " };
        describe_part(topology, id, part, prefix, &mut text);
    }
    text
}

struct Drawn<'a> {
    node: &'a Node,
    size: usize,
    predecessors: Vec<usize>,
    successors: Vec<usize>,
}

fn describe_part(topology: &Topology, id: usize, part: &Subtopology, prefix: &str, text: &mut String) {
    let kind = if part.global.is_some() {
        " for global store (will not generate tasks)"
    } else {
        ""
    };
    writeln!(text, "{prefix}Sub-topology: {id}{kind}").expect(INFALLIBLE);
    let drawn = connect(topology, part);
    let mut order: Vec<usize> = (0..drawn.len()).collect();
    order.sort_by(|a, b| compare(&drawn, *a, *b));
    for at in order {
        if let Some(node) = drawn.get(at) {
            draw(topology, &drawn, node, text);
        }
    }
    if part.global.is_none() {
        text.push('\n');
    }
}

const INFALLIBLE: &str = "writing to a string cannot fail";

fn compare(drawn: &[Drawn<'_>], a: usize, b: usize) -> std::cmp::Ordering {
    let key = |at: usize| {
        drawn
            .get(at)
            .map(|node| (std::cmp::Reverse(node.size), &node.node.name))
    };
    key(a).cmp(&key(b))
}

fn connect<'a>(topology: &'a Topology, part: &Subtopology) -> Vec<Drawn<'a>> {
    let nodes = part.nodes.iter().filter_map(|id| topology.nodes.get(id.0));
    let mut drawn: Vec<Drawn<'a>> = nodes
        .map(|node| Drawn {
            node,
            size: 1,
            predecessors: Vec::new(),
            successors: Vec::new(),
        })
        .collect();
    let place = |id: NodeId| part.nodes.iter().position(|known| *known == id);
    let names: Vec<&str> = drawn.iter().map(|drawn| drawn.node.name.as_str()).collect();
    for at in java_hash_order(&names) {
        let Some(node) = drawn.get(at).map(|drawn| drawn.node) else {
            continue;
        };
        for parent in node.parents.iter().filter_map(|parent| place(*parent)) {
            sort_in(&mut drawn, at, parent, Side::Predecessors);
            sort_in(&mut drawn, parent, at, Side::Successors);
            let size = drawn.get(at).map_or(0, |node| node.size);
            grow(&mut drawn, parent, size);
        }
    }
    drawn
}

#[derive(Clone, Copy)]
enum Side {
    Predecessors,
    Successors,
}

/// Inserts as Kafka's tree set does: at the place that the sizes known so far give.
fn sort_in(drawn: &mut [Drawn<'_>], of: usize, neighbour: usize, side: Side) {
    let list = |drawn: &Drawn<'_>| match side {
        Side::Predecessors => drawn.predecessors.clone(),
        Side::Successors => drawn.successors.clone(),
    };
    let mut list = drawn.get(of).map(list).unwrap_or_default();
    if list.contains(&neighbour) {
        return;
    }
    let at = list.partition_point(|known| compare(drawn, *known, neighbour).is_lt());
    list.insert(at, neighbour);
    if let Some(drawn) = drawn.get_mut(of) {
        match side {
            Side::Predecessors => drawn.predecessors = list,
            Side::Successors => drawn.successors = list,
        }
    }
}

fn grow(drawn: &mut [Drawn<'_>], at: usize, by: usize) {
    let Some(node) = drawn.get_mut(at) else { return };
    node.size += by;
    for predecessor in node.predecessors.clone() {
        grow(drawn, predecessor, by);
    }
}

/// The order in which Java's `HashMap` walks these names: by bucket, in each bucket as put in.
fn java_hash_order(names: &[&str]) -> Vec<usize> {
    let mut buckets = 16;
    while names.len() * 4 > buckets * 3 {
        buckets *= 2;
    }
    let bucket = |at: &usize| {
        let name = names.get(*at).copied().unwrap_or_default();
        let hash = name.encode_utf16().fold(0_u32, |hash, unit| {
            hash.wrapping_mul(31).wrapping_add(u32::from(unit))
        });
        (hash ^ (hash >> 16)) as usize & (buckets - 1)
    };
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(bucket);
    order
}

fn draw(topology: &Topology, drawn: &[Drawn<'_>], node: &Drawn<'_>, text: &mut String) {
    let names = |list: &[usize]| {
        let names: Vec<&str> = list
            .iter()
            .filter_map(|at| drawn.get(*at))
            .map(|drawn| drawn.node.name.as_str())
            .collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let (after, before) = (names(&node.successors), names(&node.predecessors));
    let name = &node.node.name;
    let topic = |at: &crate::TopicIndex| topology.topics.get(at.position()).map_or("", |topic| &topic.name);
    match &node.node.kind {
        NodeKind::Source(topics) => {
            let mut topics: Vec<&str> = topics.iter().map(topic).collect();
            topics.sort_unstable();
            writeln!(
                text,
                "    Source: {name} (topics: [{}])\n      --> {after}",
                topics.join(", ")
            )
        }
        NodeKind::Processor => {
            let stores = node
                .node
                .stores
                .iter()
                .filter_map(|store| topology.stores.get(store.0));
            let stores: Vec<&str> = stores
                .filter(|store| store.active)
                .map(|store| store.spec.name.as_str())
                .collect();
            let order = java_hash_order(&stores);
            let ordered: Vec<&str> = order.iter().filter_map(|at| stores.get(*at).copied()).collect();
            let stores = ordered.join(", ");
            writeln!(
                text,
                "    Processor: {name} (stores: [{stores}])\n      --> {after}\n      <-- {before}"
            )
        }
        NodeKind::Sink(Some(at)) => {
            writeln!(
                text,
                "    Sink: {name} (topic: {})\n      <-- {before}",
                topic(at)
            )
        }
        NodeKind::Sink(None) => {
            writeln!(
                text,
                "    Sink: {name} (extractor class: chosen per record)\n      <-- {before}"
            )
        }
    }
    .expect(INFALLIBLE);
}
