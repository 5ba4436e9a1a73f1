#!/usr/bin/env python3
"""Makes new cases of a corpus's: other parameters, other inputs, and operators behind what the case has.

    mutate.py SEED CASES_PER_AREA CORPUS_FOLDER OUTPUT_FOLDER

The cases have no expected results: Kafka Streams fills them in (see README.md). The same arguments give the same cases.
"""

import copy
import json
import pathlib
import random
import sys

DURATIONS = ["size", "advance", "diff", "gap", "grace", "before", "after", "ms", "retention", "versioned_ms"]
KINDS = {"join_stream_stream": ["inner", "left", "outer"], "join_table_table": ["inner", "left", "outer"]}
PREDICATES = [
    ["value_contains", "a"],
    ["num_gt", 5],
    ["not", ["value_is_null"]],
    ["value_len_gt", 1],
    ["key_contains", "a"],
    ["or", ["value_is_null"], ["num_gt", 2]],
]
VALUE_FUNCTIONS = [["with_key"], ["append", "!"], ["default", "d"], ["null_if_contains", "a"]]
KEY_FUNCTIONS = [["key_prefix", 1], ["key_before", "@"], ["value_as_key"]]
PROCESSORS = [["with_ts"], ["forward_twice"], ["running_count"], ["dedupe"]]
# The least sensible value of a duration that must not be 0.
AT_LEAST_ONE = ["size", "diff", "gap"]


