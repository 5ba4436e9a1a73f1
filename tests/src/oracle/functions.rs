//! The named functions of the oracle's cases, parsed from JSON (`["append", "!"]`) into closures.
//!
//! They are defined in the corpus' own description; `k` and `v` are a record's key and value, text or null.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A key or value: text, or null.
pub type Text = Option<String>;
/// (k, v) → value, or (k, v) → key.
pub type TextFn = Arc<dyn Fn(&Text, &Text) -> Text + Send + Sync>;
/// v → values.
pub type FlatValueFn = Arc<dyn Fn(&Text) -> Vec<Text> + Send + Sync>;
/// (k, v) → whether it holds.
pub type Predicate = Arc<dyn Fn(&Text, &Text) -> bool + Send + Sync>;
/// (k, v) → (key, value).
pub type PairFn = Arc<dyn Fn(&Text, &Text) -> (Text, Text) + Send + Sync>;
/// (k, v) → pairs.
pub type FlatPairFn = Arc<dyn Fn(&Text, &Text) -> Vec<(Text, Text)> + Send + Sync>;
/// (k, v, aggregate) → aggregate; for joiners (k, left, right) → value.
pub type ThreeFn = Arc<dyn Fn(&Text, &Text, &Text) -> Text + Send + Sync>;
/// (older, newer) → value.
pub type Reducer = Arc<dyn Fn(&Text, &Text) -> Text + Send + Sync>;

/// The number of code points; null is 0.
pub fn length(text: &Text) -> i64 {
    text.as_ref().map_or(0, |text| text.chars().count() as i64)
}

/// The integer a text wholly is (`-?[0-9]{1,15}`), else 0.
pub fn number(text: &Text) -> i64 {
    let Some(text) = text else { return 0 };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole = (1..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole { text.parse().unwrap_or(0) } else { 0 }
}

/// The text, or `-` for null.
pub fn dash(text: &Text) -> &str {
    text.as_deref().unwrap_or("-")
}

fn first(text: &str, count: i64) -> String {
    text.chars().take(usize::try_from(count).unwrap_or(0)).collect()
}

fn before<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(before, _)| before)
}

/// A function as the case writes it: its name and its arguments.
struct Call<'a> {
    name: &'a str,
    arguments: &'a [Value],
}

impl<'a> Call<'a> {
    fn parse(value: &'a Value) -> Result<Self> {
        let words = value
            .as_array()
            .with_context(|| format!("not a function: {value}"))?;
        let (name, arguments) = words.split_first().context("a function without a name")?;
        Ok(Self {
            name: name.as_str().context("a function's name is text")?,
            arguments,
        })
    }

    fn argument(&self, place: usize) -> Result<&'a Value> {
        self.arguments
            .get(place)
            .with_context(|| format!("`{}` lacks argument {place}", self.name))
    }

    fn text(&self, place: usize) -> Result<String> {
        Ok(self
            .argument(place)?
            .as_str()
            .with_context(|| format!("`{}` takes a text", self.name))?
            .to_owned())
    }

    fn number(&self, place: usize) -> Result<i64> {
        self.argument(place)?
            .as_i64()
            .with_context(|| format!("`{}` takes a number", self.name))
    }

    fn unknown<T>(&self, kind: &str) -> Result<T> {
        bail!("there is no {kind} `{}`", self.name)
    }
}

