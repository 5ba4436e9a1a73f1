use tidemill_derive::Data;

#[derive(Data, serde::Serialize)]
struct Click<'a> {
    article: &'a str,
}

fn main() {}
