//! One address per article: what trackers, ports and fragments add is taken away.

use url::Url;

// Parameters that say where a reader came from, never what the page is.
const TRACKERS: [&str; 8] = [
    "fbclid", "gclid", "dclid", "msclkid", "mc_cid", "mc_eid", "igshid", "ref_src",
];

/// The canonical form of an address, or why there is none.
///
/// Host in lower case, no default port, no fragment, no user name, no tracking parameters, the others sorted.
/// A trailing slash stays: servers may tell the two apart.
pub fn canonical_url(address: &str) -> Result<String, UrlError> {
    let mut url = Url::parse(address.trim()).map_err(|fault| UrlError::Malformed {
        url: address.to_owned(),
        fault,
    })?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(UrlError::NotWeb {
            url: address.to_owned(),
        });
    }
    url.set_fragment(None);
    let anonymous = url.set_username("").and_then(|()| url.set_password(None));
    anonymous.expect("a web address with a host can have a user");
    let mut kept: Vec<(String, String)> = url
        .query_pairs()
        .into_owned()
        .filter(|(name, _)| !is_tracker(name))
        .collect();
    kept.sort();
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    Ok(url.into())
}

fn is_tracker(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.starts_with("utm_") || TRACKERS.contains(&name.as_str())
}

/// An entry's address that cannot name an article.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Not an address at all.
    #[error("`{url}` is no address: {fault}")]
    Malformed {
        /// As delivered.
        url: String,
        /// What is wrong with it.
        fault: url::ParseError,
    },
    /// An address of something else than a web page.
    #[error("`{url}` is no web address")]
    NotWeb {
        /// As delivered.
        url: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(address: &str, expected: &str) {
        assert_eq!(canonical_url(address).unwrap(), expected);
    }

    #[test]
    fn trackers_fragments_and_ports_are_removed() {
        check(
            "HTTPS://Tide.Example:443/a?utm_source=rss&UTM_medium=x#top",
            "https://tide.example/a",
        );
        check(
            "https://me:secret@tide.example/a?gclid=1&page=2",
            "https://tide.example/a?page=2",
        );
    }

    #[test]
    fn parameters_that_name_the_page_stay_in_one_order() {
        check("https://tide.example/?b=2&a=1", "https://tide.example/?a=1&b=2");
    }

    #[test]
    fn a_canonical_address_is_its_own_canonical_form() {
        for address in [
            "https://tide.example/a/",
            "http://tide.example/x%20y?q=%C3%A4+b",
            "https://tide.example/",
        ] {
            let once = canonical_url(address).unwrap();
            assert_eq!(canonical_url(&once).unwrap(), once);
        }
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        assert!(matches!(canonical_url(""), Err(UrlError::Malformed { .. })));
        assert!(matches!(
            canonical_url("mailto:a@b.example"),
            Err(UrlError::NotWeb { .. })
        ));
        assert!(matches!(
            canonical_url("/posts/1"),
            Err(UrlError::Malformed { .. })
        ));
    }
}