/// Value functions: null gives null, except for `default` and `const`.
pub fn value_function(value: &Value) -> Result<TextFn> {
    let call = Call::parse(value)?;
    type OnText = Box<dyn Fn(&Text, &str) -> Text + Send + Sync>;
    let on_text: OnText = match call.name {
        "default" => {
            let other = call.text(0)?;
            return Ok(Arc::new(move |_, v| {
                Some(v.clone().unwrap_or_else(|| other.clone()))
            }));
        }
        "const" => {
            let constant = call.text(0)?;
            return Ok(Arc::new(move |_, _| Some(constant.clone())));
        }
        "identity" | "to_string" => Box::new(|_, v| Some(v.to_owned())),
        "upper" => Box::new(|_, v| Some(v.to_ascii_uppercase())),
        "append" => {
            let end = call.text(0)?;
            Box::new(move |_, v| Some(format!("{v}{end}")))
        }
        "prepend" => {
            let start = call.text(0)?;
            Box::new(move |_, v| Some(format!("{start}{v}")))
        }
        "length" => Box::new(|_, v| Some(v.chars().count().to_string())),
        "null_if" => {
            let null = call.text(0)?;
            Box::new(move |_, v| (v != null).then(|| v.to_owned()))
        }
        "null_if_contains" => {
            let null = call.text(0)?;
            Box::new(move |_, v| (!v.contains(&null)).then(|| v.to_owned()))
        }
        "first" => {
            let count = call.number(0)?;
            Box::new(move |_, v| Some(first(v, count)))
        }
        "before" => {
            let mark = call.text(0)?;
            Box::new(move |_, v| Some(before(v, &mark).unwrap_or(v).to_owned()))
        }
        "with_key" => Box::new(|k, v| Some(format!("{}:{v}", dash(k)))),
        "add_int" => {
            let added = call.number(0)?;
            Box::new(move |_, v| Some((number(&Some(v.to_owned())) + added).to_string()))
        }
        _ => return call.unknown("value function"),
    };
    Ok(Arc::new(move |k, v| v.as_deref().and_then(|v| on_text(k, v))))
}

/// Flat value functions.
pub fn flat_value_function(value: &Value) -> Result<FlatValueFn> {
    let call = Call::parse(value)?;
    Ok(match call.name {
        "split_words" => Arc::new(|v| words(v).map(|word| Some(word.to_owned())).collect()),
        "repeat" => {
            let times = usize::try_from(call.number(0)?)?;
            Arc::new(move |v| vec![v.clone(); times])
        }
        _ => return call.unknown("flat value function"),
    })
}

fn words(text: &Text) -> impl Iterator<Item = &str> {
    text.as_deref()
        .unwrap_or_default()
        .split(' ')
        .filter(|word| !word.is_empty())
}

/// Predicates over key and value.
pub fn predicate(value: &Value) -> Result<Predicate> {
    let call = Call::parse(value)?;
    Ok(match call.name {
        "true" => Arc::new(|_, _| true),
        "false" => Arc::new(|_, _| false),
        "value_contains" => {
            let part = call.text(0)?;
            Arc::new(move |_, v| v.as_ref().is_some_and(|v| v.contains(&part)))
        }
        "value_eq" => {
            let same = call.text(0)?;
            Arc::new(move |_, v| v.as_ref() == Some(&same))
        }
        "value_len_gt" => {
            let count = call.number(0)?;
            Arc::new(move |_, v| v.is_some() && length(v) > count)
        }
        "value_is_null" => Arc::new(|_, v| v.is_none()),
        "num_gt" => {
            let limit = call.number(0)?;
            Arc::new(move |_, v| v.is_some() && number(v) > limit)
        }
        "key_in" => {
            let listed = call.argument(0)?.as_array().context("`key_in` takes a list")?;
            let keys: Vec<String> = listed
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            Arc::new(move |k, _| k.as_ref().is_some_and(|k| keys.contains(k)))
        }
        "key_contains" => {
            let part = call.text(0)?;
            Arc::new(move |k, _| k.as_ref().is_some_and(|k| k.contains(&part)))
        }
        "key_is_null" => Arc::new(|k, _| k.is_none()),
        "not" => {
            let inner = predicate(call.argument(0)?)?;
            Arc::new(move |k, v| !inner(k, v))
        }
        "and" | "or" => {
            let (left, right) = (predicate(call.argument(0)?)?, predicate(call.argument(1)?)?);
            let both = call.name == "and";
            Arc::new(move |k, v| {
                if both {
                    left(k, v) && right(k, v)
                } else {
                    left(k, v) || right(k, v)
                }
            })
        }
        _ => return call.unknown("predicate"),
    })
}

