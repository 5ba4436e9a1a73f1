use super::*;

fn check_item(item: &RawItem) {
    assert_eq!(item.source, "Harbour News");
    assert_eq!(item.url, "https://harbour.example/flood");
    assert_eq!(item.title, "Flood");
    assert_eq!(item.published_ms, Some(1_767_225_600_000));
    assert_eq!(item.tags, ["tide"]);
    assert_eq!(item.body, Body::Html("<p>High water.</p>".to_owned()));
}

#[test]
fn rss_prefers_the_full_content_to_the_excerpt() {
    let rss = r#"<?xml version="1.0" encoding="us-ascii"?>
        <rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"><channel>
        <title>Harbour News</title><link>https://harbour.example/</link><description>d</description><item>
        <title>Flood</title><link>https://harbour.example/flood</link><guid>17</guid>
        <pubDate>Thu, 01 Jan 2026 00:00:00 GMT</pubDate><category>tide</category>
        <description>High&#8230;</description><content:encoded><![CDATA[<p>High water.</p>]]></content:encoded>
        </item></channel></rss>"#;
    check_item(parse_feed(rss.as_bytes(), None).unwrap().first().unwrap());
}

#[test]
fn atom_prefers_the_alternate_link() {
    let atom = r#"<feed xmlns="http://www.w3.org/2005/Atom"><title>Harbour News</title><id>urn:x</id>
        <updated>2026-01-01T00:00:00Z</updated><entry><title>Flood</title><id>urn:y</id>
        <link rel="edit" href="https://harbour.example/edit/1"/><link href="https://harbour.example/flood"/>
        <updated>2026-01-01T00:00:00Z</updated><category term="tide"/>
        <content type="html">&lt;p&gt;High water.&lt;/p&gt;</content></entry></feed>"#;
    check_item(parse_feed(atom.as_bytes(), None).unwrap().first().unwrap());
}

#[test]
fn json_feed() {
    let json = r#"{"version":"https://jsonfeed.org/version/1.1","title":"Harbour News","items":[
        {"id":"1","url":"https://harbour.example/flood","title":"Flood","date_published":"2026-01-01T00:00:00Z",
         "tags":["tide"],"content_html":"<p>High water.</p>"}]}"#;
    check_item(parse_feed(json.as_bytes(), None).unwrap().first().unwrap());
}

#[test]
fn a_feed_that_breaks_off_is_refused_with_the_place() {
    let broken = "<rss version='2.0'><channel><title>Harbour</title>\n<item><title>Half";
    let error = parse_feed(broken.as_bytes(), None).unwrap_err();
    assert!(matches!(error, FeedError::Malformed(_)), "{error}");
    assert!(matches!(parse_feed(b" \n", None), Err(FeedError::Empty)));
    assert!(matches!(
        parse_feed(b"<html><body/></html>", None),
        Err(FeedError::Unknown(_))
    ));
    assert!(matches!(
        parse_feed(b"not a feed", None),
        Err(FeedError::Unknown(_))
    ));
}
