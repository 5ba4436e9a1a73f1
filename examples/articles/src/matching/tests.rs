use super::*;
use crate::model::{Article, ArticleId, Click, ReaderId};

fn article(name: &str, tag: &str, text: &str) -> Article {
    Article {
        id: ArticleId(name.to_owned()),
        url: format!("https://{name}.example/"),
        source: "s".to_owned(),
        title: name.to_owned(),
        author: String::new(),
        published_ms: None,
        tags: vec![tag.to_owned()],
        language: None,
        text: text.to_owned(),
    }
}

fn library() -> Arc<Library> {
    Arc::new(Library::of(vec![
        article("heron", "birds", "grey herons wait in shallow water for fish"),
        article("tern", "birds", "terns dive into shallow water for fish"),
        article("gull", "birds", "gulls follow the plough and the boats"),
        article("crane", "harbour", "the crane lifts containers from ships"),
        article("dredger", "harbour", "a dredger keeps the channel deep for ships"),
    ]))
}

fn profile(clicked: &[&str]) -> Profile {
    let mut profile = Profile::default();
    for name in clicked {
        profile.add(Click {
            reader: ReaderId("r".into()),
            article: ArticleId((*name).into()),
            at_ms: 1,
        });
    }
    profile
}

fn names(list: &Recommendations) -> Vec<&str> {
    list.items.iter().map(|item| item.article.0.as_str()).collect()
}

#[test]
fn what_resembles_the_clicked_articles_comes_first_and_what_was_read_never() {
    let reader = profile(&["heron"]);
    let catalogue = Catalogue::of(library(), [&reader]);
    let list = catalogue.recommend(&reader);
    assert_eq!(names(&list).first(), Some(&"tern"));
    assert!(!names(&list).contains(&"heron"));
}

#[test]
fn the_most_popular_are_the_same_for_everyone_except_for_what_was_read() {
    let crowd = [
        profile(&["crane"]),
        profile(&["crane", "gull"]),
        profile(&["heron"]),
    ];
    let catalogue = Catalogue::of(library(), &crowd);
    assert_eq!(
        names(&catalogue.most_popular(&profile(&[]))),
        ["crane", "gull", "heron"]
    );
    assert_eq!(
        names(&catalogue.most_popular(&profile(&["crane"]))),
        ["gull", "heron"]
    );
}

#[test]
fn a_click_delivered_twice_or_late_changes_nothing() {
    let click = |article: &str, at_ms| Click {
        reader: ReaderId("r".into()),
        article: ArticleId(article.into()),
        at_ms,
    };
    let (mut once, mut again) = (Profile::default(), Profile::default());
    [click("heron", 3), click("gull", 5)]
        .into_iter()
        .for_each(|click| once.add(click));
    let delivered = [
        click("gull", 5),
        click("heron", 9),
        click("heron", 3),
        click("gull", 5),
    ];
    delivered.into_iter().for_each(|click| again.add(click));
    assert_eq!(once, again);
}

#[test]
fn unknown_articles_and_new_readers_get_an_empty_list() {
    let catalogue = Catalogue::of(library(), []);
    assert!(catalogue.recommend(&profile(&["nowhere"])).items.is_empty());
    assert!(catalogue.recommend(&Profile::default()).items.is_empty());
    assert!(
        Catalogue::of(Arc::default(), [])
            .recommend(&profile(&["heron"]))
            .items
            .is_empty()
    );
}

#[test]
fn the_order_of_the_articles_does_not_matter() {
    let mut reversed = library().articles().to_vec();
    reversed.reverse();
    let reader = profile(&["heron", "crane"]);
    let forward = Catalogue::of(library(), [&reader]).recommend(&reader);
    let backward = Catalogue::of(Arc::new(Library::of(reversed)), [&reader]).recommend(&reader);
    assert_eq!(forward, backward);
}
