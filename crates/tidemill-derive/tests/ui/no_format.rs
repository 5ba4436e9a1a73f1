use tidemill_data::Topic;

struct Click;

const CLICKS: Topic<String, Click> = Topic::new("clicks");

fn main() {}
