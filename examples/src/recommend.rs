//! What should a reader read next? Articles are cleaned and kept once, clicks say what a reader likes, and the program
//! answers for itself. `articles/` is the same at full length: real feeds, near duplicates, texts compared.

use std::{collections::BTreeSet, fmt::Write as _};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::Run;

/// Items as feeds deliver them, by address.
pub const ITEMS: Topic<String, Item> = Topic::new("items");
/// Items that cannot be used.
pub const BROKEN: &str = "broken-items";
/// The addresses that readers open, by reader.
pub const OPENED: Topic<String, String> = Topic::new("opened");
/// What each reader should read next, again with each click.
pub const NEXT: Topic<String, Addresses> = Topic::new("read-next");

/// Each article once, by its address.
pub const ARTICLES: StoreName<String, Article> = StoreName::new("kept-articles");
/// The newest articles of each subject.
pub const NEWEST: StoreName<String, Addresses> = StoreName::new("newest");
/// What each reader has opened, and should open.
pub const LISTS: StoreName<String, List> = StoreName::new("reading-lists");

const NEWEST_MAX: usize = 5;

/// What a feed delivers.
#[derive(Clone, Debug, Data, Serialize, Deserialize)]
#[data(json)]
pub struct Item {
    url: String,
    subject: String,
    html: String,
}

/// What is left of it.
#[derive(Clone, Debug, Data, Serialize, Deserialize)]
#[data(json)]
pub struct Article {
    url: String,
    subject: String,
    text: String,
}

/// Addresses of articles, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Data, Serialize, Deserialize)]
#[data(json)]
pub struct Addresses(pub Vec<String>);

impl Addresses {
    fn put(&mut self, url: String) {
        self.0.retain(|other| *other != url);
        self.0.insert(0, url);
        self.0.truncate(NEWEST_MAX);
    }
}

/// A reader's list.
#[derive(Clone, Debug, Default, Data, Serialize, Deserialize)]
#[data(json)]
pub struct List {
    opened: BTreeSet<String>,
    next: Addresses,
}

/// A click, with what is new on the subject of what was clicked.
#[derive(Clone, Debug, Data, Serialize, Deserialize)]
#[data(json)]
struct Offer {
    reader: String,
    opened: String,
    subject: String,
    newest: Addresses,
}

/// The program.
pub fn compose() -> App {
    let app = App::new("recommend");
    app.on_error(Policy::DeadLetter(BROKEN.into()));

    let articles = app
        .stream(&ITEMS)
        .try_map(|_, item| {
            let article = clean(item)?;
            Ok((article.url.clone(), article))
        })
        .group_by_key()
        .reduce(&ARTICLES, |kept, new| {
            if new.text.len() > kept.text.len() {
                new
            } else {
                kept
            }
        });

    let newest = articles
        .to_stream()
        .flat_map(|url, article| article.map(|article| (article.subject, url)))
        .group_by_key()
        .aggregate(&NEWEST, |_subject, url, newest: &mut Addresses| newest.put(url));

    app.stream(&OPENED)
        .map(|reader, url| (url, reader))
        .join_table(&articles, |url, reader, article| Offer {
            reader,
            opened: url.clone(),
            subject: article.subject,
            newest: Addresses::default(),
        })
        .map(|_url, offer| (offer.subject.clone(), offer))
        .join_table(&newest, |_subject, offer, newest| Offer { newest, ..offer })
        .map(|_subject, offer| (offer.reader.clone(), offer))
        .group_by_key()
        .aggregate(&LISTS, |_reader, offer, list: &mut List| {
            list.opened.insert(offer.opened);
            list.next = offer.newest;
            list.next.0.retain(|url| !list.opened.contains(url));
        })
        .to_stream()
        .map_values(|list| list.unwrap_or_default().next)
        .to(&NEXT);
    app
}

/// One address for one article, and no markup.
fn clean(item: Item) -> Result<Article, BoxError> {
    let url = item.url.split(['?', '#']).next().unwrap_or_default();
    let url = url.trim_end_matches('/').to_lowercase();
    let parts = item
        .html
        .split('<')
        .map(|part| part.rsplit('>').next().unwrap_or_default());
    let text = parts.collect::<Vec<_>>().concat().trim().to_owned();
    if url.is_empty() || text.is_empty() {
        return Err("an article has an address and a text".into());
    }
    Ok(Article {
        url,
        subject: item.subject,
        text,
    })
}

