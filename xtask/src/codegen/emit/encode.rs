//! Writes a struct's `Encode`.

use std::fmt::Write;

use anyhow::{Result, bail};

use super::{Emit, mentions};
use crate::codegen::schema::{Field, Kind};

impl Emit<'_> {
    pub(super) fn encode(&self) -> Result<String> {
        let mut body = self.flexible_let();
        for field in self.of.fields.iter().filter(|field| field.tag.is_none()) {
            let write = self.write(field, self.flexible())?;
            match self.condition(&field.versions) {
                Some(condition) => writeln!(body, "if {condition} {{ {write}; }}")?,
                None => writeln!(body, "{write};")?,
            }
        }
        match self.flexible() {
            "true" => body += &self.write_tags()?,
            "flexible" => write!(body, "if flexible {{ {} }}", self.write_tags()?)?,
            _ => {}
        }
        let version = if mentions(&body, "version") {
            "version"
        } else {
            "_version"
        };
        let writer = if mentions(&body, "writer") {
            "writer"
        } else {
            "_writer"
        };
        let name = &self.of.name;
        Ok(format!(
            "impl Encode for {name} {{ fn encode(&self, {writer}: &mut Writer, {version}: i16) {{ {body} }} }}\n\n"
        ))
    }

    fn write_tags(&self) -> Result<String> {
        let mut code = String::new();
        let mut writes = String::new();
        let mut counts = Vec::new();
        for (tag, field) in self.tagged() {
            let mut present = differs_from_default(field);
            let from = self.api.flexible.unwrap_or_default();
            if field.versions.start() > self.of.versions.start().max(&from) {
                present = format!("version >= {} && {present}", field.versions.start());
            }
            let (name, write) = (&field.name, self.write(field, "true")?);
            writeln!(code, "let has_{name} = {present};")?;
            counts.push(format!("u32::from(has_{name})"));
            writeln!(
                writes,
                "if has_{name} {{ writer.tagged({tag}, |writer| {write}); }}"
            )?;
        }
        let count = if counts.is_empty() {
            "0".to_owned()
        } else {
            counts.join(" + ")
        };
        write!(code, "writer.uvarint({count});\n{writes}")?;
        Ok(code)
    }

    fn write(&self, field: &Field, flexible: &str) -> Result<String> {
        let value = format!("self.{}", field.name);
        let Some(nullable) = &field.nullable else {
            let by_reference = match &field.kind {
                Kind::Primitive("string" | "bytes" | "records") | Kind::Array(_) => format!("&{value}"),
                _ => value,
            };
            return self.write_kind(&field.kind, "", &by_reference, flexible);
        };
        let optional = match &field.kind {
            Kind::Primitive("string") | Kind::Array(_) => format!("{value}.as_deref()"),
            _ => format!("{value}.as_ref()"),
        };
        let write_nullable = self.write_kind(&field.kind, "nullable_", &optional, flexible)?;
        if *nullable == field.versions {
            return Ok(write_nullable);
        }
        let or_empty = match &field.kind {
            Kind::Primitive("bytes") => format!("{optional}.unwrap_or(&Bytes::new())"),
            Kind::Primitive("string") | Kind::Array(_) => format!("{optional}.unwrap_or_default()"),
            other => bail!("{other:?} that is null in some versions only"),
        };
        let present = self.write_kind(&field.kind, "", &or_empty, flexible)?;
        Ok(format!(
            "if version >= {} {{ {write_nullable}; }} else {{ {present}; }}",
            nullable.start()
        ))
    }

    fn write_kind(&self, kind: &Kind, nullable: &str, value: &str, flexible: &str) -> Result<String> {
        Ok(match kind {
            Kind::Primitive(primitive @ ("string" | "bytes" | "records")) => {
                format!("writer.{nullable}{primitive}({flexible}, {value})")
            }
            Kind::Primitive("error") => format!("writer.error_code({value})"),
            Kind::Primitive(primitive) => format!("writer.{primitive}({value})"),
            Kind::Struct(_) if nullable.is_empty() => format!("{value}.encode(writer, version)"),
            Kind::Struct(_) => {
                format!("writer.nullable_struct({value}, |writer, inner| inner.encode(writer, version))")
            }
            Kind::Array(element) => {
                let each = match element.as_ref() {
                    Kind::Primitive(primitive @ ("string" | "bytes")) => {
                        format!("writer.{primitive}({flexible}, each)")
                    }
                    Kind::Primitive("error") => "writer.error_code(*each)".to_owned(),
                    Kind::Primitive(primitive) => format!("writer.{primitive}(*each)"),
                    _ => "each.encode(writer, version)".to_owned(),
                };
                format!("writer.{nullable}array({flexible}, {value}, |writer, each| {each})")
            }
        })
    }
}

fn differs_from_default(field: &Field) -> String {
    let value = format!("self.{}", field.name);
    if field.nullable.is_some() {
        return format!("{value}.is_some()");
    }
    if let Some(default) = &field.default {
        return format!("{value} != {default}");
    }
    match &field.kind {
        Kind::Primitive("bool") => value,
        Kind::Primitive("error") => format!("!{value}.is_ok()"),
        Kind::Primitive("uuid") => format!("!{value}.is_nil()"),
        Kind::Primitive("string" | "bytes" | "records") | Kind::Array(_) => format!("!{value}.is_empty()"),
        Kind::Primitive(_) => format!("{value} != 0"),
        Kind::Struct(name) => format!("{value} != {name}::default()"),
    }
}
