//! From what a feed delivered to an article: markup out, one address, labels in order, language named.

use html2text::render::TrivialDecorator;

use crate::canonical_url::{UrlError, canonical_url};
use crate::model::{Article, ArticleId, Body, RawItem};

// Wide enough that a paragraph stays one line: lines broken at a width would not change words, but read badly.
const LINE_WIDTH: usize = 10_000;
// Longer texts are cut: one page must not fill a broker's message or the index.
const TEXT_BYTES_MAX: usize = 200_000;
// Below this many characters a language detector guesses.
const LANGUAGE_CHARS_MIN: usize = 40;

/// The article a raw item stands for, or why it stands for none.
pub fn clean(item: RawItem) -> Result<Article, CleanError> {
    let url = canonical_url(&item.url)?;
    let (title, text) = match &item.body {
        Body::Plain(text) => (one_line(&item.title), text.trim().to_owned()),
        Body::Html(html) => (one_line(&plain(&item.title)?), plain(html)?),
    };
    let text = cut(text, TEXT_BYTES_MAX);
    if title.is_empty() && text.is_empty() {
        return Err(CleanError::Empty { url });
    }
    let mut tags: Vec<String> = item.tags.iter().map(|tag| one_line(tag).to_lowercase()).collect();
    tags.retain(|tag| !tag.is_empty());
    tags.sort();
    tags.dedup();
    Ok(Article {
        id: ArticleId::of_url(&url),
        url,
        source: one_line(&item.source),
        title,
        author: one_line(&item.author),
        published_ms: item.published_ms,
        tags,
        language: language(&text),
        text,
    })
}

/// Removes markup; entities become characters.
fn plain(html: &str) -> Result<String, CleanError> {
    if !html.contains(['<', '&']) {
        return Ok(html.trim().to_owned());
    }
    let text = html2text::config::with_decorator(TrivialDecorator::new())
        .allow_width_overflow()
        .string_from_read(html.as_bytes(), LINE_WIDTH)
        .map_err(|fault| CleanError::Markup {
            fault: fault.to_string(),
        })?;
    Ok(text.trim().to_owned())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

fn language(text: &str) -> Option<String> {
    if text.chars().take(LANGUAGE_CHARS_MIN).count() < LANGUAGE_CHARS_MIN {
        return None;
    }
    let detected = whatlang::detect(text)?;
    detected.is_reliable().then(|| detected.lang().code().to_owned())
}

/// An item that is no article.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CleanError {
    /// Its address names no page.
    #[error("the item's address: {0}")]
    Url(#[from] UrlError),
    /// Its markup cannot be rendered.
    #[error("the item's markup: {fault}")]
    Markup {
        /// What the renderer said.
        fault: String,
    },
    /// It has neither title nor text.
    #[error("the item {url} has neither title nor text")]
    Empty {
        /// Where it is.
        url: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(body: Body) -> RawItem {
        RawItem {
            source: "Harbour\n News".to_owned(),
            url: "https://harbour.example/a?utm_source=feed".to_owned(),
            title: "Gulls &amp; <em>terns</em>".to_owned(),
            author: "Ada".to_owned(),
            published_ms: Some(5),
            tags: vec![
                "Birds ".to_owned(),
                "birds".to_owned(),
                "Air".to_owned(),
                " ".to_owned(),
            ],
            body,
        }
    }

    #[test]
    fn markup_goes_and_words_stay() {
        let html =
            "<p>The <b>tide</b> &lt;rises&gt; <a href='https://x.example'>daily</a>.</p><script>x()</script>";
        let article = clean(item(Body::Html(html.to_owned()))).unwrap();
        assert_eq!(article.text, "The tide <rises> daily.");
        assert_eq!(article.title, "Gulls & terns");
        assert_eq!(article.url, "https://harbour.example/a");
        assert_eq!(article.source, "Harbour News");
        assert_eq!(article.tags, ["air", "birds"]);
    }

    #[test]
    fn the_language_is_named_only_when_it_is_certain() {
        let german = "Die Flut hebt das Wasser, und die Mühle wartet mit dem Mahlen, bis es wieder fällt.";
        assert_eq!(
            clean(item(Body::Plain(german.to_owned())))
                .unwrap()
                .language
                .as_deref(),
            Some("deu")
        );
        assert_eq!(clean(item(Body::Plain("ok".to_owned()))).unwrap().language, None);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = cut("äää".to_owned(), 3);
        assert_eq!(text, "ä");
    }

    #[test]
    fn an_item_without_address_or_text_is_refused() {
        let no_url = RawItem {
            url: String::new(),
            ..item(Body::Plain("x".to_owned()))
        };
        assert!(matches!(clean(no_url), Err(CleanError::Url(_))));
        let empty = RawItem {
            title: String::new(),
            ..item(Body::Html("<br/>".to_owned()))
        };
        assert!(matches!(clean(empty), Err(CleanError::Empty { .. })));
    }
}
