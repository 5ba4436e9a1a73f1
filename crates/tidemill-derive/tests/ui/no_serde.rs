use tidemill_derive::Data;

#[derive(Data)]
#[data(crate = "tidemill_data")]
struct Click {
    article: String,
}

fn main() {}
