//! Reads the schemas: one file per API, as `crates/tidemill-protocol/schemas/README.md` describes them.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, bail, ensure};

pub(crate) type Versions = RangeInclusive<i16>;

/// One API.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) name: String,
    pub(crate) key: i16,
    pub(crate) versions: Versions,
    /// What clients are told, if it is not `versions`.
    pub(crate) advertised: Option<Versions>,
    /// The first version with compact lengths and tagged fields.
    pub(crate) flexible: Option<i16>,
    /// The request, the response, and every struct in them, in the order of the file.
    pub(crate) structs: Vec<Struct>,
}

#[derive(Debug)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// What it is part of, for its documentation; none for a request or response.
    pub(crate) within: Option<String>,
    /// The versions in which it can occur.
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) versions: Versions,
    /// The versions in which it may be null.
    pub(crate) nullable: Option<Versions>,
    pub(crate) default: Option<String>,
    pub(crate) tag: Option<u32>,
    pub(crate) comment: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    Primitive(&'static str),
    Struct(String),
    Array(Box<Kind>),
}

pub(crate) const PRIMITIVES: [&str; 13] = [
    "bool", "i8", "i16", "u16", "i32", "u32", "i64", "f64", "string", "bytes", "records", "uuid", "error",
];

impl Api {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut api = Api {
            name: String::new(),
            key: -1,
            versions: 0..=0,
            advertised: None,
            flexible: None,
            structs: Vec::new(),
        };
        // The structs that are open, by depth: a field at depth n belongs to the n-th.
        let mut open: Vec<usize> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let context = || format!("line {}: {line}", number + 1);
            let content = line.trim_start();
            if content.is_empty() || content.starts_with('#') {
                continue;
            }
            let indent = line.len() - content.len();
            if indent == 0 {
                api.heading(content, &mut open).with_context(context)?;
            } else {
                ensure!(
                    indent % 2 == 0 && indent / 2 <= open.len(),
                    "{}: indented by {indent}",
                    context()
                );
                open.truncate(indent / 2);
                api.field(content, &mut open).with_context(context)?;
            }
        }
        ensure!(
            api.key >= 0 && !api.structs.is_empty(),
            "no `api NAME KEY`, or no messages"
        );
        Ok(api)
    }

    fn heading(&mut self, line: &str, open: &mut Vec<usize>) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = match words.as_slice() {
            ["api", name, key] => {
                (self.name, self.key) = (name.to_string(), key.parse()?);
                return Ok(());
            }
            ["versions", range] => {
                self.versions = versions(range, &(0..=i16::MAX))?;
                return Ok(());
            }
            ["advertised", range] => {
                self.advertised = Some(versions(range, &(0..=i16::MAX))?);
                return Ok(());
            }
            ["flexible", from] => {
                self.flexible = Some(from.trim_end_matches('+').parse()?);
                return Ok(());
            }
            ["request"] => format!("{}Request", self.name),
            ["response"] => format!("{}Response", self.name),
            ["struct", name] => name.to_string(),
            _ => bail!("not a heading"),
        };
        let within = (words.len() == 2).then(|| format!("{}Request` and `{}Response", self.name, self.name));
        *open = vec![self.structs.len()];
        self.structs.push(Struct {
            name,
            within,
            versions: self.versions.clone(),
            fields: Vec::new(),
        });
        Ok(())
    }

    fn field(&mut self, line: &str, open: &mut Vec<usize>) -> Result<()> {
        let parent = *open.last().context("a field outside of any struct")?;
        let parent = self
            .structs
            .get_mut(parent)
            .context("an open struct that is not there")?;
        let field = Field::parse(line, &parent.versions)?;
        let inner = field.kind.struct_name().map(str::to_owned);
        let within = format!("{}::{}", parent.name, field.name);
        let versions = field.versions.clone();
        parent.fields.push(field);
        // What is indented below belongs to this struct; it stays empty, and is dropped, if the struct has its own heading.
        if let Some(name) = inner {
            open.push(self.structs.len());
            self.structs.push(Struct {
                name,
                within: Some(within),
                versions,
                fields: Vec::new(),
            });
        }
        Ok(())
    }
}

impl Field {
    /// `name type[?] [versions] [= default] [tag n] [# comment]`
    fn parse(line: &str, parent: &Versions) -> Result<Self> {
        let (line, comment) = match line.split_once(" # ") {
            Some((line, comment)) => (line, Some(comment.trim().to_owned())),
            None => (line, None),
        };
        let mut words = line.split_whitespace().peekable();
        let name = words.next().context("no name")?.to_owned();
        let kind = words.next().context("no type")?;
        let range = words.next_if(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        let versions = range.map_or_else(|| Ok(parent.clone()), |range| versions(range, parent))?;
        let (kind, nullable) = match kind.split_once('?') {
            Some((kind, "")) => (kind, Some(versions.clone())),
            Some((kind, from)) => (kind, Some(self::versions(from, &versions)?)),
            None => (kind, None),
        };
        let mut field = Field {
            name,
            kind: Kind::parse(kind)?,
            versions,
            nullable,
            default: None,
            tag: None,
            comment,
        };
        while let Some(word) = words.next() {
            let value = words.next().with_context(|| format!("nothing after `{word}`"))?;
            match word {
                "=" => field.default = Some(value.to_owned()),
                "tag" => field.tag = Some(value.parse()?),
                _ => bail!("`{word}` is none of versions, `=` and `tag`"),
            }
        }
        Ok(field)
    }
}

impl Kind {
    fn parse(text: &str) -> Result<Self> {
        if let Some(element) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            return Ok(Kind::Array(Box::new(Kind::parse(element)?)));
        }
        if let Some(primitive) = PRIMITIVES.iter().find(|primitive| **primitive == text) {
            return Ok(Kind::Primitive(primitive));
        }
        ensure!(
            text.starts_with(|first: char| first.is_ascii_uppercase()),
            "no type is called {text}"
        );
        Ok(Kind::Struct(text.to_owned()))
    }

    pub(crate) fn struct_name(&self) -> Option<&str> {
        match self {
            Kind::Primitive(_) => None,
            Kind::Struct(name) => Some(name),
            Kind::Array(element) => element.struct_name(),
        }
    }
}

/// `3`, `3-7` or `3+`, cut to the range around it.
fn versions(text: &str, around: &Versions) -> Result<Versions> {
    let (from, to) = match text.split_once('-') {
        Some((from, to)) => (from.parse()?, to.parse()?),
        None => match text.strip_suffix('+') {
            Some(from) => (from.parse()?, *around.end()),
            None => (text.parse()?, text.parse()?),
        },
    };
    ensure!(
        from <= to && around.contains(&from) && around.contains(&to),
        "{text} is not within {around:?}"
    );
    Ok(from..=to)
}
