//! Random messages in bytes, written straight from a schema: an encoder that shares nothing with the generated one.

use crate::apis::Side;
use crate::schema::{Api, Field, Kind, Struct};

/// A splitmix generator: a message is a function of its seed.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A length or count inside a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Length {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A varint of the length plus one.
    Compact,
    /// A varint of the length itself: a tagged field's size, or how many there are.
    Plain,
    Fixed16,
    Fixed32,
}

#[derive(Debug, Default)]
pub(crate) struct Generated {
    pub(crate) bytes: Vec<u8>,
    pub(crate) lengths: Vec<Length>,
}

/// How a message is made.
pub(crate) struct Making<'a> {
    pub(crate) api: &'a Api,
    pub(crate) version: i16,
    pub(crate) rng: Rng,
    /// Whether to put in tagged fields that no schema knows.
    pub(crate) strays: bool,
    /// The longest bytes and records.
    pub(crate) bytes_max: u64,
}

impl<'a> Making<'a> {
    pub(crate) fn new(api: &'a Api, version: i16, seed: u64) -> Self {
        Making {
            api,
            version,
            rng: Rng(seed),
            strays: false,
            bytes_max: 40,
        }
    }

    pub(crate) fn message(mut self, side: Side) -> Generated {
        let name = format!("{}{side:?}", self.api.name);
        let mut out = Generated::default();
        self.fields(&name, &mut out);
        out
    }

    fn flexible(&self) -> bool {
        self.api.flexible.is_some_and(|from| self.version >= from)
    }

    fn fields(&mut self, name: &str, out: &mut Generated) {
        let api = self.api;
        // A struct that is only mentioned has no fields; the one with its own heading does.
        let named = api.structs.iter().filter(|one| one.name == name);
        let of: &'a Struct = named.max_by_key(|one| one.fields.len()).unwrap();
        let present = |field: &&Field| field.versions.contains(&self.version);
        let (tagged, plain): (Vec<&Field>, Vec<&Field>) = of
            .fields
            .iter()
            .filter(present)
            .partition(|field| field.tag.is_some());
        for field in plain {
            self.field(field, out);
        }
        if self.flexible() {
            self.tagged_fields(tagged, out);
        }
    }

    fn field(&mut self, field: &Field, out: &mut Generated) {
        let nullable = field
            .nullable
            .as_ref()
            .is_some_and(|nullable| nullable.contains(&self.version));
        let null = nullable && self.rng.below(4) == 0;
        match &field.kind {
            Kind::Struct(name) => {
                if nullable {
                    out.bytes.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.fields(name, out);
                }
            }
            kind if null => self.length(form(kind, self.flexible()), None, out),
            kind => self.value(kind, 0, out),
        }
    }

    /// The tagged fields: each there or not; one that is there differs from its default, else no codec would write it.
    fn tagged_fields(&mut self, mut tagged: Vec<&Field>, out: &mut Generated) {
        tagged.sort_by_key(|field| field.tag);
        tagged.retain(|_| self.rng.below(2) == 0);
        let strays = if self.strays { self.rng.below(3) } else { 0 };
        self.length(Form::Plain, Some(tagged.len() + strays as usize), out);
        for field in tagged {
            let mut content = Generated::default();
            loop {
                match &field.kind {
                    Kind::Struct(name) => self.fields(name, &mut content),
                    kind => self.value(kind, 1, &mut content),
                }
                let default = field.default.as_ref().is_some_and(|default| *default == "-1");
                let least = if default { 0xff } else { 0 };
                if content.bytes.iter().any(|byte| *byte != least) {
                    break;
                }
                content = Generated::default();
            }
            self.tagged_field(field.tag.unwrap(), content, out);
        }
        for stray in 0..strays {
            let len = self.rng.below(200);
            let content = Generated {
                bytes: self.rng.bytes(len),
                lengths: Vec::new(),
            };
            self.tagged_field(100 + 1_000 * stray as u32, content, out);
        }
    }

    fn tagged_field(&mut self, tag: u32, content: Generated, out: &mut Generated) {
        varint(u64::from(tag), &mut out.bytes);
        self.length(Form::Plain, Some(content.bytes.len()), out);
        let at = out.bytes.len();
        out.bytes.extend(content.bytes);
        out.lengths.extend(content.lengths.iter().map(|inner| Length {
            start: inner.start + at,
            end: inner.end + at,
            ..*inner
        }));
    }

    fn value(&mut self, kind: &Kind, count_min: u64, out: &mut Generated) {
        let form = form(kind, self.flexible());
        match kind {
            Kind::Array(element) => {
                let count = count_min + self.rng.below(4);
                self.length(form, Some(count as usize), out);
                for _ in 0..count {
                    match element.as_ref() {
                        Kind::Struct(name) => self.fields(name, out),
                        element => self.value(element, 0, out),
                    }
                }
            }
            Kind::Primitive("string") => {
                let count = count_min + self.rng.below(24);
                let letters = ['a', 'Z', '-', '\0', 'é', '水', '🌊'];
                let text: String = (0..count).map(|_| letters[self.rng.below(7) as usize]).collect();
                self.length(form, Some(text.len()), out);
                out.bytes.extend(text.as_bytes());
            }
            Kind::Primitive("bytes" | "records") => {
                let len = count_min + self.rng.below(self.bytes_max);
                self.length(form, Some(len as usize), out);
                let bytes = self.rng.bytes(len);
                out.bytes.extend(bytes);
            }
            Kind::Primitive("bool") => {
                let value = if count_min > 0 { 1 } else { self.rng.below(2) as u8 };
                out.bytes.push(value);
            }
            Kind::Primitive("f64") => out.bytes.extend((self.rng.below(1 << 40) as f64).to_be_bytes()),
            Kind::Primitive(fixed) => {
                let len = match *fixed {
                    "i8" => 1,
                    "i16" | "u16" | "error" => 2,
                    "i32" | "u32" => 4,
                    "i64" => 8,
                    "uuid" => 16,
                    other => panic!("no such primitive: {other}"),
                };
                let bytes = self.rng.bytes(len);
                out.bytes.extend(bytes);
            }
            Kind::Struct(name) => self.fields(name, out),
        }
    }

    fn length(&mut self, form: Form, len: Option<usize>, out: &mut Generated) {
        let start = out.bytes.len();
        write_length(form, len, &mut out.bytes);
        out.lengths.push(Length {
            start,
            end: out.bytes.len(),
            form,
        });
    }
}

fn form(kind: &Kind, flexible: bool) -> Form {
    match kind {
        _ if flexible => Form::Compact,
        Kind::Primitive("string") => Form::Fixed16,
        _ => Form::Fixed32,
    }
}

pub(crate) fn write_length(form: Form, len: Option<usize>, out: &mut Vec<u8>) {
    match form {
        Form::Compact => varint(len.map_or(0, |len| len as u64 + 1), out),
        Form::Plain => varint(len.unwrap() as u64, out),
        Form::Fixed16 => out.extend(len.map_or(-1, |len| len as i16).to_be_bytes()),
        Form::Fixed32 => out.extend(len.map_or(-1, |len| len as i32).to_be_bytes()),
    }
}

pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