/// Runs the program over [`FEED`] and [`CLICKS`], and tells what it recommends.
pub async fn run() -> Result<String> {
    let mut report = String::new();
    let run = Run::start(&compose(), &[BROKEN]).await?;
    run.send(feed().map(|item| Ok(Produced::to(&ITEMS, &item.url, &item)?)))
        .await?;
    run.processed().await?;
    let articles = run.running().store(&ARTICLES).all().await?;
    writeln!(report, "{} items, {} articles", FEED.len(), articles.len())?;
    let broken = run.records(BROKEN).await?.len();
    writeln!(report, "{broken} of them broken (topic {BROKEN})\n")?;

    for (reader, url) in CLICKS {
        writeln!(report, "{reader} opens {url}")?;
        run.send([Ok(Produced::to(&OPENED, &reader.to_owned(), &url.to_owned())?)])
            .await?;
    }
    run.processed().await?;
    for reader in ["ann", "bob"] {
        let list = run.running().store(&LISTS).get(&reader.to_owned()).await?;
        let next = list.unwrap_or_default().next;
        let next = match next.0.as_slice() {
            [] => "nothing new".to_owned(),
            next => next.join(", "),
        };
        writeln!(report, "{reader} should read: {next}")?;
    }
    run.stop().await?;
    Ok(report)
}

fn feed() -> impl Iterator<Item = Item> {
    FEED.into_iter().map(|(url, subject, html)| Item {
        url: url.to_owned(),
        subject: subject.to_owned(),
        html: html.to_owned(),
    })
}

/// Address, subject and text: the second is the first again, and the last has no text.
pub const FEED: [(&str, &str, &str); 6] = [
    ("https://a.example/tides", "sea", "<p>Twice a day.</p>"),
    (
        "https://A.example/tides/?from=feed",
        "sea",
        "<p>Twice a day, <b>mostly</b>.</p>",
    ),
    ("https://a.example/waves", "sea", "<p>They come in sevens.</p>"),
    ("https://b.example/rye", "bread", "<p>Slow and sour.</p>"),
    (
        "https://b.example/currents",
        "sea",
        "<p>Rivers without banks.</p>",
    ),
    ("https://b.example/empty", "bread", "<p></p>"),
];

/// Who opens what.
pub const CLICKS: [(&str, &str); 3] = [
    ("ann", "https://a.example/tides"),
    ("bob", "https://b.example/rye"),
    ("ann", "https://b.example/currents"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use tidemill::testing::{TestDriver, ms};

    fn run() -> TestDriver {
        let mut t = TestDriver::with_partitions(&compose(), 3);
        for (at, item) in (0..).zip(feed()) {
            t.pipe(&ITEMS, item.url.clone(), item, ms(at));
        }
        for (reader, url) in CLICKS {
            t.pipe(&OPENED, reader, url, ms(100));
        }
        t
    }

    #[test]
    fn each_article_is_kept_once_in_its_fullest_version_and_a_broken_one_goes_aside() {
        let mut t = run();
        let urls: Vec<String> = t.rows(&ARTICLES).into_iter().map(|(url, _)| url).collect();
        assert_eq!(urls.len(), 4);
        let tides = t
            .row(&ARTICLES, "https://a.example/tides")
            .map(|row| row.value.text);
        assert_eq!(tides.as_deref(), Some("Twice a day, mostly."));
        assert_eq!(t.read(&Topic::<String, Item>::new(BROKEN)).len(), 1);
    }

    #[test]
    fn a_reader_is_told_of_what_is_new_on_the_subject_and_not_opened() {
        let mut t = run();
        let next = |t: &mut TestDriver, reader: &str| t.row(&LISTS, reader).map(|row| row.value.next.0);
        assert_eq!(
            next(&mut t, "ann"),
            Some(vec!["https://a.example/waves".to_owned()])
        );
        assert_eq!(next(&mut t, "bob"), Some(Vec::new()));
    }
}
