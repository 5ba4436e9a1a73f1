//! Answers over HTTP, from the state stores of the running application.
//!
//! ```text
//! GET /readers/{id}/recommendations     what a reader should see next
//! GET /articles/{id}                    an article, and which it repeats
//! GET /articles/{id}/similar            what is about the same
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tidemill::Running;
use tidemill::runtime::StoreQuery;
use tokio::net::TcpListener;

use crate::matcher::Matcher;
use crate::matching::rounded;
use crate::model::{Article, ArticleId, ReaderId, Recommendations};
use crate::standing::Standing;
use crate::topics::{RECOMMENDED, STANDINGS};

const SIMILAR_MAX: usize = 10;

/// What the answers come from.
pub struct Api {
    recommended: StoreQuery<ReaderId, Recommendations>,
    standings: StoreQuery<ArticleId, Standing>,
    matcher: Arc<Matcher>,
}

impl Api {
    /// Answers from the stores of a running application, and from the text index.
    pub fn new(running: &Running, matcher: Arc<Matcher>) -> Self {
        Self {
            recommended: running.store(&RECOMMENDED),
            standings: running.store(&STANDINGS),
            matcher,
        }
    }

    /// Listens, and serves from then on for as long as the program runs.
    pub async fn start(self, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let router = Router::new()
            .route("/readers/{id}/recommendations", get(recommendations))
            .route("/articles/{id}", get(article))
            .route("/articles/{id}/similar", get(similar))
            .with_state(Arc::new(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(address)
    }
}

async fn recommendations(State(api): State<Arc<Api>>, Path(reader): Path<String>) -> Answer {
    let reader = ReaderId(reader);
    let Some(list) = api.recommended.get(&reader).await.map_err(failed)? else {
        return Err(not_found(format!("nothing is recommended to a reader {reader}")));
    };
    Ok(Json(json!({ "reader": reader, "recommendations": list.items })))
}

async fn article(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer {
    let id = ArticleId(id);
    let standing = api.standings.get(&id).await.map_err(failed)?.unwrap_or_default();
    let Some(article) = standing.article else {
        return Err(not_found(format!("there is no article {id}")));
    };
    Ok(Json(json!({ "article": article, "repeats": standing.repeats })))
}

async fn similar(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Answer {
    let id = ArticleId(id);
    let catalogue = api.matcher.catalogue();
    let Some(found) = catalogue
        .as_ref()
        .and_then(|catalogue| catalogue.library().most_similar(&id, SIMILAR_MAX))
    else {
        return Err(not_found(format!("the index has no article {id}")));
    };
    let line = |(article, score): &(&Article, f32)| json!({ "article": article.id, "title": article.title, "url": article.url, "score": rounded(*score) });
    Ok(Json(
        json!({ "article": id, "similar": found.iter().map(line).collect::<Vec<_>>() }),
    ))
}

type Answer = Result<Json<Value>, Refusal>;

/// An answer that is an error.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

fn not_found(what: String) -> Refusal {
    Refusal(StatusCode::NOT_FOUND, what)
}

// A store is out of reach while its task moves or restores.
fn failed(error: impl std::fmt::Display) -> Refusal {
    Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}
