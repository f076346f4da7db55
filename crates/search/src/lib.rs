//! Search in the texts of one agent, by words and by meaning. Pure: no I/O, no clock, no database.
//!
//! A [`SearchIndex`] holds the words and the vectors of the texts of one agent, and nothing of any
//! other agent. So the ranking depends on that agent's texts alone, and so does the cost.
//!
//! ```
//! use thoughtwire_search::{NewText, SearchFilter, SearchIndex, SearchQuery};
//!
//! let mut index = SearchIndex::default();
//! index.add(&NewText { id: 1, at: 0, thread: 0, text: "I bought two umbrellas." });
//! index.add(&NewText { id: 2, at: 0, thread: 0, text: "Tea is ready." });
//! let query = SearchQuery::new("Where is the umbrella?");
//! let found = index.search(&query, None, &SearchFilter::default());
//! assert_eq!(found.page(0, 5).iter().map(|hit| hit.id).collect::<Vec<_>>(), [1]);
//! ```

mod analysis;
mod index;
mod meaning;
mod query;
mod ranking;
mod vectors;

pub use index::{NewText, SearchIndex};
pub use query::SearchQuery;
pub use ranking::{FoundTexts, SearchFilter, SearchHit};