/// Key functions.
pub fn key_function(value: &Value) -> Result<TextFn> {
    let call = Call::parse(value)?;
    Ok(match call.name {
        "same_key" => Arc::new(|k, _| k.clone()),
        "const_key" => {
            let constant = call.text(0)?;
            Arc::new(move |_, _| Some(constant.clone()))
        }
        "null_key" => Arc::new(|_, _| None),
        "value_as_key" => Arc::new(|_, v| v.clone()),
        "key_from_value_prefix" => {
            let count = call.number(0)?;
            Arc::new(move |_, v| v.as_ref().filter(|v| !v.is_empty()).map(|v| first(v, count)))
        }
        "key_from_value_before" => {
            let mark = call.text(0)?;
            Arc::new(move |_, v| v.as_ref().and_then(|v| before(v, &mark)).map(str::to_owned))
        }
        "key_prefix" => {
            let count = call.number(0)?;
            Arc::new(move |k, _| k.as_ref().map(|k| first(k, count)))
        }
        "key_upper" => Arc::new(|k, _| k.as_ref().map(|k| k.to_ascii_uppercase())),
        "key_append" => {
            let end = call.text(0)?;
            Arc::new(move |k, _| k.as_ref().map(|k| format!("{k}{end}")))
        }
        "key_before" => {
            let mark = call.text(0)?;
            Arc::new(move |k, _| k.as_ref().map(|k| before(k, &mark).unwrap_or(k).to_owned()))
        }
        "key_after" => {
            let mark = call.text(0)?;
            Arc::new(move |k, _| {
                k.as_ref().map(|k| {
                    k.split_once(&mark)
                        .map_or(k.as_str(), |(_, after)| after)
                        .to_owned()
                })
            })
        }
        _ => return call.unknown("key function"),
    })
}

/// Pair functions.
pub fn pair_function(value: &Value) -> Result<PairFn> {
    let call = Call::parse(value)?;
    Ok(match call.name {
        "swap" => Arc::new(|k, v| (v.clone(), k.clone())),
        "map" => {
            let (key, value) = (
                key_function(call.argument(0)?)?,
                value_function(call.argument(1)?)?,
            );
            Arc::new(move |k, v| (key(k, v), value(k, v)))
        }
        _ => return call.unknown("pair function"),
    })
}

/// Flat pair functions.
pub fn flat_pair_function(value: &Value) -> Result<FlatPairFn> {
    let call = Call::parse(value)?;
    Ok(match call.name {
        "words_as_keys" => Arc::new(|k, v| words(v).map(|word| (Some(word.to_owned()), k.clone())).collect()),
        "fan_out" => {
            let count = call.number(0)?;
            Arc::new(move |k, v| {
                (0..count)
                    .map(|i| (Some(format!("{}#{i}", dash(k))), v.clone()))
                    .collect()
            })
        }
        _ => return call.unknown("flat pair function"),
    })
}

/// Aggregators (k, v, aggregate) → aggregate.
pub fn aggregator(value: &Value) -> Result<ThreeFn> {
    let call = Call::parse(value)?;
    let sum = |sign: i64, part: fn(&Text) -> i64| -> ThreeFn {
        Arc::new(move |_, v, a| Some((number(a) + sign * part(v)).to_string()))
    };
    Ok(match call.name {
        "concat" => {
            let mark = call.text(0)?;
            Arc::new(move |_, v, a| match a.as_deref() {
                None | Some("") => Some(dash(v).to_owned()),
                Some(a) => Some(format!("{a}{mark}{}", dash(v))),
            })
        }
        "tag" => {
            let mark = call.text(0)?;
            Arc::new(move |_, v, a| Some(format!("{}{mark}{}", dash(a), dash(v))))
        }
        "tag_key" => {
            let mark = call.text(0)?;
            Arc::new(move |k, v, a| Some(format!("{}{mark}{}={}", dash(a), dash(k), dash(v))))
        }
        "sum_len" => sum(1, length),
        "sub_len" => sum(-1, length),
        "sum_num" => sum(1, number),
        "sub_num" => sum(-1, number),
        "inc" => sum(1, |_| 1),
        "dec" => sum(-1, |_| 1),
        "max" => Arc::new(|_, v, a| v.clone().max(a.clone())),
        "last" => Arc::new(|_, v, _| v.clone()),
        "null_on" => {
            let (null, inner) = (call.text(0)?, aggregator(call.argument(1)?)?);
            Arc::new(move |k, v, a| {
                if v.as_ref() == Some(&null) {
                    None
                } else {
                    inner(k, v, a)
                }
            })
        }
        _ => return call.unknown("aggregator"),
    })
}

