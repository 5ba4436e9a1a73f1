use tidemill_derive::Data;

#[derive(Data, serde::Serialize, serde::Deserialize)]
#[data(avro)]
struct Click {
    article: String,
}

fn main() {}