class Mutator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.ids = 0

    def chance(self, probability):
        return self.random.random() < probability

    def mutate(self, case, name, extend):
        case = {key: value for key, value in copy.deepcopy(case).items() if key not in ("expect", "tags")}
        case["name"] = name
        for op in case["topology"]:
            self.change(op)
        if extend:
            self.extend(case["topology"])
        case["inputs"] = self.inputs(case)
        return case

    def change(self, op):
        """Changes parameters of an operator, to values at and around those that matter."""
        pick, between = self.random.choice, self.random.randint
        if op["op"] == "windowed_by" and self.chance(0.5):
            for name in AT_LEAST_ONE:
                if name in op:
                    was = op[name]
                    op[name] = max(1, pick([was, was + 1, was - 1, was * 2, was // 2, between(1, 40)]))
            if "advance" in op:
                advances = [op["advance"], op["advance"] + 1, op["size"] // 3, op["size"], 1 + op["size"] // 4]
                op["advance"] = max(1, min(op["size"], pick(advances)))
            if self.chance(0.6):
                length = op.get("size", op.get("gap", op.get("diff", 10)))
                op["grace"] = pick([0, 1, length, between(0, 60)])
        if "join" in op["op"] and self.chance(0.5):
            op["kind"] = pick(KINDS.get(op["op"], ["inner", "left"]))
            if op["op"] == "join_stream_stream":
                for name in ("before", "after", "grace"):
                    if name in op and self.chance(0.5):
                        op[name] = pick([op[name], 0, op[name] + 1, between(0, 50)])
                if op.get("before", 0) + op.get("after", 0) == 0:
                    op["after"] = 5
        if op["op"] in ("filter", "filter_not") and self.chance(0.4):
            op["pred"] = pick(PREDICATES)
        if op["op"] == "suppress" and op.get("until") == "time_limit" and self.chance(0.5):
            op["ms"] = pick([0, 1, op["ms"] + 1, between(1, 40)])
            if self.chance(0.5):
                op["max_records"] = between(1, 4)
        if "store" in op and self.chance(0.3):
            op["store"] = pick(["rocksdb", "memory"])

    def extend(self, topology):
        """Puts one or two pieces of pipeline before one of the sinks."""
        sinks = [at for at, op in enumerate(topology) if op["op"] == "to"]
        if not sinks:
            return
        at = self.random.choice(sinks)
        source, added = topology[at]["from"], []
        for _ in range(self.random.randint(1, 2)):
            for op in self.piece():
                self.ids += 1
                op.update({"id": f"x{self.ids}", "from": source})
                source = op["id"]
                added.append(op)
        topology[at]["from"] = source
        topology[at:at] = added

    def piece(self):
        """A few operators that take a stream and end as one."""
        pick, between = self.random.choice, self.random.randint
        store = {"store": pick(["rocksdb", "memory"])}
        named = {**store, "name": f"n{between(0, 10**9)}"}
        to_stream = {"op": "to_stream"}
        processor = pick(PROCESSORS)
        stateful = processor[0] in ("running_count", "dedupe")
        return pick(
            [
                [{"op": "map_values", "fn": pick(VALUE_FUNCTIONS)}],
                [{"op": "filter", "pred": pick(PREDICATES)}],
                [{"op": "select_key", "key": pick(KEY_FUNCTIONS)}],
                [{"op": "repartition"}],
                [{"op": "flat_map", "kv": ["fan_out", 2]}],
                [{"op": "to_table", **named}, {"op": "filter", "pred": pick(PREDICATES)}, to_stream],
                [{"op": "group_by_key"}, {"op": "count", **named}, to_stream],
                [
                    {"op": "group_by", "key": ["key_before", "@"]},
                    {"op": "aggregate", "init": None, "agg": ["tag", "+"], **store},
                    to_stream,
                ],
                [
                    {"op": "to_table", **store},
                    {"op": "group_by", "kv": ["map", ["key_prefix", 1], ["identity"]]},
                    {"op": "aggregate", "init": "", "adder": ["tag", "+"], "subtractor": ["tag", "-"], **named},
                    to_stream,
                ],
                self.windows(store),
                [{"op": "process_values", "processor": processor, **(named if stateful else {})}],
                [
                    {"op": "to_table", **store},
                    {"op": "suppress", "until": "time_limit", "ms": between(1, 30)},
                    to_stream,
                ],
            ]
        )

    def windows(self, store):
        pick, between = self.random.choice, self.random.randint
        window = pick(
            [
                {"type": "tumbling", "size": between(1, 30)},
                {"type": "hopping", "size": 12, "advance": 5},
                {"type": "sliding", "diff": between(1, 20)},
                {"type": "session", "gap": between(1, 20)},
            ]
        )
        aggregate = {"op": "aggregate", "init": "", "agg": ["tag", ","], **store}
        if window["type"] == "session":
            aggregate["merger"] = ["tag", "&"]
        return [
            {"op": "group_by_key"},
            {"op": "windowed_by", "grace": pick([0, 5, 50]), **window},
            pick([{"op": "count", **store}, {"op": "reduce", "reducer": ["tag", "~"], **store}, aggregate]),
            *([{"op": "suppress", "until": "window_closes"}] if self.chance(0.3) else []),
            {"op": "to_stream"},
        ]

    def inputs(self, case):
        """New inputs out of the case's keys and values, at times around the durations of its operators."""
        pick, between = self.random.choice, self.random.randint
        records = [step for step in case["inputs"] if "topic" in step]
        advances_clock = len(records) < len(case["inputs"])
        sources = [op for op in case["topology"] if op["op"] in ("stream", "table", "global_table")]
        topics = sorted({topic for op in sources for topic in op.get("topics") or [op["topic"]]})
        keys = [record["key"] for record in records] or ["a"]
        values = [record["value"] for record in records] or ["1"]
        durations = durations_of(case["topology"])
        time = latest = pick([0, 5, pick(records)["ts"] if records else 0, between(0, 1000)])
        steps = []
        for _ in range(between(8, 40)):
            if advances_clock and self.chance(0.15):
                steps.append({"advance_wall_clock_ms": pick([1, 10, 100, 500, 999, 1000, 1001, pick(durations)])})
                continue
            topic = pick(topics)
            there = [record for record in records if record["topic"] == topic]
            length = pick(durations)
            forward = [0, 1, 1, 2, 3, length - 1, length, length + 1, length // 2, between(0, length)]
            back = [-1, -2, -length, -length // 2, -(length + 1), -between(0, length)]
            far = [3 * length, 10 * length, -5 * length]
            step = pick(forward + back) if self.chance(0.93) else pick(far)
            time = max(0, (latest if self.chance(0.5) else time) + step)
            latest = max(latest, time)
            usual_keys = [record["key"] for record in there] or keys
            usual_values = [record["value"] for record in there] or values
            record = {
                "topic": topic,
                "key": pick(usual_keys if self.chance(0.93) else keys + [None, "a", "z"]),
                "value": pick(usual_values if self.chance(0.85) else values + [None, "", "7", "12", "ab", "a b"]),
                "ts": time,
            }
            if self.chance(0.08):
                record["headers"] = [["h", pick(["1", None, "x"])]]
            steps.append(record)
        return steps


def durations_of(topology):
    durations = [op[name] for op in topology for name in DURATIONS if name in op]
    arguments = [argument for op in topology for argument in op.get("processor", []) if isinstance(argument, int)]
    return [duration for duration in durations + arguments if duration > 0] or [10, 100]


def main():
    seed, count, corpus, output = int(sys.argv[1]), int(sys.argv[2]), *map(pathlib.Path, sys.argv[3:5])
    mutator = Mutator(seed)
    output.mkdir(parents=True, exist_ok=True)
    for file in sorted(corpus.glob("*.jsonl")):
        cases = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        with open(output / file.name, "w", encoding="utf-8") as lines:
            for number in range(count):
                case = mutator.random.choice(cases)
                # A throttled emission depends on every turn of the clock before it: no operators are added there.
                extend = file.stem != "emit-throttle" and mutator.chance(0.7)
                mutated = mutator.mutate(case, f"{case['name']}-{seed}-{number}", extend)
                lines.write(json.dumps(mutated, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