/// Reducers and session mergers (older, newer) → value.
pub fn reducer(value: &Value) -> Result<Reducer> {
    let call = Call::parse(value)?;
    Ok(match call.name {
        "concat" => {
            let mark = call.text(0)?;
            Arc::new(move |a, b| match (a.as_deref(), b.as_deref()) {
                (None | Some(""), _) => b.clone(),
                (_, None | Some("")) => a.clone(),
                (Some(a), Some(b)) => Some(format!("{a}{mark}{b}")),
            })
        }
        "tag" => {
            let mark = call.text(0)?;
            Arc::new(move |a, b| Some(format!("{}{mark}{}", dash(a), dash(b))))
        }
        "sum_num" => Arc::new(|a, b| Some((number(a) + number(b)).to_string())),
        "sub_num" => Arc::new(|a, b| Some((number(a) - number(b)).to_string())),
        "max" => Arc::new(|a, b| a.clone().max(b.clone())),
        "min" => Arc::new(|a, b| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b).clone()),
            _ => a.clone().or_else(|| b.clone()),
        }),
        "last" => Arc::new(|_, b| b.clone()),
        "first" => Arc::new(|a, _| a.clone()),
        "null_on" => {
            let (null, inner) = (call.text(0)?, reducer(call.argument(1)?)?);
            Arc::new(move |a, b| {
                if b.as_ref() == Some(&null) {
                    None
                } else {
                    inner(a, b)
                }
            })
        }
        _ => return call.unknown("reducer"),
    })
}

/// Joiners (k, left, right) → value; a side that is missing is null.
pub fn joiner(value: &Value) -> Result<ThreeFn> {
    let call = Call::parse(value)?;
    let pair = |l: &Text, r: &Text| Some(format!("{}|{}", dash(l), dash(r)));
    Ok(match call.name {
        "pair" => Arc::new(move |_, l, r| pair(l, r)),
        "pair_key" => Arc::new(|k, l, r| Some(format!("{}:{}|{}", dash(k), dash(l), dash(r)))),
        "left" => Arc::new(|_, l, _| l.clone()),
        "right" => Arc::new(|_, _, r| r.clone()),
        "null_if_eq" => Arc::new(move |_, l, r| if l.is_some() && l == r { None } else { pair(l, r) }),
        _ => return call.unknown("joiner"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(text: &str) -> Text {
        Some(text.to_owned())
    }

    #[test]
    fn only_whole_short_integers_are_numbers() {
        for (written, meant) in [
            ("42", 42),
            ("-3", -3),
            ("", 0),
            ("-", 0),
            ("4x", 0),
            ("1234567890123456", 0),
        ] {
            assert_eq!(number(&text(written)), meant, "{written}");
        }
    }

    #[test]
    fn functions_nest_and_unknown_ones_are_named() {
        let both = predicate(&json!(["and", ["value_contains", "x"], ["not", ["key_is_null"]]])).unwrap();
        assert!(both(&text("k"), &text("axb")) && !both(&None, &text("axb")));
        let error = value_function(&json!(["shout"]))
            .err()
            .expect("no such function")
            .to_string();
        assert!(error.contains("shout"), "{error}");
    }

    #[test]
    fn null_stays_null_but_for_default_and_const() {
        assert_eq!(
            value_function(&json!(["append", "!"])).expect("a known function")(&None, &None),
            None
        );
        assert_eq!(
            value_function(&json!(["default", "d"])).expect("a known function")(&None, &None),
            text("d")
        );
    }
}
