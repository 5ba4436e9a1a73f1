//! Writes a struct's `Decode`.

use std::fmt::Write;

use anyhow::{Context, Result, ensure};

use super::{Emit, mentions};
use crate::codegen::schema::{Field, Kind};

impl Emit<'_> {
    pub(super) fn decode(&self) -> Result<String> {
        let mut body = String::new();
        if self.of.within.is_none() {
            writeln!(body, "ApiKey::{}.check_version(version)?;", self.api.name)?;
        }
        body += &self.flexible_let();
        // The fields before the first that not every version has are read where the struct is made.
        let always = |field: &&Field| field.tag.is_none() && self.condition(&field.versions).is_none();
        let first = self.of.fields.iter().take_while(always).count();
        let (first, rest) = self
            .of
            .fields
            .split_at_checked(first)
            .context("counted among them")?;
        let mut literal = String::new();
        for field in first {
            writeln!(literal, "{}: {},", field.name, self.read(field, self.flexible())?)?;
        }
        match (first.is_empty(), rest.is_empty()) {
            (true, true) => writeln!(body, "let it = Self::default();")?,
            (true, false) => writeln!(body, "let mut it = Self::default();")?,
            (false, true) => writeln!(body, "let it = Self {{ {literal} }};")?,
            (false, false) => writeln!(body, "let mut it = Self {{ {literal} ..Self::default() }};")?,
        }
        for field in rest.iter().filter(|field| field.tag.is_none()) {
            let read = self.read(field, self.flexible())?;
            match self.condition(&field.versions) {
                Some(condition) => writeln!(body, "if {condition} {{ it.{} = {read}; }}", field.name)?,
                None => writeln!(body, "it.{} = {read};", field.name)?,
            }
        }
        match self.flexible() {
            "true" => body += &self.read_tags()?,
            "flexible" => write!(body, "if flexible {{ {} }}", self.read_tags()?)?,
            _ => {}
        }
        let version = if mentions(&body, "version") {
            "version"
        } else {
            "_version"
        };
        let reader = if mentions(&body, "reader") {
            "reader"
        } else {
            "_reader"
        };
        let name = &self.of.name;
        Ok(format!(
            "impl Decode for {name} {{ fn decode({reader}: &mut Reader<'_>, {version}: i16) -> Result<Self, DecodeError> {{ {body} Ok(it) }} }}\n\n"
        ))
    }

    fn read_tags(&self) -> Result<String> {
        let tagged = self.tagged();
        if tagged.is_empty() {
            return Ok("reader.skip_tagged_fields()?;\n".to_owned());
        }
        let mut code = "reader.tagged_fields(|reader, tag| {\nmatch tag {\n".to_owned();
        for (tag, field) in tagged {
            write!(code, "{tag} ")?;
            let from = self.api.flexible.unwrap_or_default();
            if field.versions.start() > self.of.versions.start().max(&from) {
                write!(code, "if version >= {} ", field.versions.start())?;
            }
            writeln!(code, "=> it.{} = {},", field.name, self.read(field, "true")?)?;
        }
        code += "_ => return Ok(false),\n}\nOk(true)\n})?;\n";
        Ok(code)
    }

    fn read(&self, field: &Field, flexible: &str) -> Result<String> {
        let Some(nullable) = &field.nullable else {
            return self.read_kind(&field.kind, "", flexible);
        };
        let read_nullable = self.read_kind(&field.kind, "nullable_", flexible)?;
        if *nullable == field.versions {
            return Ok(read_nullable);
        }
        let present = self.read_kind(&field.kind, "", flexible)?;
        let from = nullable.start();
        Ok(format!(
            "if version >= {from} {{ {read_nullable} }} else {{ Some({present}) }}"
        ))
    }

    fn read_kind(&self, kind: &Kind, nullable: &str, flexible: &str) -> Result<String> {
        Ok(match kind {
            Kind::Primitive(primitive @ ("string" | "bytes" | "records")) => {
                format!("reader.{nullable}{primitive}({flexible})?")
            }
            Kind::Primitive("error") => "reader.error_code()?".to_owned(),
            Kind::Primitive(primitive) => format!("reader.{primitive}()?"),
            Kind::Struct(name) if nullable.is_empty() => format!("{name}::decode(reader, version)?"),
            Kind::Struct(name) => {
                format!("reader.nullable_struct(|reader| {name}::decode(reader, version))?")
            }
            Kind::Array(element) => {
                let least = self
                    .of
                    .versions
                    .clone()
                    .filter_map(|version| self.len_min(element, version).ok())
                    .min();
                let least = least
                    .filter(|least| *least > 0)
                    .context("an array of elements that may have no bytes")?;
                let each = match element.as_ref() {
                    Kind::Primitive(primitive @ ("string" | "bytes")) => {
                        format!("|reader| reader.{primitive}({flexible})")
                    }
                    Kind::Primitive("error") => "Reader::error_code".to_owned(),
                    Kind::Primitive(primitive) => format!("Reader::{primitive}"),
                    other => {
                        format!(
                            "|reader| {}::decode(reader, version)",
                            other.struct_name().context("nested arrays")?
                        )
                    }
                };
                format!("reader.{nullable}array({flexible}, {least}, {each})?")
            }
        })
    }

    /// The fewest bytes a value can have at that version.
    fn len_min(&self, kind: &Kind, version: i16) -> Result<usize> {
        let flexible = self.api.flexible.is_some_and(|from| version >= from);
        Ok(match kind {
            Kind::Primitive("bool" | "i8") => 1,
            Kind::Primitive("i16" | "u16" | "error") => 2,
            Kind::Primitive("i32" | "u32") => 4,
            Kind::Primitive("i64" | "f64") => 8,
            Kind::Primitive("uuid") => 16,
            Kind::Primitive("string") if !flexible => 2,
            Kind::Primitive(_) | Kind::Array(_) => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Kind::Struct(name) => {
                let inner = self.structs.iter().find(|inner| inner.name == *name);
                let inner = inner.with_context(|| format!("no struct is called {name}"))?;
                ensure!(
                    inner.versions.contains(&version),
                    "{name} does not occur in version {version}"
                );
                let mut least = usize::from(flexible);
                for field in &inner.fields {
                    if field.tag.is_none() && field.versions.contains(&version) {
                        let null = field.nullable.is_some() && matches!(field.kind, Kind::Struct(_));
                        least += if null {
                            1
                        } else {
                            self.len_min(&field.kind, version)?
                        };
                    }
                }
                least
            }
        })
    }
}
